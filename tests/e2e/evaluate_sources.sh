# evaluate: one set from a model, its cache and its .npy; a second model; every output; the packer.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
"$bin/synth-faces" --out "$work/faces" --identities 24 --images 6 --size 32 --pairs "$work/pairs.txt" --pairs-per-fold 12 \
    --folds 10 >/dev/null 2>&1
"$bin/train-student" --data "$work/faces" --set student.input=32 --set student.embedding=64 --set train.batch=24 \
    --set train.epochs=2 --set train.precision=fp32 --out "$work/t" >/dev/null 2>&1
model=$work/t/student.safetensors
"$bin/precompute" --teacher mobilefacenet --weights "$model" --precision fp32 --data "$work/faces" --out "$work/shards" >/dev/null 2>&1

. "$(dirname "$0")/../support/refused.sh"

# run NAME ARGS...: the table and the JSON of one evaluation
run() {
    name=$1
    shift
    "$bin/evaluate" --precision fp32 --bootstrap 50 "$@" --json "$work/$name.json" >"$work/$name.txt" 2>"$work/log" || {
        cat "$work/log"
        fail "$name"
    }
}
refused_pairs() { refused "$1" "$2" "$bin/evaluate" --precision fp32 --bootstrap 20 --pairs "$3" --images "$work/faces" --model "$model"; }

# --- a model, and what its cache says of the same images: named as in the dataset, by list, by sample id
run model --model "$model" --pairs "$work/pairs.txt" --images "$work/faces" --protocol all
run cache --cache "$work/shards" --data "$work/faces" --pairs "$work/pairs.txt" --protocol all
(cd "$work/faces" && find . -name '*.jpg' | sed 's,^\./,,' | LC_ALL=C sort) >"$work/list.txt"
[ "$(wc -l <"$work/list.txt")" -eq 144 ] || fail "the list of images"
run index --cache "$work/shards" --index "$work/list.txt" --pairs "$work/pairs.txt" --protocol all
cmp "$work/cache.json" "$work/index.json" || fail "--data and --index name different rows"
awk -F '\t' 'NR == FNR { id[$0] = FNR - 1; next }
    FNR > 1 { a = sprintf("%s/%s_%04d.jpg", $1, $1, $2); n = NF == 3 ? $1 : $3; b = sprintf("%s/%s_%04d.jpg", n, n, $NF)
              print a "," b "," (NF == 3) >names; print id[a] "," id[b] "," (NF == 3) }' \
    names="$work/names.csv" "$work/list.txt" "$work/pairs.txt" >"$work/ids.csv"
run ids --cache "$work/shards" --pairs "$work/ids.csv" --protocol all
run names --cache "$work/shards" --data "$work/faces" --pairs "$work/names.csv" --protocol all
run csv --model "$model" --pairs "$work/names.csv" --images "$work/faces" --protocol all
# numbers NAME: what is measured, without intervals (draws depend on the order of people) and protocol lines
numbers() {
    sed -n '/"protocols"/,/"genuine"/p' "$work/$1.json" |
        awk '/_interval/ { skip = !/null/ } !skip && !/_interval|"protocol"/; /\]/ { skip = 0 }'
}
for other in ids names; do
    # another name for the set and its people, the same pairs: all but the intervals is equal
    numbers cache >"$work/a"
    numbers $other >"$work/b"
    cmp "$work/a" "$work/b" || fail "$other names other rows than --data"
done
grep -q "xiaoccer 10-fold, minus .*flip concatenated, rgb:127.5:127.5, mobilefacenet from a cache" "$work/cache.txt" || fail "the cache's protocol"
for mode in insightface facexzoo tface xiaoccer; do grep -q "^[ a-z]* $mode  *240 " "$work/model.txt" || fail "no row of $mode"; done

