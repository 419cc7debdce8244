# evaluate ijb, megaface, masked: numbers from embeddings and from images, a killed run that goes on, and every refusal.
set -eu
golden=${CASK_SOURCE:?}/tests/golden/protocols
python=/usr/bin/python3
[ -x "$python" ] && "$python" -c 'import numpy' 2>/dev/null || { echo "skipped: no /usr/bin/python3 with numpy"; exit 77; }
. "${CASK_SOURCE:?}/tests/support/begin.sh"

. "$(dirname "$0")/../support/refused.sh"

# ---------------------------------------------------------------- IJB from a matrix: the golden counts
cp -r "$golden/ijb" "$work/ijb"
"$python" - "$golden/.." "$work" <<'PYTHON'
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, make_protocols as m
template, subject, media, ids, detector, rows = m.ijb_set()
np.save(sys.argv[2] + "/ijb.npy", rows)
np.save(sys.argv[2] + "/short.npy", rows[:-1])
bad = rows.copy(); bad[33, 3] = np.nan
np.save(sys.argv[2] + "/nan.npy", bad)
empty = rows.copy(); empty[template == template[0]] = 0
np.save(sys.argv[2] + "/empty.npy", empty)
seed = 100
identity, probes, distractors, noisy_probe, noisy = m.megaface_case(seed)
np.save(sys.argv[2] + "/probes.npy", probes.astype(np.float32))
np.save(sys.argv[2] + "/distractors.npy", distractors.astype(np.float32))
import os, json, struct
names = ["id%d/p%d.png" % (identity[p], p) for p in range(len(probes))]
far = ["%d/%d.jpg" % (i % 7, i) for i in range(len(distractors))]
open(sys.argv[2] + "/probes.txt", "w").write("\n".join(names) + "\n")
json.dump({"path": far, "id": ["x%d" % i for i in range(len(far))]}, open(sys.argv[2] + "/far.json", "w"))
open(sys.argv[2] + "/probe_noise.txt", "w").write("# noise\n" + "\n".join("p%d.png" % p for p in np.flatnonzero(noisy_probe)) + "\nnobody.png\n")
open(sys.argv[2] + "/far_noise.txt", "w").write("\n".join("%d\t%s" % (i, far[i]) for i in np.flatnonzero(noisy)) + "\n")
def features(folder, paths, rows):
    for path, row in zip(paths, rows):
        os.makedirs(os.path.dirname(sys.argv[2] + folder + path), exist_ok=True)
        with open(sys.argv[2] + folder + path + "_r.bin", "wb") as out:
            out.write(struct.pack("<4i", len(row), 1, 4, 5) + row.astype("<f4").tobytes())
features("/pf/", names, probes)
features("/df/", far, distractors)
PYTHON
meta="--tid-mid $work/ijb/face_tid_mid.txt --points $work/ijb/name_5pts_score.txt --pairs $work/ijb/template_pair_label.txt"
search="--gallery $work/ijb/gallery_G1.csv --gallery $work/ijb/gallery_G2.csv --probe $work/ijb/probe_mixed.csv"
ijb() { "$bin/evaluate" ijb $meta --embeddings "$work/ijb.npy" "$@"; }
ijb $search --switches all --json "$work/ijb.json" --csv "$work/ijb.csv" >"$work/table" 2>"$work/log" || {
    cat "$work/log"
    fail "evaluate ijb"
}
[ "$(grep -c 'protocol: ijbc 1:1 N' "$work/table")" -eq 8 ] || fail "eight protocol lines: $(cat "$work/table")"
grep -q "note: 1 images without an embedding.*18.jpg" "$work/table" || fail "the zero image is not named"
grep -q "note: 2 pairs that repeat.*template_pair_label.txt:2092" "$work/table" || fail "the duplicates are not named"
"$python" - "$work/ijb.json" "$golden/ijb.txt" <<'PYTHON'
import json, sys
report = json.load(open(sys.argv[1]))
lines = {l.split()[0]: list(map(int, l.split()[1:])) for l in open(sys.argv[2])}
assert len(report["variants"]) == 8 and report["images"] == 420
for v in report["variants"]:
    want = lines[v["switches"][1] + v["switches"][3] + v["switches"][5]]
    n = v["genuine"]
    got = []
    for kind in ("parity", "full"):
        for t in v["tpr_at_fpr"]:
            got += [round(t[kind] * n / 100), round(t[kind + "_fpr"] * v["impostor"])]
    got += [round(t["strict"] * n / 100) for t in v["tpr_at_fpr"]]
    for g in v["galleries"]:
        got += [g["templates"], g["probes"], g["mated"], g["nonmated"]] + g["hits"] + g["accepted"]
    assert got == want, (v["switches"], got, want)
    assert all(t["strict_fpr"] <= t["fpr"] for t in v["tpr_at_fpr"])
    assert "bootstrap over" in v["protocol"] and "subjects of probes, 1000 draws, seed 1" in v["search_protocol"]
    for t in v["tpr_at_fpr"]:
        for kind in ("parity", "full", "strict"):
            low, high = t[kind + "_interval"]
            assert 0 <= low < high <= 100, (kind, t)
    for key in ("rank1", "rank5", "rank10", "tpir_0.01", "tpir_0.1"):
        low, high = v[key + "_interval"]
        assert low <= v[key] <= high and low < high, (key, v[key], low, high)
