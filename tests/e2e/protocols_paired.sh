# evaluate ijb and megaface --against: every difference, interval and p against numpy and scipy; a model against
# itself, a broken one, images that only one of two could embed, and every refusal.
set -eu
golden=${CASK_SOURCE:?}/tests/golden
python=/usr/bin/python3
[ -x "$python" ] && "$python" -c 'import scipy, sklearn' 2>/dev/null || { echo "skipped: no /usr/bin/python3 with scipy and scikit-learn"; exit 77; }
. "${CASK_SOURCE:?}/tests/support/begin.sh"
. "${CASK_SOURCE:?}/tests/support/refused.sh"
export PYTHONPATH="$golden" PYTHONDONTWRITEBYTECODE=1

# ------------------------------------------------- inputs: a model, a worse one, one that is none, and odd ones
cat >"$work/inputs.py" <<'PYTHON'
"""The rows of A are the golden set's; B's are as good but for noise. Shared by writer and checker."""
import counter_rng as rng, numpy as np, make_protocols as m

SEED, DRAWS = 5, 30


def noise(stream, rows, width):
    return (rng.uniform(9, stream, np.arange(len(rows) * width)).reshape(-1, width) - 0.5)

def ijb(side):
    rows = m.ijb_set()[-1]  # one of them zero: an image without an embedding
    worse = (rows + 5 * noise(1, rows, rows.shape[1])).astype(np.float32)
    return rows if side == 0 else np.where(rows.any(1, keepdims=True), worse, 0)

def megaface(side):
    """The golden set with people easier to tell apart. A list numbers people as they appear."""
    identity, probes, distractors, noisy_probe, noisy = m.megaface_case(100)
    first = np.unique(identity, return_index=True)[1]
    identity = np.argsort(np.argsort(first))[identity]
    mean = np.array([probes[identity == i].mean(0) for i in range(m.PEOPLE)])[identity]
    probes = 0.5 * mean + 0.5 * probes + (0.5 * noise(2, probes, m.WIDTH) if side else 0)
    return identity, probes.astype(np.float32).astype(float), distractors, noisy_probe, noisy
PYTHON
"$python" - "$work" <<'PYTHON'
import os, struct, sys
work = sys.argv[1]
sys.path.insert(0, work)
import inputs, numpy as np
def save(name, rows): np.save("%s/%s.npy" % (work, name), rows.astype(np.float32))
a, b = inputs.ijb(0), inputs.ijb(1)
save("a", a); save("b", b); save("broken", inputs.noise(3, a, a.shape[1])); save("short", b[:-1]); save("narrow", a[:, :16])
holes = np.arange(len(a)) % 7 == 3
save("b_holes", np.where(holes[:, None], 0, b)); save("a_holes", np.where(holes[:, None], 0, a))
for side in (0, 1):
    identity, probes, distractors, noisy_probe, noisy = inputs.megaface(side)
    save("probes%d" % side, probes); save("far%d" % side, distractors)
    for kind, rows in (("p", probes), ("d", distractors)):
        for i, row in enumerate(rows):
            path = "%s/%s/%d/%d" % (work, kind, identity[i] if kind == "p" else i % 7, i)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path + "_%s.bin" % "ab"[side], "wb").write(struct.pack("<4i", len(row), 1, 4, 5) + row.astype("<f4").tobytes())
save("probes_broken", inputs.noise(4, probes, probes.shape[1]))
open(work + "/p.txt", "w").write("".join("%d/%d\n" % (identity[i], i) for i in range(len(probes))))
open(work + "/d.txt", "w").write("".join("%d/%d\n" % (i % 7, i) for i in range(len(distractors))))
PYTHON
cat >"$work/check.py" <<'PYTHON'
"""What is expected of two numbers in the same draws, and of trials that two models get right or wrong."""
import numpy as np
from scipy.stats import binomtest


def close(what, got, want):
    assert abs(got - want) <= 1e-6, (what, got, want)

def difference(found, a, b, draws_a, draws_b):
    d = draws_a - draws_b
    close(found, found["a"], a); close(found, found["b"], b); close(found, found["difference"], a - b)
    for got, want in zip(found["interval"], np.percentile(d, [2.5, 97.5])):
        close(found, got, want)
    close(found, found["bootstrap_p"], min(1, 2 * (min((d <= 1e-9).sum(), (d >= -1e-9).sum()) + 1) / (len(d) + 1)))