# --- against: the cache's float16 rows decide as the model does, and a model is no better than itself
run self --model "$model" --pairs "$work/pairs.txt" --images "$work/faces" --against "$model" --csv "$work/self.csv"
grep -Eq '^pairs +insightface .* 0\.00  0\.00 \.\. 0\.00 +0 +0 +1 +1$' "$work/self.txt" || fail "a model against itself: $(cat "$work/self.txt")"
run against --model "$model" --pairs "$work/pairs.txt" --images "$work/faces" --against "$work/shards" --data "$work/faces" --protocol all
[ "$(grep -c '"mcnemar_p"' "$work/against.json")" -eq 4 ] || fail "four paired tests"
head -n 1 "$work/self.csv" | grep -qx "model,set,protocol,number,value,low,high,pairs" || fail "the CSV's head"
[ "$(grep -c ",insightface,accuracy," "$work/self.csv")" -eq 2 ] || fail "the CSV's rows"
awk -F , 'NF != 8 { exit 1 }' "$work/self.csv" || fail "the CSV's columns"

# --- draws: a function of the seed; pairs as unit only on request
run seed1 --model "$model" --pairs "$work/pairs.txt" --images "$work/faces" --seed 7
run seed2 --model "$model" --pairs "$work/pairs.txt" --images "$work/faces" --seed 7 --threads 1
cmp "$work/seed1.json" "$work/seed2.json" || fail "the draws are no function of the seed"
run unit --model "$model" --pairs "$work/pairs.txt" --images "$work/faces" --resample pairs
grep -q "bootstrap over pairs within folds (too narrow" "$work/unit.txt" || fail "--resample pairs does not say so"
run none --model "$model" --pairs "$work/pairs.txt" --images "$work/faces" --bootstrap 0
grep -q '"accuracy_interval": null' "$work/none.json" || fail "--bootstrap 0"
run folds --model "$model" --pairs "$work/pairs.txt" --images "$work/faces" --folds 7
grep -q "insightface 7-fold" "$work/folds.txt" || fail "--folds"

# --- pictures
if command -v gnuplot >/dev/null; then
    run roc --model "$model" --pairs "$work/pairs.txt" --images "$work/faces" --roc "$work/roc.svg" --histogram "$work/scores.png"
    grep -q "<svg" "$work/roc.svg" || fail "the ROC"
    [ "$(head -c 4 "$work/scores.png" | tail -c 3)" = PNG ] || fail "the histogram"
else
    echo "not tried: pictures (no gnuplot)"
fi

# --- odd sets: told, counted, and only dropped on request
{ head -n 12 "$work/names.csv"; head -n 3 "$work/names.csv"; sed -n 4p "$work/names.csv" | sed 's/,1$/,0/'; tail -n 12 "$work/names.csv"; } >"$work/odd.csv"
run odd --model "$model" --pairs "$work/odd.csv" --images "$work/faces" --folds 2
grep -Eq "note: [0-9]+ pairs repeat an earlier pair, [1-9][0-9]* of them with the other label; the first: pair " "$work/odd.txt" || fail "repeats: $(cat "$work/odd.txt")"
run once --model "$model" --pairs "$work/odd.csv" --images "$work/faces" --folds 2 --exclude-duplicates
grep -q "EXCLUDED: [1-9][0-9]* of these repeats" "$work/once.txt" || fail "--exclude-duplicates: $(cat "$work/once.txt")"
cp -r "$work/faces" "$work/torn"
head -c 200 "$work/faces/id_0003/id_0003_0002.jpg" >"$work/torn/id_0003/id_0003_0002.jpg"
run bad --model "$model" --pairs "$work/pairs.txt" --images "$work/torn" --exclude-bad
grep -Eq "EXCLUDED: [1-9][0-9]* pairs with 1 bad images; the first: id_0003/id_0003_0002.jpg" "$work/bad.txt" || fail "--exclude-bad: $(cat "$work/bad.txt")"
! grep -q '"pairs": 240' "$work/bad.json" || fail "excluded pairs still count"
sed '5s/.jpg,/_none.jpg,/' "$work/names.csv" >"$work/missing.csv"
refused_pairs 3 "missing.csv:5|_none.jpg" "$work/missing.csv"
refused 3 "_none.jpg|expected a row of this name" "$bin/evaluate" --cache "$work/shards" --data "$work/faces" --pairs "$work/missing.csv"
run gone --cache "$work/shards" --data "$work/faces" --pairs "$work/missing.csv" --exclude-bad
grep -q "EXCLUDED: 1 pairs with 1 bad images; the first: .*_none.jpg: expected a row of this name in" "$work/gone.txt" || fail "a missing row: $(cat "$work/gone.txt")"
sed '5s/,[01]$/,2/' "$work/names.csv" >"$work/label.csv"
refused_pairs 3 "label.csv:5|1 or 0" "$work/label.csv"
sed 's,^id_0001,../id_0001,' "$work/names.csv" >"$work/out.csv"
refused_pairs 3 'out.csv:|without ".."' "$work/out.csv"

