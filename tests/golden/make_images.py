"""Writes tests/golden/images/*: small pictures of every kind that datasets hold, and expected.txt
with what OpenCV (python3-opencv 4.6 of Debian 12) decodes from them: "file width height crc32",
the CRC over RGB bytes. Run: python3 tests/golden/make_images.py"""
import os
import zlib

import cv2
import numpy as np

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "images")
RANDOM = np.random.RandomState(20261121)


def picture(width, height):
    """Smooth colour gradients, sharp shapes and a patch of noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    image = np.stack([x * 255 / width, y * 255 / height, 127 + 120 * np.sin(x / 5) * np.cos(y / 7)], -1)
    cv2.circle(image, (width // 2, height // 2), min(width, height) // 4, (220, 30, 40), -1)
    cv2.line(image, (0, height - 1), (width - 1, 0), (10, 240, 250), 2)
    image[: height // 3, : width // 3] = RANDOM.randint(0, 256, (height // 3, width // 3, 3))
    return image.clip(0, 255).astype(np.uint8)


def write(name, image, parameters=()):
    cv2.imwrite(os.path.join(FOLDER, name), image, list(parameters))


def write_chroma(name, image, quality):
    """4:2:0, 4:2:2, 4:4:4 ... through PIL, which this OpenCV cannot choose."""
    from PIL import Image

    for tag, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        Image.fromarray(image[..., ::-1]).save(
            os.path.join(FOLDER, name % tag), quality=quality, subsampling=subsampling)


def main():
    os.makedirs(FOLDER, exist_ok=True)
    face = picture(112, 112)
    write_chroma("rgb_%s_q95.jpg", face, 95)
    write("odd_37x53_q60.jpg", picture(37, 53), [cv2.IMWRITE_JPEG_QUALITY, 60])
    write("progressive.jpg", picture(64, 48), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    write("restart.jpg", picture(64, 48), [cv2.IMWRITE_JPEG_RST_INTERVAL, 3])
    write("grey.jpg", picture(40, 40)[..., 0])
    write("one_pixel.jpg", picture(16, 16)[8:9, 8:9])
    write("rgb.png", picture(45, 33))
    write("grey.png", picture(45, 33)[..., 1])
    write("bilevel.png", (picture(45, 33)[..., 1] > 127).astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    alpha = np.dstack([picture(45, 33), RANDOM.randint(0, 256, (33, 45)).astype(np.uint8)])
    write("rgba.png", alpha)

    from PIL import Image

    Image.fromarray(picture(16, 16)).convert("CMYK").save(os.path.join(FOLDER, "refuse_cmyk.jpg"))
    palette = Image.fromarray(picture(45, 33)[..., ::-1]).quantize(37)
    palette.save(os.path.join(FOLDER, "palette.png"))
    # gAMA asks viewers to convert; OpenCV and PIL do not, and neither may Cask
    rgb = open(os.path.join(FOLDER, "rgb.png"), "rb").read()
    body = b"gAMA" + (45455 // 2).to_bytes(4, "big")
    chunk = (4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    with open(os.path.join(FOLDER, "gamma.png"), "wb") as file:
        file.write(rgb[:33] + chunk + rgb[33:])

    with open(os.path.join(FOLDER, "expected.txt"), "w") as expected:
        for name in sorted(os.listdir(FOLDER)):
            if not name.endswith(".txt") and not name.startswith("refuse_"):
                image = cv2.cvtColor(cv2.imread(os.path.join(FOLDER, name), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
                expected.write("%s %d %d %08x\n" % (name, image.shape[1], image.shape[0], zlib.crc32(image.tobytes())))


main()