def trials(found, a, b):
    counts = [int((a & b).sum()), int((a & ~b).sum()), int((~a & b).sum()), int((~a & ~b).sum())]
    assert [found[k] for k in ("both_right", "only_a", "only_b", "both_wrong")] == counts, (found, counts)
    odd = counts[1] + counts[2]
    assert odd > 0, found  # else nothing is tested
    close(found, found["mcnemar_p"], binomtest(counts[1], odd, 0.5).pvalue)
PYTHON

# -------------------------------------------------------------------------------------------------------- IJB
meta="--tid-mid $golden/protocols/ijb/face_tid_mid.txt --points $golden/protocols/ijb/name_5pts_score.txt
    --pairs $golden/protocols/ijb/template_pair_label.txt"
search="--gallery $golden/protocols/ijb/gallery_G1.csv --gallery $golden/protocols/ijb/gallery_G2.csv
    --probe $golden/protocols/ijb/probe_mixed.csv"
# ijb NAME A B MORE...: A against B; the table in NAME.txt, the report in NAME.json
ijb() {
    out=$1 a=$2 b=$3
    shift 3
    "$bin/evaluate" ijb $meta $search --bootstrap 30 --seed 5 --embeddings "$work/$a.npy" --against "$work/$b.npy" \
        --json "$work/$out.json" --csv "$work/$out.csv" "$@" >"$work/$out.txt" 2>"$work/log" || fail "evaluate ijb $a --against $b"
}
ijb both a b --switches N0D0F0 --switches N1D1F1
"$python" - "$work" <<'PYTHON'
import json, sys
work = sys.argv[1]
sys.path.insert(0, work)
import check, inputs, numpy as np, make_protocols as m
report = json.load(open(work + "/both.json"))
template, subject, media, ids, detector, _ = m.ijb_set()
rows = [inputs.ijb(s) for s in (0, 1)]
names = ["%s tpr at fpr %g" % (r, t) for r in ("parity", "full", "strict") for t in m.TARGETS]
names += ["rank 1", "rank 5", "rank 10", "tpir at fpir 0.01", "tpir at fpir 0.1"]
assert len(report["paired"]) == 2 * len(names) and report["model"].endswith("/a.npy")
assert report["against"]["model"].endswith("/b.npy")
for v, (name, bits) in enumerate((("N0D0F0", 0), ("N1D1F1", 7))):
    found = report["paired"][v * len(names):(v + 1) * len(names)]
    assert [f["number"] for f in found] == names and all(f["protocol"] == name and f["set"] == "ijbc" for f in found)
    whole = [next(m.ijb_numbers(r, bits, inputs.SEED, [None])) for r in rows]
    draws = [np.array(list(m.ijb_numbers(r, bits, inputs.SEED, range(inputs.DRAWS)))) for r in rows]
    for n, f in enumerate(found):
        check.difference(f, whole[0][n], whole[1][n], draws[0][:, n], draws[1][:, n])
        if n < 18:
            assert all(f[k] is None for k in ("both_right", "only_a", "only_b", "both_wrong", "mcnemar_p")), f
    # searches of mated probes, one by one
    right = [[], []]
    for side in (0, 1):
        t = m.pool(rows[side], template, media, detector, bits >> 2 & 1, bits >> 1 & 1, bits & 1)
        for gallery in (np.arange(0, 18), np.arange(18, 30)):
            s = t[m.SUBJECTS:] @ t[gallery].T
            mate = subject[m.SUBJECTS:, None] == subject[gallery]
            mated = mate.any(1)
            best = np.sort(s[~mated].max(1))[::-1]
            own = s[mated][mate[mated]]
            rank = (s[mated] >= own[:, None]).sum(1)
            hits = [rank <= k for k in (1, 5, 10)]
            hits += [(rank == 1) & (own > best[max(int(len(best) * x) - 1, 0)]) for x in (0.01, 0.1)]
            right[side].append(hits)
    for n in range(5):
        check.trials(found[18 + n], *(np.concatenate([g[n] for g in right[side]]) for side in (0, 1)))