# --- sources that do not fit
refused 2 "one of --model, --embeddings and --cache" "$bin/evaluate" --model "$model" --cache "$work/shards" --pairs "$work/pairs.txt"
refused 2 "one of --model, --embeddings and --cache" "$bin/evaluate" --pairs "$work/pairs.txt"
refused 3 "not the cache's sample ids|--index" "$bin/evaluate" --cache "$work/shards" --pairs "$work/pairs.txt"
refused 2 "expected a .npy file" "$bin/evaluate" --embeddings "$model" --pairs "$work/pairs.txt"
refused 3 "expected the folder of a cask" "$bin/evaluate" --cache "$model" --pairs "$work/pairs.txt"
head -n 100 "$work/list.txt" >"$work/short.txt"
refused 3 "short.txt|a line for each row|only 100" "$bin/evaluate" --cache "$work/shards" --index "$work/short.txt" --pairs "$work/pairs.txt"
{ cat "$work/list.txt"; echo more; } >"$work/long.txt"
refused 3 "long.txt|each of 144 rows, found more" "$bin/evaluate" --cache "$work/shards" --index "$work/long.txt" --pairs "$work/pairs.txt"
sed '2s/.*/id_0000\/id_0000_0001.jpg/' "$work/list.txt" >"$work/twice.txt"
refused 3 "twice.txt|one row for each name" "$bin/evaluate" --cache "$work/shards" --index "$work/twice.txt" --pairs "$work/pairs.txt"
mkdir "$work/few" && cp -r "$work/faces/id_0000" "$work/few"
refused 3 "the dataset of the 144 rows" "$bin/evaluate" --cache "$work/shards" --data "$work/few" --pairs "$work/pairs.txt"

# --- the packer: the same number from its .bin, and Python reads what was packed
"$bin/evaluate" pack --pairs "$work/pairs.txt" --images "$work/faces" "$work/packed.bin" | grep -q "240 pairs of" || fail "pack"
run packed --model "$model" --bin "$work/packed.bin" --protocol all
numbers model >"$work/a"
numbers packed >"$work/b"
cmp "$work/a" "$work/b" || fail "the packed set has another number"
"$bin/evaluate" pack --pairs "$work/names.csv" --images "$work/faces" --quality 60 --out "$work/small.bin" >/dev/null
[ "$(wc -c <"$work/small.bin")" -lt "$(wc -c <"$work/packed.bin")" ] || fail "--quality 60 is not smaller"
# a list with all genuine pairs first has folds of one kind; --interleave gives each fold its share of both
{ grep ',1$' "$work/names.csv"; grep ',0$' "$work/names.csv"; } >"$work/halves.csv"
run halves --model "$model" --pairs "$work/halves.csv" --images "$work/faces"
grep -q "val@FAR is not defined: a fold holds no genuine or no impostor pair" "$work/halves.txt" || fail "folds of one kind: $(cat "$work/halves.txt")"
"$bin/evaluate" pack --pairs "$work/halves.csv" --images "$work/faces" --interleave 10 "$work/mixed.bin" >/dev/null
run mixed --model "$model" --bin "$work/mixed.bin" --protocol all
numbers mixed | cmp - "$work/a" || fail "--interleave does not give back the order of LFW's format"
refused 3 "id_0003/id_0003_0002.jpg" "$bin/evaluate" pack --pairs "$work/pairs.txt" --images "$work/torn" "$work/torn.bin"
[ ! -e "$work/torn.bin" ] || fail "a .bin of a set that cannot be packed"
refused 2 "OUT.bin" "$bin/evaluate" pack --pairs "$work/pairs.txt" --images "$work/faces"
"$bin/evaluate" pack --pairs "$work/pairs.txt" --images "$work/faces" "$work/nowhere/x.bin" >"$work/log" 2>&1 && fail "packed to nowhere"
grep -q "nowhere/x.bin" "$work/log" || fail "the message: $(cat "$work/log")"