PYTHON
[ "$(head -n 1 "$work/ijb.csv")" = "model,set,protocol,number,value,low,high,pairs" ] || fail "the CSV's head"
[ "$(wc -l <"$work/ijb.csv")" -eq $((1 + 8 * (18 + 5))) ] || fail "the CSV's lines: $(wc -l <"$work/ijb.csv")"
if command -v gnuplot >/dev/null; then
    ijb --switches N1D1F1 --switches N0D0F0 --roc "$work/roc.svg" --histogram "$work/histogram.png" >/dev/null 2>&1 || fail "pictures"
    grep -q "N0D0F0" "$work/roc.svg" && [ -s "$work/histogram.png" ] || fail "empty pictures"
else
    echo "not tried: pictures (no gnuplot)"
fi
ijb --bootstrap 0 --json "$work/none.json" 2>/dev/null | grep -q bootstrap && fail "intervals without draws"
grep -q '"parity_interval": *null' "$work/none.json" || fail "--bootstrap 0: $(head -c 2000 "$work/none.json")"
ijb --threads 1 --json "$work/one.json" >/dev/null 2>&1 && ijb --threads 3 --json "$work/three.json" >/dev/null 2>&1
cmp "$work/one.json" "$work/three.json" || fail "threads change IJB's numbers"
"$bin/evaluate" ijb $meta --embeddings "$work/empty.npy" 2>/dev/null >"$work/table"
grep -q "note: 1 templates without a usable image" "$work/table" || fail "the empty template is not named: $(cat "$work/table")"

refused 3 "short.npy|expected 420 rows|found 419" "$bin/evaluate" ijb $meta --embeddings "$work/short.npy"
refused 3 "34.jpg|finite" "$bin/evaluate" ijb $meta --embeddings "$work/nan.npy"
ijb --name ijbb --bootstrap 0 2>/dev/null | grep -q 'protocol: ijbb 1:1 N' || fail "--name ijbb"
refused 2 "N0D0F0" ijb --switches N1D2F1
refused 2 "roc.pdf|.svg or .png" ijb --roc "$work/roc.pdf"
refused 2 "--views 2" ijb --views 1
refused 2 "--probe" ijb --gallery "$work/ijb/gallery_G1.csv"
refused 2 "--work" "$bin/evaluate" ijb $meta
break_file() { # NAME SED: the set with one file changed
    rm -rf "$work/ijb" && cp -r "$golden/ijb" "$work/ijb" && sed -i "$2" "$work/ijb/$1"
}
break_file face_tid_mid.txt '7s/ [0-9]* / x /'
refused 3 "face_tid_mid.txt:7|image template media" ijb
break_file face_tid_mid.txt '$d'
refused 3 "419 and 420 lines" ijb
break_file name_5pts_score.txt '9s/^/a/'
refused 3 "name_5pts_score.txt:9|face_tid_mid.txt:9" ijb
break_file name_5pts_score.txt '5s/ [0-9.]*$/ nan/'
refused 3 "name_5pts_score.txt:5|score" ijb
break_file name_5pts_score.txt '5s,^,../,'
refused 3 "name_5pts_score.txt:5|relative path" ijb
break_file template_pair_label.txt '3s/^[0-9]*/99999999/;8s/^[0-9]*/99999998/'
refused 3 "template_pair_label.txt:3|99999999|2 line(s)" ijb
break_file template_pair_label.txt '4s/[01]$/2/'
refused 3 "template_pair_label.txt:4|label 0 or 1" ijb
break_file gallery_G1.csv '3s/^[0-9]*/77777777/'
refused 3 "gallery_G1.csv:3|77777777" ijb $search
break_file gallery_G1.csv '2s/,[0-9]*,/,7,/'
refused 3 "gallery_G1.csv|subject" ijb $search
break_file probe_mixed.csv '1d'
refused 3 "probe_mixed.csv:1|header" ijb $search
rm -rf "$work/ijb" && cp -r "$golden/ijb" "$work/ijb"

