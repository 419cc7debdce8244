# Images that are not as they should be: without labels, identities with one image, a teacher trained on
# other people, images that could not be decoded.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
. "${CASK_SOURCE:?}/tests/support/refused.sh"

"$bin/synth-faces" --out "$work/others" --identities 6 --images 8 --size 32 --first-identity 500 >/dev/null 2>&1
"$bin/synth-faces" --out "$work/faces" --identities 8 --images 8 --size 32 >/dev/null 2>&1
settings="--set student.input=32 --set train.batch=16 --set train.precision=fp32 --set train.threads=1"
train="$bin/train-student $settings --set train.epochs=2 --set train.log_steps=1"
# the teacher knows six people who are not in any of the sets below
"$bin/train-student" $settings --set train.epochs=4 --data "$work/others" --out "$work/teacher" >/dev/null 2>&1 || fail teacher
precompute="$bin/precompute --teacher mobilefacenet --weights $work/teacher/student.safetensors --topk 4"

learns() { # FOLDER TERM: the term is in every line and went down from the first epoch (4 steps) to the last
    /usr/bin/python3 - "$1/metrics.jsonl" "$2" <<'END' || fail "$1: $2 does not learn"
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
values = [next(term["value"] for term in line["terms"] if term["name"] == sys.argv[2]) for line in lines]
first, last = sum(values[:4]) / 4, sum(values[-4:]) / 4
print(sys.argv[2], first, "to", last)
assert len(values) >= 16 and 0 < last < 0.9 * first
END
}

# a teacher trained on other people: its classifier is passed over, class means stand in
$precompute --data "$work/faces" --out "$work/cache" >/dev/null 2>"$work/log" || fail "precompute with a foreign teacher"
grep -q "classes" "$work/log" || fail "the log does not say why the classifier was passed over"
$train --cache "$work/cache" --set loss.kd.weight=1 --set loss.embedding.weight=300 --set train.lr=0.02 --set train.epochs=4 --out "$work/foreign" >/dev/null 2>&1 ||
    fail "training from a foreign teacher"
learns "$work/foreign" embedding

# no image has a label: losses over embeddings train, everything else is refused with the way out
mkdir "$work/flat"
cp "$work"/faces/*/*.jpg "$work/flat"
$precompute --data "$work/flat" --out "$work/cache_flat" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "precompute without labels"; }
grep -q "no image has a label" "$work/log" || fail "precompute does not say that labels are missing"
for loss in embedding sp; do
    $train --cache "$work/cache_flat" --set loss.$loss.weight=1000 --set train.lr=0.02 --set train.epochs=8 --out "$work/flat_$loss" >/dev/null 2>&1 ||
        fail "loss.$loss without labels"
    learns "$work/flat_$loss" $loss
done
for loss in rkd_d rkd_a cckd darkrank pwr; do
    $train --cache "$work/cache_flat" --set loss.$loss.weight=1 --out "$work/flat_$loss" >/dev/null 2>&1 || fail "loss.$loss without labels"
done
refused 3 "no image has a label|compares class logits" $train --cache "$work/cache_flat" --set loss.kd.weight=1 --out "$work/x1"
refused 3 "no image has a label|head alone" $train --cache "$work/cache_flat" --out "$work/x2"
refused 3 "$work/flat: no image has a label|nothing to learn from|a folder of its own" $train --data "$work/flat" --out "$work/x3"

# some have a label, some not: every loss trains, and the unlabelled ones move the embedding loss alone
n=0
for image in "$work"/faces/*/*.jpg; do
    n=$((n + 1))
    folder=${image%/*}
    label=$(echo "${folder##*_}" | sed 's/^0*//')
    [ $((n % 4)) -ne 0 ] || label=-1
    echo "${image#"$work"/} ${label:-0}"
done >"$work/list.txt"
$precompute --data "$work/list.txt" --out "$work/cache_list" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "precompute of a mixed list"; }
for losses in "kd embedding" "gkd pwr" "dkd sp"; do
    set -- $losses
    $train --cache "$work/cache_list" --set loss.$1.weight=1 --set loss.$2.weight=200 --set train.lr=0.02 --set train.epochs=4 --out "$work/mixed_$1" >"$work/log" 2>&1 ||
        { cat "$work/log"; fail "loss.$1 and loss.$2 on a mixed list"; }
done
learns "$work/mixed_kd" embedding

# identities with one image: balanced batches give both views of it
cp -r "$work/faces" "$work/single"
for person in 1 3 5; do rm "$work/single/id_000$person"/*_000[1-7].jpg; done
$precompute --data "$work/single" --out "$work/cache_single" >/dev/null 2>&1 || fail "precompute with single images"
$train --cache "$work/cache_single" --set train.sampler=ekd --set loss.ekd.weight=1 --out "$work/single_ekd" >/dev/null 2>&1 || fail "EKD with single images"
$train --cache "$work/cache_single" --set loss.kd.weight=1 --out "$work/single_kd" >/dev/null 2>&1 || fail "KD with single images"
# the triplet loss can leave them out
$train --cache "$work/cache_single" --set train.sampler=balanced --set train.min_images=2 --set loss.triplet.weight=1 \
    --out "$work/single_triplet" >/dev/null 2>&1 || fail "triplets without single images"

# images that could not be decoded are in the cache's list and take no part
cp -r "$work/faces" "$work/torn"
echo broken >"$work/torn/id_0006/id_0006_0001.jpg"
echo broken >"$work/torn/id_0002/id_0002_0003.jpg"
$precompute --data "$work/torn" --out "$work/cache_torn" --max-bad-percent 5 >/dev/null 2>&1 || fail "precompute with bad images"
$train --cache "$work/cache_torn" --set loss.embedding.weight=1 --out "$work/torn_run" >/dev/null 2>"$work/log" || fail "training around bad images"
grep -q "2 of 64 images could not be decoded" "$work/log" || fail "bad images are not mentioned"
grep -q '"bad_images": 0' "$work/torn_run/result.json" || fail "bad images were read again"
echo "ok: samples of every kind"
