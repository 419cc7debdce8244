#!/usr/bin/python3
"""Verification cases: tests/golden/verification/*.txt, by numpy and scikit-learn (Debian 12).

    /usr/bin/python3 tests/golden/make_verification.py [FOLDER]

Embeddings are drawn by counter_rng (common/rng.h), so the test draws the same ones; only what is
expected is written. Each program is written from its published description (eval/eval.h names them)
and tries every threshold. No decision may hang on rounding: see `apart`.
"""
import os
import sys

import numpy as np
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.model_selection import KFold

import counter_rng as rng

HERE = os.path.dirname(os.path.abspath(__file__))
FAR = 1e-3

# seed, pairs, dim, folds, spread of an image around its person, share of genuine pairs in 1/8
CASES = [
    (1, 600, 16, 10, 1.0, 4),
    (2, 603, 16, 10, 1.6, 4),  # 3 folds of 61 pairs, 7 of 60
    (3, 1799, 8, 10, 1.2, 2),
    (4, 97, 24, 3, 1.4, 4),
    (5, 250, 12, 2, 0.8, 6),
    (6, 45, 6, 7, 2.2, 4),
]


def apart(values, thresholds, gap=1e-12):
    """No value lies so close to a threshold that rounding decides."""
    at = np.searchsorted(thresholds, values)
    for k in (at - 1, at):
        near = thresholds[np.clip(k, 0, len(thresholds) - 1)]
        assert np.abs(values - near).min() > gap


def draw(seed, pairs, dim, spread, genuine):
    """Images 2i and 2i + 1 of pair i; their mirrors; which pairs are genuine."""
    def block(stream):
        v = rng.uniform(seed, stream, np.arange(2 * pairs * dim)).reshape(2 * pairs, dim) - 0.5
        return v
    same = rng.below(seed, 9, np.arange(pairs), 8) < genuine
    person = block(0)
    person[1::2][same] = person[0::2][same]
    length = 1 + rng.uniform(seed, 3, np.arange(2 * pairs))[:, None]
    def quantise(v):
        return np.floor(v * 4096) / 4096
    image = quantise((person + spread * block(1)) * length)
    mirror = quantise(image + 0.3 * spread * block(2))
    return image, mirror, same


def unit(rows):
    return rows / np.sqrt((rows * rows).sum(1, keepdims=True))


def combine(image, mirror, flip):
    if flip == "sum":
        return image + mirror
    return image if flip == "none" else np.concatenate((image, mirror), 1)


def insightface(rows, same, folds, single):
    if single:  # TFace: unit length in float32
        rows = rows.astype(np.float32)
        norm = np.sqrt((rows.astype(np.float64) ** 2).sum(1, keepdims=True)).astype(np.float32)
        rows = (rows / norm).astype(np.float64)
    else:
        rows = unit(rows)
    d = ((rows[0::2] - rows[1::2]) ** 2).sum(1)
    coarse, fine = np.arange(0, 4, 0.01), np.arange(0, 4, 0.001)
    apart(d, coarse)
    out, val, far = [], [], []
    for train, test in KFold(n_splits=folds, shuffle=False).split(d):
        right = [np.sum((d[train] < t) == same[train]) for t in coarse]
        best = coarse[np.argmax(right)]
        out.append((int(np.sum((d[test] < best) == same[test])), len(test), best))
        impostors = np.sort(d[train][~same[train]])
        rates = np.searchsorted(impostors, fine, side="left") / len(impostors)  # d < t
        t = 0.0
        if rates.max() >= FAR:
            i = np.searchsorted(rates, FAR, side="right") - 1
            t = fine[i]
            if i + 1 < len(fine):
                t += (FAR - rates[i]) / (rates[i + 1] - rates[i]) * (fine[i + 1] - fine[i])
        apart(d[test], np.array([t]))
        val.append(np.mean(d[test][same[test]] < t))
        far.append(np.mean(d[test][~same[test]] < t))
    return out, np.mean(val), np.std(val), np.mean(far)


def facexzoo(rows, same, folds):
    rows = unit(rows)
    score = (rows[0::2] * rows[1::2]).sum(1).astype(np.float32).astype(np.float64)
    out = []
    for train, test in KFold(n_splits=folds, shuffle=False).split(score):
        s, y = score[train], same[train]
        grid = s.min() + (s.max() - s.min()) / 1000 * np.arange(1, 1001)
        gain = [np.sum(s[y] > t) / np.sum(y) - np.sum(s[~y] > t) / np.sum(~y) for t in grid]
        t = grid[np.argmax(gain)]
        out.append((int(np.sum(score[test][same[test]] > t) + np.sum(score[test][~same[test]] < t)), len(test), t))
    return out