# ------------------------------------------------------- MegaFace from matrices and from feature files
mega() { "$bin/evaluate" megaface --probes "$work/probes.txt" --distractors "$work/far.json" --far 1e-4 --seed 100 "$@"; }
npy="--probe-npy $work/probes.npy --distractor-npy $work/distractors.npy"
bins="--probe-dir $work/pf --distractor-dir $work/df --features _r.bin"
noise="--probe-noise $work/probe_noise.txt --distractor-noise $work/far_noise.txt"
number=0
for rule in keep insightface facexzoo; do
    for source in "$npy" "$bins"; do
        mega $source $noise --noise-rule $rule --json "$work/m.json" --csv "$work/m.csv" >"$work/table" 2>"$work/log" || {
            cat "$work/log"
            fail "evaluate megaface $rule"
        }
        "$python" - "$work/m.json" "$golden/megaface.txt" $number <<'PYTHON'
import json, sys
r = json.load(open(sys.argv[1]))
want = next(list(map(int, l.split()[2:17])) for l in open(sys.argv[2]) if l.split()[:2] == ["100", sys.argv[3]])
assert r["hits"] + [r["pairs"], r["negatives_allowed"], r["accepted"]] == want[:13], (r, want)
assert {f["what"]: f["times"] for f in r["findings"]} == {"noisy probes": want[13], "noisy distractors": want[14]}
for key in ("rank1", "rank10", "tpr"):
    low, high = r[key + "_interval"]
    assert low <= r[key] <= high and low < high, (key, r)
assert "bootstrap over 14 identities of probes, 1000 draws" in r["protocol"]
PYTHON
        grep -q "protocol: MegaFace, 3000 distractors, noise $rule" "$work/table" || fail "the protocol: $(cat "$work/table")"
    done
    number=$((number + 1))
done
mega $npy --limit 500 2>/dev/null && fail "a matrix of 3000 rows for 500 names"
mega $bins --limit 500 2>/dev/null | grep -q "500 distractors, noise lists not given" || fail "--limit"
printf 'xx' >>"$work/df/3/3.jpg_r.bin"
refused 3 "3/3.jpg_r.bin|more bytes" mega $bins
head -c 40 "$work/pf/id0/p0.png_r.bin" >"$work/cut" && cp "$work/cut" "$work/df/3/3.jpg_r.bin"
refused 3 "3/3.jpg_r.bin|found the end" mega $bins
printf 'not a matrix, not at all' >"$work/df/3/3.jpg_r.bin"
refused 3 "3/3.jpg_r.bin|header" mega $bins
rm "$work/df/3/3.jpg_r.bin"
refused 3 "3/3.jpg_r.bin|No such file" mega $bins
printf '{"path": ["a/b.jpg"], "id": []}' >"$work/odd.json"
refused 3 "odd.json|found 0 and 1" "$bin/evaluate" megaface --probes "$work/probes.txt" --distractors "$work/odd.json" $npy
printf 'a/../../b.jpg\n' >"$work/odd.txt"
refused 3 "odd.txt:1|relative path" "$bin/evaluate" megaface --probes "$work/odd.txt" --distractors "$work/far.json" $npy
refused 2 "--features" "$bin/evaluate" megaface --probes "$work/probes.txt" --distractors "$work/far.json"

# ------------------------------------------------------------------ images: a model, a stop, a resume
"$bin/synth-faces" --out "$work/faces" --identities 40 --images 8 --size 32 --pairs "$work/pairs.txt" --pairs-per-fold 12 \
    --folds 10 >/dev/null 2>&1
"$bin/train-student" --data "$work/faces" --set student.input=32 --set student.embedding=64 --set train.batch=24 \
    --set train.epochs=2 --set train.precision=fp32 --out "$work/t" >/dev/null 2>&1