python=/usr/bin/python3
if "$python" -c 'import numpy' 2>/dev/null; then
    "$bin/cachetool" export "$work/shards" --npz "$work/rows.npz" >/dev/null
    "$python" - "$work" <<'PYTHON'
import pickle, sys
import numpy as np
work = sys.argv[1]
# pickle: what insightface's load_bin does - once plainly, and again with encoding="bytes" if that fails
try:
    bins, same = pickle.load(open(work + "/packed.bin", "rb"))
except UnicodeDecodeError:
    bins, same = pickle.load(open(work + "/packed.bin", "rb"), encoding="bytes")
lines = [line.split(",") for line in open(work + "/names.csv").read().split()]
assert len(bins) == 2 * len(lines) and len(same) == len(lines)
for i, (a, b, label) in enumerate(lines):
    assert bins[2 * i] == open(work + "/faces/" + a, "rb").read()
    assert bins[2 * i + 1] == open(work + "/faces/" + b, "rb").read()
    assert same[i] is (label == "1")
small, again = pickle.load(open(work + "/small.bin", "rb"), encoding="bytes")
assert again == same and small != bins and all(s[:2] == b"\xff\xd8" for s in small)
# the cache's rows as matrices: one view, both side by side, in float64
rows = np.load(work + "/rows.npz")
view = lambda v: rows["embedding"][v].astype(np.float64) * rows["norm"][v].astype(np.float64)[:, None]
np.save(work + "/one.npy", view(0).astype(np.float32))
np.save(work + "/two.npy", np.concatenate((view(0), view(1)), 1).astype(np.float32))
np.save(work + "/wide.npy", np.concatenate((view(0), view(1)), 1))
zero = view(0).astype(np.float32)
zero[3] = 0
zero[4, 5] = np.nan
np.save(work + "/zero.npy", zero)
np.save(work + "/int.npy", np.zeros((144, 4), np.int64))
PYTHON
    for matrix in two wide; do
        run $matrix --embeddings "$work/$matrix.npy" --views 2 --pairs "$work/ids.csv" --protocol all
        numbers ids | grep '"accuracy"' >"$work/a"
        numbers $matrix | grep '"accuracy"' | cmp - "$work/a" || fail "$matrix.npy gives another number"
    done
    run one --embeddings "$work/one.npy" --index "$work/list.txt" --pairs "$work/pairs.txt" --flip none
    grep -q "no flip, embeddings from a .npy" "$work/one.txt" || fail "the matrix's protocol"
    refused 3 "--flip none" "$bin/evaluate" --embeddings "$work/one.npy" --pairs "$work/ids.csv"
    refused 3 "length 0|and 1 more images" "$bin/evaluate" --embeddings "$work/zero.npy" --flip none --pairs "$work/ids.csv"
    run zero --embeddings "$work/zero.npy" --flip none --pairs "$work/ids.csv" --exclude-bad
    grep -q "EXCLUDED: [1-9][0-9]* pairs with 2 bad images" "$work/zero.txt" || fail "zero embeddings: $(cat "$work/zero.txt")"
    refused 3 "int.npy|<i8" "$bin/evaluate" --embeddings "$work/int.npy" --pairs "$work/ids.csv"
else
    echo "not tried: pickle and .npy (no python3-numpy)"
fi
echo "ok: model, cache and matrix agree; odd sets are told; a packed set is Python's"