def xiaoccer(rows, same, folds):
    out = []
    left, right = rows[0::2], rows[1::2]
    grid = np.arange(-10000, 10001) / 10000
    for train, test in KFold(n_splits=folds, shuffle=False).split(left):
        mean = np.mean(np.concatenate((left[train], right[train])), 0)
        score = (unit(left - mean) * unit(right - mean)).sum(1)
        apart(score, grid)
        s, y = score[train], same[train]
        correct = np.sum(y) - np.searchsorted(np.sort(s[y]), grid, side="right")  # s > t
        correct += np.searchsorted(np.sort(s[~y]), grid, side="left")  # s < t
        t = np.mean(grid[correct == correct.max()])
        apart(score[test], np.array([t]))
        out.append((int(np.sum(score[test][same[test]] > t) + np.sum(score[test][~same[test]] < t)), len(test), t))
    return out


def write_folds(file, name, flip, folds, extra=()):
    accuracy = np.array([c / n for c, n, _ in folds])
    std = accuracy.std(ddof=1) / np.sqrt(len(folds)) if name == "facexzoo" else accuracy.std()
    file.write("%s %s %.17g %.17g\n" % (name, flip, 100 * accuracy.mean(), 100 * std))
    file.write("  " + " ".join("%d/%d@%.17g" % f for f in folds) + "\n")
    if len(extra) > 0:
        file.write("  val %.17g %.17g %.17g\n" % (100 * extra[0], 100 * extra[1], extra[2]))


def write_verification(path):
    with open(path, "w") as file:
        for seed, pairs, dim, folds, spread, genuine in CASES:
            image, mirror, same = draw(seed, pairs, dim, spread, genuine)
            file.write("case %d %d %d %d %.17g %d\n" % (seed, pairs, dim, folds, spread, genuine))
            for flip in ("sum", "none", "concat"):
                rows = combine(image, mirror, flip)
                for name in ("insightface", "facexzoo", "tface", "xiaoccer"):
                    if name == "facexzoo":
                        write_folds(file, name, flip, facexzoo(rows, same, folds))
                    elif name == "xiaoccer":
                        write_folds(file, name, flip, xiaoccer(rows, same, folds))
                    else:
                        result = insightface(rows, same, folds, name == "tface")
                        write_folds(file, name, flip, result[0], result[1:])


def write_roc(path):
    """Scores on a grid, so that many are equal: all points of the curve, and those that are kept."""
    with open(path, "w") as file:
        for seed, count, grid in ((1, 40, 8), (2, 500, 50), (3, 3000, 200), (4, 3000, 1e9), (5, 7, 2)):
            at = np.arange(count)
            same = rng.below(seed, 1, at, 3) == 0
            same[0], same[1] = True, False
            score = np.floor((rng.uniform(seed, 0, at) + 0.4 * same) * grid) / grid
            positives, negatives = np.sum(same), np.sum(~same)
            file.write("case %d %d %.17g %.17g\n" % (seed, count, grid, 100 * roc_auc_score(same, score)))
            for drop in (False, True):
                fpr, tpr, _ = roc_curve(same, score, drop_intermediate=drop)
                fp, tp = np.rint(fpr * negatives).astype(int), np.rint(tpr * positives).astype(int)
                file.write("%d %s\n" % (len(fp), " ".join("%d/%d" % p for p in zip(fp, tp)) if len(fp) < 120 else "sums %d %d" % (
                    np.sum(fp * np.arange(len(fp))), np.sum(tp * np.arange(len(tp))))))
            fpr, tpr, _ = roc_curve(same, score, drop_intermediate=False)
            gap = np.abs(np.rint(fpr * negatives) * positives - (positives - np.rint(tpr * positives)) * negatives)
            k = int(np.argmin(gap))
            file.write("eer %.17g\n" % (100 * (fpr[k] + 1 - tpr[k]) / 2))


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "verification")
    os.makedirs(folder, exist_ok=True)
    write_verification(os.path.join(folder, "kfold.txt"))
    write_roc(os.path.join(folder, "roc.txt"))


main()