model="--model $work/t/student.safetensors --precision fp32"
"$python" - "$work" <<'PYTHON'
import glob, os, sys
work = sys.argv[1]
points = [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
files = sorted(glob.glob(work + "/faces/*/*.jpg"))
os.makedirs(work + "/meta")
with open(work + "/meta/ijbc_face_tid_mid.txt", "w") as ids, open(work + "/meta/ijbc_name_5pts_score.txt", "w") as five:
    for i, f in enumerate(files):
        name = os.path.relpath(f, work + "/faces")
        ids.write("%s %d %d\n" % (name, i // 4 * 10, i % 3))
        five.write(name + "".join(" %.4f" % (v * 32 / 112) for p in points for v in p) + " 0.9\n")
with open(work + "/meta/ijbc_template_pair_label.txt", "w") as out:
    for a in range(80):
        for b in range(a):
            out.write("%d %d %d\n" % (a * 10, b * 10, a // 2 == b // 2))
open(work + "/list.txt", "w").write("".join(os.path.relpath(f, work + "/faces") + "\n" for f in files[:80]))
open(work + "/others.txt", "w").write("".join(os.path.relpath(f, work + "/faces") + "\n" for f in files[80:]))
PYTHON
images() { "$bin/evaluate" ijb --meta "$work/meta" --images "$work/faces" $model --work "$1" --json "$2" >/dev/null 2>"$work/log"; }
images "$work/store" "$work/whole.json" || { cat "$work/log"; fail "ijb from images"; }
# the same embeddings again, from the folder and as a matrix numpy can read
images "$work/store" "$work/again.json" && cmp "$work/whole.json" "$work/again.json" || fail "a full folder is not used"
"$python" -c "import numpy as np; a = np.load('$work/store/embeddings.npy'); assert a.shape == (320, 128) and abs(a).sum(1).min() > 0"
# half of the journal and damaged rows: made again, same bytes
cp "$work/store/embeddings.npy" "$work/first.npy"
sed -i '$d' "$work/store/journal.jsonl"
printf '{"block":1,"xxh3":"00000000000' >>"$work/store/journal.jsonl"
"$python" - "$work/store/embeddings.npy" <<'PYTHON'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
for i in range(len(data) - 4000, len(data)): data[i] ^= 0x55
open(sys.argv[1], "wb").write(data)
PYTHON
images "$work/store" "$work/again.json" || { cat "$work/log"; fail "a torn folder"; }
cmp "$work/store/embeddings.npy" "$work/first.npy" && cmp "$work/whole.json" "$work/again.json" || fail "a torn folder is not mended"
"$python" - "$work/store/embeddings.npy" <<'PYTHON'
import sys
data = bytearray(open(sys.argv[1], "rb").read()); data[5000] ^= 1
open(sys.argv[1], "wb").write(data)
PYTHON
images "$work/store" "$work/again.json" || fail "a flipped bit"
grep -q "block 0 does not have the checksum" "$work/log" || fail "the damaged block is not named"
cmp "$work/store/embeddings.npy" "$work/first.npy" || fail "a flipped bit is not mended"
# another model, other images
refused 3 "state.json|pixels: expected bgr" "$bin/evaluate" ijb --meta "$work/meta" --images "$work/faces" $model --work "$work/store" \
    --preprocess bgr:127.5:127.5
cp -r "$work/meta" "$work/meta2" && sed -i '3s/ [0-9.]* / 7.5 /' "$work/meta2/ijbc_name_5pts_score.txt"
refused 3 "state.json|list: expected" "$bin/evaluate" ijb --meta "$work/meta2" --images "$work/faces" $model --work "$work/store"
# images that do not decode
bad=$(sed -n '5s/ .*//p' "$work/meta/ijbc_face_tid_mid.txt")
cp -r "$work/faces" "$work/torn" && echo torn >"$work/torn/$bad" && rm "$work/torn/$(sed -n '9s/ .*//p' "$work/meta/ijbc_face_tid_mid.txt")"
refused 3 "2 image(s)|$bad|--bad-images" "$bin/evaluate" ijb --meta "$work/meta" --images "$work/torn" $model --work "$work/bad"
"$bin/evaluate" ijb --meta "$work/meta" --images "$work/torn" $model --work "$work/bad" --bad-images leave-out >"$work/table" 2>/dev/null
grep -q "note: 2 bad images, left out.*$bad" "$work/table" || fail "bad images: $(cat "$work/table")"
# MegaFace from images, two folders
"$bin/evaluate" megaface --probes "$work/list.txt" --distractors "$work/others.txt" --probe-dir "$work/faces" --distractor-dir "$work/faces" \
    $model --work "$work/mega" --far 1e-3 >"$work/table" 2>"$work/log" || { cat "$work/log"; fail "megaface from images"; }
grep -q "80 probes of 10 identities, 560 pairs, 240 distractors" "$work/table" || fail "megaface: $(cat "$work/table")"
# the same model as its own rival: embedded into a folder of its own, and as the matrix that it left there
rival=$work/t/student.safetensors
"$bin/evaluate" ijb --meta "$work/meta" --images "$work/faces" $model --work "$work/store" --bootstrap 20 --against "$rival" \
    --against-work "$work/rival" --json "$work/r1.json" >/dev/null 2>"$work/log" || fail "ijb against a model"
cmp "$work/rival/embeddings.npy" "$work/first.npy" || fail "the second model's embeddings"
"$bin/evaluate" ijb --meta "$work/meta" --images "$work/faces" $model --work "$work/store" --bootstrap 20 \
    --against "$work/rival/embeddings.npy" --json "$work/r2.json" >/dev/null 2>"$work/log" || fail "ijb against its embeddings"
"$bin/evaluate" megaface --probes "$work/list.txt" --distractors "$work/others.txt" --probe-dir "$work/faces" --distractor-dir "$work/faces" \
    $model --work "$work/mega" --far 1e-3 --bootstrap 20 --against "$rival" --against-work "$work/rival_mega" --json "$work/r3.json" \
    >/dev/null 2>"$work/log" || fail "megaface against a model"
"$python" - "$work" <<'PYTHON'
import json, sys
for name, tests in (("r1", 18), ("r2", 18), ("r3", 3)):
    report = json.load(open("%s/%s.json" % (sys.argv[1], name)))
    assert len(report["paired"]) == tests, report["paired"]
    for f in report["paired"]:
        assert f["a"] == f["b"] and f["difference"] == 0 and f["interval"] == [0, 0] and f["bootstrap_p"] == 1, f
PYTHON

# ------------------------------------------------------------------------------------------- masked
masked() { "$bin/evaluate" masked $model --pairs "$work/pairs.txt" --images "$work/faces" --bootstrap 50 "$@"; }
masked --mask n-n --mask m-n --mask m-m --mask fdbtrs-m-n --json "$work/m1.json" --csv "$work/m1.csv" >"$work/table" 2>"$work/log" || {
    cat "$work/log"
    fail "evaluate masked"
}
masked --mask n-n --mask m-n --mask m-m --mask fdbtrs-m-n --threads 1 --batch 7 --json "$work/m2.json" >/dev/null 2>&1
"$python" "$CASK_SOURCE/tests/support/same_numbers.py" "$work/m1.json" "$work/m2.json" || fail "threads and batch change masked numbers"
masked --mask m-m --seed 2 --json "$work/m3.json" >/dev/null 2>&1
"$bin/evaluate" $model --pairs "$work/pairs.txt" --images "$work/faces" --json "$work/plain.json" >/dev/null 2>&1
"$python" - "$work/m1.json" "$work/m3.json" "$work/plain.json" <<'PYTHON'
import json, sys
a, other, plain = (json.load(open(p)) for p in sys.argv[1:])
sets, masked = a["sets"], a["masked"]
assert [m["name"] for m in masked] == ["pairs n-n", "pairs m-n", "pairs m-m", "pairs fdbtrs-m-n"]
assert sets[0]["folds"] == plain["sets"][0]["folds"], "n-n is the plain set"
assert masked[0]["masked_images"] == 0 and all(m["masked_images"] > 0 for m in masked[1:])
assert len({json.dumps(s["histogram"]) for s in sets}) == 4, "the four rules measure four things"
assert sets[2]["histogram"] != other["sets"][0]["histogram"], "the seed changes the masks"
for m in masked:
    assert 0 <= m["fmr100"] <= m["fmr1000"] <= 100 and 0 <= m["eer"] <= 60 and m["fdr"] >= 0, m
    assert "masks " in m["protocol"] and "seed 1" in m["protocol"], m
PYTHON
refused 2 "--mask|n-m" masked --mask n-m
refused 3 "not weights of ir18" masked --network ir18
refused 2 "--bin" "$bin/evaluate" masked $model
printf 'nobody 1 2 3 4 5 6 7 8 9 10\n' >"$work/points.txt"
refused 3 "points.txt|landmarks of every image" masked --landmarks "$work/points.txt"
printf 'nobody 1 2 3 4 5 6 7 8 9\n' >"$work/points.txt"
refused 3 "points.txt:1|image x1 y1" masked --landmarks "$work/points.txt"
# a model that is stopped: finished blocks stay. The timing decides where it stops, so only the end is compared.
rm -rf "$work/killed"
for pause in 0.05 0.1 0.2 0.4; do
    timeout -s INT "$pause" "$bin/evaluate" ijb --meta "$work/meta" --images "$work/faces" $model --work "$work/killed" >/dev/null 2>&1 || true
    timeout -s KILL "$pause" "$bin/evaluate" ijb --meta "$work/meta" --images "$work/faces" $model --work "$work/killed" >/dev/null 2>&1 || true
done
images "$work/killed" "$work/again.json" || { cat "$work/log"; fail "after kills"; }
cmp "$work/killed/embeddings.npy" "$work/first.npy" || fail "kills change embeddings"
echo "ok: ijb, megaface and masked give the golden counts, resume after kills, and refuse what is wrong by name"
