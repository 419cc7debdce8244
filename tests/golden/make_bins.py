"""Writes tests/golden/bins/*.bin: verification sets as Python 3 writers pickle them, and expected.txt
with "file pairs, then for each image its CRC-32, then the flags". Run: python3 make_bins.py
(Debian 12: Python 3.11, numpy 1.24). What Python 2 writes is assembled in test_data_pairs_bin.c."""
import os
import pickle
import zlib

import cv2
import numpy as np

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bins")
RANDOM = np.random.RandomState(3)
SAME = [True, False, True]


def main():
    os.makedirs(FOLDER, exist_ok=True)
    arrays = [
        cv2.imencode(".png" if i == 4 else ".jpg", RANDOM.randint(0, 256, (4, 4, 3)).astype(np.uint8))[1]
        for i in range(6)
    ]
    images = {
        "bytes": [a.tobytes() for a in arrays],
        "numpy": [a.reshape(-1, 1) for a in arrays],
        "bytearray": [bytearray(a.tobytes()) for a in arrays],
    }
    flags = {
        "bool": SAME,
        "int": [int(s) for s in SAME],
        "npbool": [np.bool_(s) for s in SAME],
        "array": np.array(SAME),
    }
    kinds = [("bytes", "bool", p) for p in (0, 2, 3, 4, 5)]
    kinds += [("numpy", "npbool", p) for p in (2, 3, 4, 5)]
    kinds += [("numpy", "array", p) for p in (2, 4, 5)]
    kinds += [("bytes", "int", 4), ("bytearray", "array", 5)]
    with open(os.path.join(FOLDER, "expected.txt"), "w") as expected:
        for image, flag, protocol in kinds:
            name = "%s_%s_p%d.bin" % (image, flag, protocol)
            with open(os.path.join(FOLDER, name), "wb") as file:
                pickle.dump((images[image], flags[flag]), file, protocol=protocol)
            crcs = " ".join("%08x" % zlib.crc32(a.tobytes()) for a in arrays)
            if protocol > 0:
                expected.write("%s %d %s %s\n" % (name, len(SAME), crcs, " ".join(str(int(s)) for s in SAME)))


main()