PYTHON
grep -q "^A: $work/a.npy" "$work/both.txt" && grep -q "^B: $work/b.npy" "$work/both.txt" || fail "two models: $(cat "$work/both.txt")"
[ "$(grep -c "^ijbc  *N[01]D[01]F[01] " "$work/both.txt")" -eq 46 ] || fail "the table of differences: $(cat "$work/both.txt")"
[ "$(wc -l <"$work/both.csv")" -eq $((1 + 2 * 2 * 23)) ] || fail "the CSV's lines"
# what is said of each model is what is said of it alone
"$bin/evaluate" ijb $meta $search --bootstrap 30 --seed 5 --embeddings "$work/a.npy" --switches N0D0F0 --switches N1D1F1 \
    --json "$work/alone.json" >/dev/null 2>&1
alone() { # NAME: the first model's part of the report
    "$python" -c 'import json, sys; r = json.load(open(sys.argv[1])); print([r[k] for k in ("images", "findings", "variants")])' "$work/$1.json" |
        sed "s,$work/[a-z_]*\.npy,,g"
}
[ "$(alone both)" = "$(alone alone)" ] || fail "a second model changes the first one's numbers"

ijb self a a
"$python" - "$work/self.json" <<'PYTHON'
import json, sys
for f in json.load(open(sys.argv[1]))["paired"]:
    assert f["difference"] == 0 and f["interval"] == [0, 0] and f["bootstrap_p"] == 1, f
    assert f["mcnemar_p"] in (None, 1) and not f["only_a"] and not f["only_b"], f
PYTHON
ijb broken a broken
ijb turned broken a
"$python" - "$work/broken.json" "$work/turned.json" <<'PYTHON'
import json, sys
broken, turned = (json.load(open(p))["paired"] for p in sys.argv[1:])
for f, g in zip(broken, turned):
    assert f["difference"] == -g["difference"] and f["bootstrap_p"] == g["bootstrap_p"] and f["mcnemar_p"] == g["mcnemar_p"], (f, g)
    assert f["difference"] > 10 and f["interval"][0] > 0 and f["bootstrap_p"] < 0.07, f  # 2 / 31: the least of 30 draws
    assert f["number"] not in ("rank 1", "rank 5") or f["mcnemar_p"] < 1e-3, f
PYTHON
# an image that one model could not embed is left out for both
ijb holes a b_holes
ijb filled a_holes b_holes
[ "$(alone holes)" = "$(alone filled)" ] || fail "images without an embedding in B count for A"
ijb narrow a narrow --switches N0D0F0 # rows of another length
"$bin/evaluate" ijb $meta --bootstrap 0 --embeddings "$work/a.npy" --against "$work/b.npy" --json "$work/none.json" >"$work/none.txt" 2>/dev/null
grep -q '"bootstrap_p": null' "$work/none.json" || fail "a p without draws"
[ "$(grep -c "^ijbc  *N1D1F1 .* -  *-  *-  *-  *-$" "$work/none.txt")" -eq 18 ] || fail "a table without draws: $(cat "$work/none.txt")"
if command -v gnuplot >/dev/null; then
    ijb drawn a b --roc "$work/roc.svg"
    grep -q "b.npy, N1D1F1" "$work/roc.svg" || fail "the ROC of two models"
fi
refused 3 "short.npy|expected 420 rows|found 419" "$bin/evaluate" ijb $meta --embeddings "$work/a.npy" --against "$work/short.npy"
refused 2 "--against|--against-work" "$bin/evaluate" ijb $meta --embeddings "$work/a.npy" --against "$work/a.safetensors"
refused 2 "--against-preprocess needs --against" "$bin/evaluate" ijb $meta --embeddings "$work/a.npy" --against-preprocess rgb:0:1
refused 2 "--against-work|needs --against" "$bin/evaluate" ijb $meta --embeddings "$work/a.npy" --against-work "$work/w"

