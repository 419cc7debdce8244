#!/usr/bin/python3
"""Alignment cases: tests/golden/align/*.txt, made by OpenCV (python3-opencv 4.6) and numpy.

    /usr/bin/python3 tests/golden/make_align.py

warp.txt: CRC-32 of cv2.warpAffine's bytes (INTER_LINEAR, border 0) for seeded pictures and random
transforms. estimate.txt: five points and the similarity by Umeyama's method as it is published, with
a singular value decomposition.
"""
import os
import zlib

import cv2
import numpy as np

import counter_rng

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "align")
TARGET = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
                   [70.7299, 92.2041]], np.float32)


def picture(seed, width, height):
    noise = counter_rng.u64(seed, 0, np.arange(width * height * 3)) & np.uint64(255)
    return noise.astype(np.uint8).reshape(height, width, 3)


def umeyama(src, dst):
    src, dst = src.astype(np.float64), dst.astype(np.float64)
    s0, d0 = src.mean(0), dst.mean(0)
    u, s, vt = np.linalg.svd((dst - d0).T @ (src - s0) / len(src))
    sign = np.array([1, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    r = u @ np.diag(sign) @ vt
    scale = (s * sign).sum() / (src - s0).var(0).sum()
    return np.hstack([scale * r, (d0 - scale * r @ s0)[:, None]])


def transforms(rng, count):
    for n in range(count):
        kind = n % 5
        if kind == 0:  # faces: similarity with all angles
            scale, angle = np.exp(rng.uniform(-2, 2)), rng.uniform(-np.pi, np.pi)
            m = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]]) * scale
            m[:, 2] = rng.uniform(-60, 60, 2)
        elif kind == 1:  # any affine map, mirrored ones too
            m = rng.normal(0, 1, (2, 3))
            m[:, 2] *= 40
        elif kind == 2:  # multiples of 1/64: every tie of the rounding
            m = rng.integers(-128, 128, (2, 3)) / 64
            m[:, 2] *= 16
        elif kind == 3:  # shifts by fractions
            m = np.array([[1, 0, rng.integers(-200, 200) / 64], [0, 1, rng.uniform(-9, 9)]])
        else:  # far away, very small, very large, singular
            m = rng.normal(0, 1, (2, 3)) * 10.0 ** rng.integers(-3, 4)
            if n % 20 == 4:
                m[1] = m[0]
        yield m


def main():
    rng = np.random.default_rng(20240707)
    with open(os.path.join(HERE, "warp.txt"), "w") as out:
        for n, m in enumerate(transforms(rng, 500)):
            width, height = [int(v) for v in rng.integers(1, 90, 2)]
            to = (112, 112) if n % 3 == 0 else tuple(int(v) for v in rng.integers(1, 90, 2))
            if n % 6:  # the centre near the centre, or most pictures would be empty
                shift = np.array(to) / 2 - m[:, :2] @ (width / 2, height / 2) + rng.uniform(-15, 15, 2)
                m[:, 2] = np.round(shift * 64) / 64 if n % 5 == 2 else shift
            warped = cv2.warpAffine(picture(n, width, height), m, to, borderValue=0.0)
            values = " ".join(float(v).hex() for v in m.ravel())
            out.write("%d %d %d %d %s %08x %d\n" % (width, height, to[0], to[1], values,
                                                   zlib.crc32(warped.tobytes()), np.count_nonzero(warped)))
    with open(os.path.join(HERE, "estimate.txt"), "w") as out:
        for n in range(100):
            spread = np.exp(rng.uniform(-1, 3))
            base = rng.normal(0, 1, (5, 2)) * 30 if n % 4 == 0 else TARGET + rng.normal(0, 4, (5, 2))
            angle = rng.uniform(-np.pi, np.pi)
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            points = (base @ turn.T * spread + rng.uniform(-500, 500, 2)).astype(np.float32)
            m = umeyama(points, TARGET)
            out.write(" ".join(float(v).hex() for v in list(points.ravel()) + list(m.ravel())) + "\n")


main()
