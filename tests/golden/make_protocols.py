#!/usr/bin/python3
"""Protocol cases: tests/golden/protocols/*.txt, by numpy and scikit-learn (Debian 12).

    /usr/bin/python3 tests/golden/make_protocols.py

Inputs are drawn by counter_rng (common/rng.h), so a test draws the same ones; only what is expected is
written. Each part is written from the protocol's description with dense arrays and shares no order of
computation with eval/. No decision hangs on rounding: see `apart`.
"""
import os

import numpy as np
from sklearn.metrics import roc_curve

import counter_rng as rng

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "protocols")
TARGETS = [10 ** -6, 10 ** -5, 10 ** -4, 10 ** -3, 10 ** -2, 10 ** -1]


def nearest(fpr, tpr, n_genuine, n_impostor):
    """The selection of the public IJB script: flipped curve, smallest (distance, index)."""
    fpr, tpr = np.flipud(fpr), np.flipud(tpr)
    out = []
    for x in TARGETS:
        _, at = min(zip(abs(fpr - x), range(len(fpr))))
        out += [round(tpr[at] * n_genuine), round(fpr[at] * n_impostor)]
    return out


def strict(fpr, tpr, n_genuine):
    return [round(max(tpr[fpr <= x]) * n_genuine) for x in TARGETS]


def rates_line(genuine, impostor):
    y = np.r_[np.ones(len(genuine)), np.zeros(len(impostor))]
    s = np.r_[genuine, impostor]
    full = roc_curve(y, s, drop_intermediate=False)[:2]
    thin = roc_curve(y, s)[:2]
    n, m = len(genuine), len(impostor)
    row = nearest(*thin, n, m) + nearest(*full, n, m) + strict(*full, n)
    fp, fn = np.round(full[0] * m).astype(int), n - np.round(full[1] * n).astype(int)
    fnr = fn / n
    at = np.argmin(abs(fp * n - fn * m))  # whole numbers: the first of equals is well defined
    eer = (full[0][at] + fnr[at]) / 2
    fdr = (genuine.mean() - impostor.mean()) ** 2 / (genuine.var() + impostor.var())
    fmr = [1 - max(full[1][full[0] <= x]) for x in (0.01, 0.001)]
    return row, [eer, fdr] + fmr


def rates():
    """Scores on grids of several widths: from all ties to none."""
    with open(os.path.join(HERE, "rates.txt"), "w") as out:
        for case in range(60):
            n, m = 3 + case * case % 700, 9 + (case * 7919) % 5000
            grid = [4, 64, 4096, 2 ** 40][case % 4]
            g = rng.uniform(case, 0, np.arange(n)) * 0.7 + 0.3
            i = rng.uniform(case, 1, np.arange(m)) * 0.8 - 0.1
            g, i = np.floor(g * grid) / grid, np.floor(i * grid) / grid
            row, reals = rates_line(g, i)
            out.write("%d %d %d %s %s\n" % (n, m, grid, " ".join(map(str, row)),
                                          " ".join(float(v).hex() for v in reals)))


def draw(seed, stream, *shape):
    return rng.uniform(seed, stream, np.arange(np.prod(shape))).reshape(shape) - 0.5


# ------------------------------------------------------------------------------------------------ IJB

DIM, SUBJECTS, IMAGES, TEMPLATES = 24, 40, 420, 110
IJB = os.path.join(HERE, "ijb")


def ijb_set():
    """Sparse template ids, media of one and of several images, images of a template far apart."""
    template = rng.below(7, 0, np.arange(IMAGES), TEMPLATES)
    template[:TEMPLATES] = np.arange(TEMPLATES)  # none is empty
    subject = np.where(np.arange(TEMPLATES) < SUBJECTS, np.arange(TEMPLATES),
                       rng.below(7, 1, np.arange(TEMPLATES), SUBJECTS))
    media = rng.below(7, 2, np.arange(IMAGES), 4)
    ids = 5 + np.arange(TEMPLATES) * 1709 % 188000  # not in the order of the images
    detector = np.round(rng.uniform(7, 3, np.arange(IMAGES)) * 0.9 + 0.1, 4)
    centre = draw(7, 4, SUBJECTS, DIM)
    length = 1 + 3 * rng.uniform(7, 5, np.arange(IMAGES))
    noise = draw(7, 6, IMAGES, 2, DIM)
    rows = ((centre[subject[template]][:, None, :] + 1.9 * noise) * length[:, None, None]).astype(np.float32)
    rows[17] = 0  # an image without an embedding: left out of its medium
    return template, subject, media, ids, detector, rows.reshape(IMAGES, 2 * DIM)


