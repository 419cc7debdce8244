# evaluate: the table with its protocol, the JSON, the same pairs as .txt and .bin, and every refusal.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
"$bin/synth-faces" --out "$work/faces" --identities 24 --images 6 --size 32 --pairs "$work/pairs.txt" --pairs-per-fold 12 \
    --folds 10 >/dev/null 2>&1
"$bin/train-student" --data "$work/faces" --set student.input=32 --set student.embedding=64 --set train.batch=24 \
    --set train.epochs=2 --set train.precision=fp32 --out "$work/t" >/dev/null 2>&1
model=$work/t/student.safetensors

evaluate() { "$bin/evaluate" --model "$model" --precision fp32 "$@"; }

. "$(dirname "$0")/../support/refused.sh"

# stdout is the table alone: a head, a line for each set, and what belongs to the number
evaluate --pairs "$work/pairs.txt" --images "$work/faces" --json "$work/a.json" >"$work/table" 2>"$work/log" || {
    cat "$work/log"
    fail "evaluate"
}
head -n 1 "$work/table" | grep -q "set .*mode .*pairs .*accuracy .*interval .*std .*folds" || fail "the head: $(cat "$work/table")"
sed -n 2p "$work/table" | grep -Eq '^pairs +insightface +240 +[0-9]+\.[0-9]{2}%  [0-9.]+ \.\. [0-9.]+ +[0-9.]+  ([0-9]+\.[0-9]{2} ?){10}$' || fail "the line: $(cat "$work/table")"
grep -q "protocol: insightface 10-fold, d^2 < t (0.01 steps), flip-sum, rgb:127.5:127.5" "$work/table" || fail "the protocol: $(cat "$work/table")"
grep -q "interval: 95 %: bootstrap over 24 persons, 1000 draws, seed 1" "$work/table" || fail "the interval: $(cat "$work/table")"

# no flip is another protocol and says so; threads change nothing
evaluate --pairs "$work/pairs.txt" --images "$work/faces" --flip none 2>/dev/null | grep -q "no flip" || fail "--flip none"
evaluate --pairs "$work/pairs.txt" --images "$work/faces" --threads 1 --json "$work/b.json" >/dev/null 2>&1
cmp "$work/a.json" "$work/b.json" || fail "threads change the result"
evaluate --pairs "$work/pairs.txt" --images "$work/faces" --preprocess bgr:127.5:128 2>/dev/null | grep -q "bgr:127.5:128" ||
    fail "--preprocess is not in the protocol"

# the network by its name, of either model; the oracle says the same
evaluate --pairs "$work/pairs.txt" --images "$work/faces" --network mobilefacenet --json "$work/b.json" >/dev/null 2>&1
cmp "$work/a.json" "$work/b.json" || fail "--network changes the result"
refused 3 "not weights of ir18|looks like \"mobilefacenet\"" evaluate --pairs "$work/pairs.txt" --images "$work/faces" --network ir18
refused 3 "not weights of ir18" evaluate --pairs "$work/pairs.txt" --images "$work/faces" --against "$model" --against-network ir18
for a in 1 2 3 4; do
    printf 'id_000%d/id_000%d_0001.jpg,id_000%d/id_000%d_0002.jpg,1\n' $a $a $a $a
    printf 'id_000%d/id_000%d_0001.jpg,id_0010/id_0010_000%d.jpg,0\n' $a $a $a
done >"$work/few.csv"
for backend in cpu ref; do
    evaluate --pairs "$work/few.csv" --images "$work/faces" --folds 2 --bootstrap 0 --backend $backend 2>/dev/null >"$work/few.$backend" ||
        fail "--backend $backend"
done
[ "$(sed -n 2p "$work/few.ref")" = "$(sed -n 2p "$work/few.cpu")" ] || fail "the oracle has another accuracy: $(cat "$work/few.ref")"

python=$(command -v /usr/bin/python3 || command -v python3 || true)
if [ -n "$python" ]; then
    # batches of another size round in another order, and that is all
    evaluate --pairs "$work/pairs.txt" --images "$work/faces" --batch 7 --json "$work/b.json" >/dev/null 2>&1
    "$python" "$CASK_SOURCE/tests/support/same_numbers.py" "$work/a.json" "$work/b.json" || fail "the batch changes the result"
    # the same pairs as an insightface .bin, packed by someone else's pickle, give the same number
    "$python" - "$work" <<'PYTHON'
import pickle, sys
work = sys.argv[1]
images, same = [], []
for line in open(work + "/pairs.txt").read().splitlines()[1:]:
    c = line.split("\t")
    a, b = ((c[0], c[1]), (c[0], c[2])) if len(c) == 3 else ((c[0], c[1]), (c[2], c[3]))
    images += [open("%s/faces/%s/%s_%04d.jpg" % (work, n, n, int(i)), "rb").read() for n, i in (a, b)]
    same.append(len(c) == 3)