# --------------------------------------------------------------------------------------------------- MegaFace
megaface() {
    "$bin/evaluate" megaface --probes "$work/p.txt" --distractors "$work/d.txt" --far 1e-4 --bootstrap 30 --seed 5 --noise-rule keep "$@"
}
mega() { # NAME FLAGS...: the table in NAME.txt, the report in NAME.json
    out=$1
    shift
    megaface --json "$work/$out.json" --csv "$work/$out.csv" "$@" >"$work/$out.txt" 2>"$work/log" || fail "evaluate megaface $*"
}
first="--probe-npy $work/probes0.npy --distractor-npy $work/far0.npy"
folders="--probe-dir $work/p --distractor-dir $work/d"
mega npy $first --against-probe-npy "$work/probes1.npy" --against-distractor-npy "$work/far1.npy"
mega files $folders --features _a.bin --against-features _b.bin
mega mixed $folders $first --against-features _b.bin
"$python" - "$work" npy files mixed <<'PYTHON'
import json, sys
work = sys.argv[1]
sys.path.insert(0, work)
import check, inputs, make_protocols as m
cases = [inputs.megaface(s) for s in (0, 1)]
scores = [m.megaface_scores(c, inputs.SEED, "keep") for c in cases]
right = [m.megaface_right(*s)[0] for s in scores]
draws, closest = zip(*(m.megaface_draws(cases[0][0], *s, inputs.SEED, inputs.DRAWS) for s in scores))
assert min(closest) > 2e-6, closest  # no decision that float32 could turn
same = scores[0][2]
for kind in sys.argv[2:]:
    report = json.load(open("%s/%s.json" % (work, kind)))
    assert [f["number"] for f in report["paired"]] == ["rank 1", "rank 10", "tpr at far 0.0001"]
    for f, n in zip(report["paired"], (0, 9, 10)):
        share = [100 * r[n].sum() / same.sum() for r in right]
        check.difference(f, *share, draws[0][:, n], draws[1][:, n])
        check.trials(f, *(r[n][same] for r in right))
    for r, s in ((report, right[0]), (report["against"], right[1])):
        assert r["hits"] == [int(x.sum()) for x in s[:10]] and r["accepted"] == s[10].sum(), r
PYTHON
for kind in npy files mixed; do
    [ "$(grep -c "^megaface  *keep " "$work/$kind.txt")" -eq 3 ] || fail "the table of differences: $(cat "$work/$kind.txt")"
    [ "$(wc -l <"$work/$kind.csv")" -eq 23 ] || fail "the CSV's lines"
done
mega self $first --against-probe-npy "$work/probes0.npy" --against-distractor-npy "$work/far0.npy"
mega broken $first --against-probe-npy "$work/probes_broken.npy" --against-distractor-npy "$work/far0.npy" --bootstrap 200
mega none $first --against-probe-npy "$work/probes1.npy" --against-distractor-npy "$work/far1.npy" --bootstrap 0
"$python" - "$work" <<'PYTHON'
import json, sys
for f in json.load(open(sys.argv[1] + "/self.json"))["paired"]:
    assert f["difference"] == 0 and f["interval"] == [0, 0] and f["bootstrap_p"] == 1 == f["mcnemar_p"], f
for f in json.load(open(sys.argv[1] + "/broken.json"))["paired"]:
    assert f["difference"] > 10 and f["interval"][0] > 0 and f["bootstrap_p"] < 0.01 and f["mcnemar_p"] < 1e-3, f
for f, g in zip(json.load(open(sys.argv[1] + "/none.json"))["paired"], json.load(open(sys.argv[1] + "/npy.json"))["paired"]):
    assert f["interval"] is None and f["bootstrap_p"] is None and f["mcnemar_p"] == g["mcnemar_p"] and f["only_a"] == g["only_a"], f
PYTHON
refused 3 "probes0.npy|expected 3000 rows|found 90" megaface $first --against-probe-npy "$work/probes1.npy" --against-distractor-npy "$work/probes0.npy"
refused 2 "a second model|--against-distractor-npy" megaface $first --against-probe-npy "$work/probes1.npy"
refused 2 "a second model|--against-work" megaface $folders $first --against "$work/a.safetensors"
refused 2 "a second model|both folders" megaface $first --against-features _b.bin
refused 3 "_c.bin|No such file" megaface $folders $first --against-features _c.bin
echo "ok: differences, intervals, draws' p and McNemar's p of IJB and MegaFace are numpy's"
