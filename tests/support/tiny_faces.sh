# tiny_faces.sh FOLDER - 8 identities of 8 images of 32 x 32 pixels in FOLDER/identity/image.jpg.
# Exit code 77 if there is no way to make them here.
set -eu
folder=$1
if /usr/bin/python3 -c 'import cv2, numpy' 2>/dev/null; then
    /usr/bin/python3 - "$folder" <<'PYTHON'
import os, sys, cv2, numpy as np
rng = np.random.RandomState(1)
y, x = np.mgrid[0:32, 0:32] / 31.0
for person in range(8):
    os.makedirs(f"{sys.argv[1]}/person{person}")
    wave, phase, tint = rng.uniform(2, 9, 2), rng.uniform(0, 6, 2), rng.uniform(0.3, 1, 3)
    for shot in range(8):
        shift = rng.uniform(-0.3, 0.3, 2)
        image = np.sin(wave[0] * x + phase[0] + shift[0]) * np.cos(wave[1] * y + phase[1] + shift[1])
        image = 127 + 90 * image[..., None] * tint + rng.normal(0, 6, (32, 32, 3))
        cv2.imwrite(f"{sys.argv[1]}/person{person}/{shot}.jpg", np.clip(image, 0, 255).astype(np.uint8))
PYTHON
else
    echo "skipped: no python3-opencv to draw tiny faces with"
    exit 77
fi