pickle.dump((images, same), open(work + "/pairs.bin", "wb"), protocol=4)
images[77] = b"no image"
pickle.dump((images, same), open(work + "/torn.bin", "wb"), protocol=4)
PYTHON
    evaluate --bin "$work/pairs.bin" --pairs "$work/pairs.txt" --images "$work/faces" --json "$work/two.json" >/dev/null 2>&1 ||
        fail "two sets"
    "$python" - "$work/two.json" "$model" <<'PYTHON'
import json, sys
report = json.load(open(sys.argv[1]))
assert report["model"] == sys.argv[2], report
assert [s["name"] for s in report["sets"]] == ["pairs", "pairs"], report
for s in report["sets"]:
    assert set(s) >= {"name", "protocol", "pairs", "accuracy", "std", "folds"}, s
    assert s["pairs"] == 240 and len(s["folds"]) == 10, s
    mean = sum(s["folds"]) / 10
    std = (sum((f - mean) ** 2 for f in s["folds"]) / 10) ** 0.5
    assert abs(s["accuracy"] - mean) < 1e-9 and abs(s["std"] - std) < 1e-9, s
    assert 40 < s["accuracy"] <= 100, s
    assert s["protocol"].startswith("insightface 10-fold"), s
a, b = report["sets"]
assert a["folds"] == b["folds"], (a, b)
PYTHON
    refused 3 "torn.bin image 77" evaluate --bin "$work/torn.bin"
    # a set that fails does not take the finished ones with it
    refused 3 "torn" evaluate --pairs "$work/pairs.txt" --images "$work/faces" --bin "$work/torn.bin"
    grep -q "^pairs  *insightface  *240" "$work/log" || fail "the finished set was lost: $(cat "$work/log")"
    head -c 3000 "$work/pairs.bin" >"$work/cut.bin"
    refused 3 "cut.bin" evaluate --bin "$work/cut.bin"
else
    echo "not tried: .bin sets (no python3 to pack one)"
fi

# the command line
refused 2 "--model" "$bin/evaluate"
refused 2 "--pairs" "$bin/evaluate" --model "$model"
refused 2 "--images" evaluate --pairs "$work/pairs.txt"
refused 2 "faces|at most one --images" evaluate --pairs "$work/pairs.txt" --images "$work/faces" --images "$work/faces"
refused 2 "--flipp|--flip" evaluate --flipp none
refused 2 "--flip|sum" evaluate --pairs "$work/pairs.txt" --images "$work/faces" --flip both
refused 2 "rgb:MEAN:SCALE|gbr:1:2" evaluate --pairs "$work/pairs.txt" --images "$work/faces" --preprocess gbr:1:2
refused 2 "rgb:MEAN:SCALE" evaluate --pairs "$work/pairs.txt" --images "$work/faces" --preprocess rgb:127.5:0

# files
refused 3 "$work/none.safetensors|No such file" "$bin/evaluate" --model "$work/none.safetensors" --bin x
refused 3 "$work/none.txt" evaluate --pairs "$work/none.txt" --images "$work/faces"
refused 3 "$work/none.bin" evaluate --bin "$work/none.bin"
sed 's/id_0003\t2/id_0003\t99/' "$work/pairs.txt" >"$work/missing.txt"
line=$(grep -n "id_0003	99" "$work/missing.txt" | head -n 1 | cut -d : -f 1)
refused 3 "missing.txt:$line|id_0003_0099" evaluate --pairs "$work/missing.txt" --images "$work/faces"
cp -r "$work/faces" "$work/torn"
head -c 200 "$work/faces/id_0003/id_0003_0002.jpg" >"$work/torn/id_0003/id_0003_0002.jpg"
refused 3 "id_0003/id_0003_0002.jpg" evaluate --pairs "$work/pairs.txt" --images "$work/torn"
"$bin/synth-faces" --out "$work/large" --identities 24 --images 6 --size 48 >/dev/null 2>&1
refused 3 "id_00|48|32" evaluate --pairs "$work/pairs.txt" --images "$work/large"
refused 3 "nowhere/a.json" evaluate --pairs "$work/pairs.txt" --images "$work/faces" --json "$work/nowhere/a.json"
grep -q "protocol:" "$work/log" || fail "the table was lost with the JSON"
refused 2 "roc.pdf|.svg or .png" evaluate --pairs "$work/pairs.txt" --images "$work/faces" --roc "$work/roc.pdf"
if [ -w /dev/full ]; then
    code=0
    evaluate --pairs "$work/pairs.txt" --images "$work/faces" >/dev/full 2>"$work/log" || code=$?
    [ $code -eq 3 ] && grep -q "standard output" "$work/log" || fail "results that were lost gave $code, expected 3"
fi
if [ -n "$python" ]; then
    # weights that are finite, and pictures whose embeddings are not
    "$python" "$CASK_SOURCE/tests/support/spoil_weight.py" "$model" "$work/huge.safetensors" 3e38
    refused 3 "id_|expected finite" "$bin/evaluate" --model "$work/huge.safetensors" --pairs "$work/pairs.txt" --images "$work/faces"
fi
echo "ok: one number from .txt and .bin, its protocol beside it, and every refusal names what is wrong"