def pool(rows, template, media, detector, n, d, f):
    x = rows.astype(np.float64)
    x = x[:, :DIM] + x[:, DIM:] if f else x[:, :DIM]
    norm = np.linalg.norm(x, axis=1)
    if not n:
        x = x / np.where(norm > 0, norm, 1)[:, None]
    if d:
        x = x * np.float32(detector).astype(np.float64)[:, None]
    out = np.zeros((TEMPLATES, DIM))
    for t in range(TEMPLATES):
        for m in np.unique(media[template == t]):
            members = (template == t) & (media == m) & (norm > 0)
            if members.any():
                out[t] += x[members].mean(0)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def identify(t, gallery, probes, subject):
    """The public 1:N script: mates first and above the n-th non-mated score."""
    mated, nonmated, ranks = [], [], []
    for p in probes:
        s = t[gallery] @ t[p]
        mate = np.flatnonzero(subject[gallery] == subject[p])
        if len(mate):
            others = np.delete(s, mate[0])
            ranks.append(1 + (others >= s[mate[0]]).sum())
            mated.append((s[mate[0]], others.max()))
        else:
            nonmated.append(s.max())
    mated, ranks = np.array(mated), np.array(ranks)
    nonmated = np.sort(nonmated)[::-1]
    out = [len(gallery), len(probes), len(mated), len(nonmated)] + [(ranks <= k).sum() for k in (1, 5, 10)]
    for x in (0.01, 0.1):
        th = nonmated[max(int(len(nonmated) * x) - 1, 0)]
        out.append(((mated[:, 0] > mated[:, 1]) & (mated[:, 0] > th)).sum())
    return out


def ijb():
    os.makedirs(IJB, exist_ok=True)
    template, subject, media, ids, detector, rows = ijb_set()
    with open(os.path.join(IJB, "face_tid_mid.txt"), "w") as out:
        for i in range(IMAGES):
            out.write("%d.jpg %d %d\n" % (i + 1, ids[template[i]], media[i] + 69544))
    with open(os.path.join(IJB, "name_5pts_score.txt"), "w") as out:
        for i in range(IMAGES):
            points = " ".join("%.3f" % (v * 100 + 60) for v in draw(8, i, 10))
            out.write("%d.jpg %s %.4f\n" % (i + 1, points, detector[i]))
    pairs = [(a, b, int(subject[a] == subject[b])) for a in range(TEMPLATES) for b in range(a)
             if subject[a] == subject[b] or (a * 31 + b) % 3 == 0]
    pairs += [pairs[5], (pairs[9][1], pairs[9][0], pairs[9][2])]  # two that come again
    with open(os.path.join(IJB, "template_pair_label.txt"), "w") as out:
        for a, b, same in pairs:
            out.write("%d %d %d\n" % (ids[a], ids[b], same))
    galleries = [np.arange(0, 18), np.arange(18, 30)]  # subjects 30..39 are in neither
    probes = np.arange(SUBJECTS, TEMPLATES)
    for name, members in (("gallery_G1", galleries[0]), ("gallery_G2", galleries[1]), ("probe_mixed", probes)):
        with open(os.path.join(IJB, name + ".csv"), "w") as out:
            out.write("TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID\n")
            for t in members[::-1]:
                for i in np.flatnonzero(template == t)[:2]:
                    out.write("%d,%d,img/%d.jpg,%d\n" % (ids[t], subject[t] + 1000, i, i))
    a, b, same = np.array(pairs).T
    with open(os.path.join(HERE, "ijb.txt"), "w") as out:
        for bits in range(8):
            n, d, f = bits >> 2 & 1, bits >> 1 & 1, bits & 1
            t = pool(rows, template, media, detector, n, d, f)
            score = (t[a] * t[b]).sum(1)
            gaps = np.diff(np.unique(score))
            assert gaps.min() > 1e-12 or (gaps < 1e-12).sum() == 0, gaps.min()
            row, _ = rates_line(score[same == 1], score[same == 0])
            for g in galleries:
                row += identify(t, g, probes, subject)
            out.write("%d%d%d %s\n" % (n, d, f, " ".join(str(int(v)) for v in row)))


def drawn(seed, draw, count):
    """How often each of `count` units comes in one bootstrap draw."""
    stream = (0x626f6f74 << 32) + draw
    return np.bincount(rng.below(seed, stream, np.arange(count), count), minlength=count)


def ijb_numbers(rows, bits, seed, draws):
    """numbers[draw]: every rate, rank and TPIR, in percent, of whole resampled sets: pairs and probes
    are repeated as often as they count. Draw None is the set itself."""
    template, subject, media, ids, detector, _ = ijb_set()
    back = {i: t for t, i in enumerate(ids)}
    lines = [l.split() for l in open(os.path.join(IJB, "template_pair_label.txt"))]
    a, b = (np.array([back[int(l[c])] for l in lines]) for c in (0, 1))
    same = np.array([int(l[2]) for l in lines])
    in_pairs = np.union1d(a, b)
    persons = sorted(set(subject[in_pairs]), key=lambda s: min(ids[t] for t in in_pairs if subject[t] == s))
    galleries, probes = [np.arange(0, 18), np.arange(18, 30)], np.arange(SUBJECTS, TEMPLATES)
    searched = sorted(set(subject[probes]))
    t = pool(rows, template, media, detector, bits >> 2 & 1, bits >> 1 & 1, bits & 1)
    score = (t[a] * t[b]).sum(1)

    def times(units, draw):
        return dict(zip(units, np.ones(len(units), int) if draw is None else drawn(seed, draw, len(units))))

    for d in draws:
        n = times(persons, d)
        w = np.array([n[subject[i]] * (1 if subject[i] == subject[j] else n[subject[j]]) for i, j in zip(a, b)])
        g, i = (np.repeat(score[same == s], w[same == s]) for s in (1, 0))
        row, _ = rates_line(g, i)
        numbers = [row[k] / len(g) for k in list(range(0, 24, 2)) + list(range(24, 30))]
        n = times(searched, d)
        again = np.repeat(probes, [n[subject[p]] for p in probes])
        found = [identify(t, gallery, again, subject) for gallery in galleries]
        numbers += [sum(f[4 + k] for f in found) / len(again) for k in range(3)]
        numbers += [sum(f[7 + k] / f[2] for f in found) / 2 for k in range(2)]
        yield 100 * np.array(numbers)


def ijb_draws():
    rows = ijb_set()[-1]
    with open(os.path.join(HERE, "ijb_draws.txt"), "w") as out:
        for bits in (0, 7):
            for d, numbers in enumerate(ijb_numbers(rows, bits, 3, range(12))):
                out.write("%d %d %s\n" % (bits, d, " ".join("%.10g" % v for v in numbers)))


# ------------------------------------------------------------------------------------------- MegaFace

PROBES, PEOPLE, DISTRACTORS, WIDTH, FAR = 90, 14, 3000, 20, 1e-4


def megaface_case(seed):
    identity = np.arange(PROBES) * 5 % PEOPLE
    centre = draw(seed, 0, PEOPLE, WIDTH)
    probes = (centre[identity] + 1.2 * draw(seed, 1, PROBES, WIDTH)).astype(np.float32)
    distractors = (draw(seed, 2, DISTRACTORS, WIDTH) * 3).astype(np.float32)
    noisy_probe = rng.below(seed, 3, np.arange(PROBES), 12) == 0
    noisy = rng.below(seed, 4, np.arange(DISTRACTORS), 40) == 0
    return identity, probes.astype(np.float64), distractors.astype(np.float64), noisy_probe, noisy


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def megaface_scores(case, seed, rule):
    """Similarities of probes with distractors, of probes with probes, and which of those are pairs."""
    identity, probes, distractors, noisy_probe, noisy = case
    probes, distractors = unit(probes), unit(distractors)
    clean = probes.copy()
    for p in np.flatnonzero(noisy_probe):
        if rule != "keep":
            mean = probes[(identity == identity[p]) & ~noisy_probe].mean(0)
            amplitude = 0.001 if rule == "insightface" else 0
            u = 2 * rng.uniform(seed, 0, p * WIDTH + np.arange(WIDTH)) - 1
            clean[p] = unit(mean + amplitude * u)
    if rule == "facexzoo":
        distractors = np.where(noisy[:, None], 0, distractors)
    if rule == "insightface":  # one dimension more, on which noise alone is far away
        probes5 = np.hstack([clean, np.zeros((PROBES, 1))])
        d5 = np.hstack([distractors, 100.0 * noisy[:, None]])
        squared = (probes5 ** 2).sum(1)[:, None] + (d5 ** 2).sum(1) - 2 * probes5 @ d5.T
        scores = np.where(noisy, -np.inf, 1 - squared / 2)
    else:
        scores = clean @ distractors.T
    same = (identity[:, None] == identity) & ~np.eye(PROBES, dtype=bool)
    return scores, clean @ clean.T, same


def megaface_right(scores, sims, same):
    """right[n]: which pairs are a hit at rank n + 1, and last which are accepted at FAR; how near the
    nearest decision is; the threshold's rank."""
    ordered = -np.sort(-scores, axis=1)
    k = int(FAR * scores.size)
    threshold = np.sort(scores.ravel())[::-1][k - 1]
    right = [same & (sims >= ordered[:, n:n + 1]) for n in range(10)] + [same & (sims >= threshold)]
    edges = np.dstack([abs(sims - ordered[:, n:n + 1]) for n in range(10)] + [abs(sims - threshold)])
    return right, edges[same].min(), k


def megaface_draws(identity, scores, sims, same, seed, count):
    """numbers[draw]: rank-1..10 and TPR in percent, with each probe's rows as often as it counts; how
    near the nearest decision is."""
    right, closest, _ = megaface_right(scores, sims, same)
    people, draws = np.unique(identity), []
    for d in range(count):
        times = drawn(seed, d, len(people))[np.searchsorted(people, identity)]
        again = np.repeat(scores, times, axis=0)
        at = np.sort(again.ravel())[::-1][int(FAR * again.size) - 1]
        weight = same * times[:, None]
        draws.append([100 * (weight * r).sum() / weight.sum() for r in right[:10] + [sims >= at]])
        closest = min(closest, abs(sims - at)[weight > 0].min())
    return np.array(draws), closest


def megaface_counts(seed, rule):
    case = megaface_case(seed)
    identity, _, _, noisy_probe, noisy = case
    scores, sims, same = megaface_scores(case, seed, rule)
    right, _, k = megaface_right(scores, sims, same)
    draws, closest = megaface_draws(identity, scores, sims, same, 3, 6)
    hits = [r.sum() for r in right]
    return hits[:10] + [same.sum(), k, hits[10], noisy_probe.sum(), noisy.sum()], closest, draws.ravel()


def megaface():
    with open(os.path.join(HERE, "megaface.txt"), "w") as out:
        cases = 0
        for seed in range(100, 200):
            rows = [megaface_counts(seed, rule) for rule in ("keep", "insightface", "facexzoo")]
            if min(r[1] for r in rows) < 2e-6:
                continue  # a decision that float32 could turn
            for rule, (row, _, draws) in enumerate(rows):
                out.write("%d %d %s %s\n" % (seed, rule, " ".join(str(int(v)) for v in row),
                                             " ".join("%.10g" % v for v in draws)))
            cases += 1
            if cases == 6:
                break


if __name__ == "__main__":
    os.makedirs(HERE, exist_ok=True)
    rates()
    ijb()
    ijb_draws()
    megaface()
