# Bad input to train-student: a clear message, the right exit code, and nothing lost.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
. "${CASK_SOURCE:?}/tests/support/refused.sh"
"$bin/synth-faces" --out "$work/faces" --identities 8 --images 8 --size 32 >/dev/null 2>&1

train() {
    "$bin/train-student" --set student.input=32 --set train.batch=16 --set train.epochs=1 \
        --set train.precision=fp32 "$@"
}

# the command line
refused 2 "train.epochs" train --data "$work/faces" --out "$work/a" --set train.epoch=3
refused 2 "loss.gkd.weight" train --data "$work/faces" --out "$work/a" --set loss.gkd.wieght=3
refused 2 "ascending" train --data "$work/faces" --out "$work/a" --set train.schedule=step --set train.steps=3,2
refused 2 "student.net mobilfacenet: |mobilefacenet" train --data "$work/faces" --out "$work/a" --set student.net=mobilfacenet
refused 3 "student.net mobilefacenet: |30 x 30|multiples of 16" train --data "$work/faces" --out "$work/a" --set student.input=30
[ ! -e "$work/a/student.safetensors" ] || fail "a refused run left a student"
train --data "$work/faces" --out "$work/a" 2>/dev/null || fail "a refused run keeps its folder from the next one"
refused 2 "--out" train --data "$work/faces"
printf 'train:\n  batch: 16\n  leraning_rate: 1\n' >"$work/bad.yaml"
refused 2 "bad.yaml:3" train --config "$work/bad.yaml" --data "$work/faces" --out "$work/b"

# data
refused 3 "$work/nowhere" train --data "$work/nowhere" --out "$work/b"
refused 3 "train.batch" train --data "$work/faces" --out "$work/c" --set train.batch=1000
cp -r "$work/faces" "$work/torn"
for image in "$work"/torn/id_0003/*.jpg; do
    head -c 200 "$image" >"$image.cut" && mv "$image.cut" "$image"
done
refused 3 "over 1 %" train --data "$work/torn" --out "$work/d"
refused 3 "32 x 32|112" train --data "$work/faces" --out "$work/d2" --set student.input=112
train --data "$work/faces" --out "$work/d2" >/dev/null 2>"$work/log" || fail "a run that made no step keeps its folder"
[ -e "$work/d2/student.safetensors" ] && [ ! -e "$work/d2/failure.json" ] || fail "the failure of the first run is still there"
refused 3 "other settings|student.input is 32 there, 0 now" "$bin/train-student" --data "$work/faces" --out "$work/d2" --set train.batch=16

# someone's folder, another run's folder
mkdir "$work/e" && echo precious >"$work/e/notes.txt"
refused 3 "notes.txt" train --data "$work/faces" --out "$work/e"
[ "$(cat "$work/e/notes.txt")" = precious ] || fail "a foreign file was touched"
train --data "$work/faces" --out "$work/teacher" 2>/dev/null
refused 3 "other settings" train --data "$work/faces" --out "$work/teacher" --set train.seed=9

# a second process in the same folder
"$bin/train-student" --data "$work/faces" --out "$work/busy" --set student.input=32 --set train.batch=16 \
    --set train.epochs=1000 2>/dev/null &
pid=$!
until [ -e "$work/busy/config.yaml" ]; do sleep 0.05; done
refused 3 "another train-student" train --data "$work/faces" --out "$work/busy" --set train.epochs=1000
kill -9 $pid
wait $pid || true
train --data "$work/faces" --out "$work/busy" --set train.epochs=1000 --set train.max_steps=1 --set train.precision=auto \
    >/dev/null 2>&1 || fail "a killed process still holds the folder"

# a loss that is not a number stops the run with the step and the term
refused 3 "step |: " train --data "$work/faces" --out "$work/f" --set train.epochs=200 --set train.lr=1000 \
    --set train.weight_decay=10

# the cache
refused 3 "$work/nocache" train --cache "$work/nocache" --data "$work/faces" --out "$work/g"
"$bin/precompute" --teacher mobilefacenet --weights "$work/teacher/student.safetensors" --data "$work/faces" \
    --out "$work/cache" --topk 4 2>"$work/precompute.log" || { cat "$work/precompute.log"; fail precompute; }
train --cache "$work/cache" --out "$work/h" --set loss.embedding.weight=1 2>"$work/h.log" || { cat "$work/h.log"; fail "training from the cache"; }
grep -q "no teacher network in memory" "$work/h.log" || fail "the log does not say what was read"
cp -r "$work/faces" "$work/moved"
cp "$work/moved/id_0001/id_0001_0002.jpg" "$work/moved/id_0001/id_0001_0003.jpg"
refused 3 "dataset_sha256" train --cache "$work/cache" --data "$work/moved" --out "$work/i"
refused 2 'train.accept_mismatch: expected fields of a cache, found "dataset_sha"; there are |, dataset_sha256' \
    train --cache "$work/cache" --data "$work/moved" --out "$work/i" --set train.accept_mismatch=dataset_sha
train --cache "$work/cache" --data "$work/moved" --out "$work/i" --set train.accept_mismatch=dataset_sha256 2>"$work/i.log" ||
    { cat "$work/i.log"; fail "an accepted mismatch was refused"; }
grep -q "accepted" "$work/i.log" || fail "an accepted mismatch leaves no trace in the log"
grep -q '"field": "dataset_sha256"' "$work/i/result.json" || fail "an accepted mismatch leaves no trace in result.json"
train --cache "$work/cache" --data "$work/faces" --out "$work/i2" --set train.accept_mismatch=dataset_sha256 2>/dev/null
grep -q '"accepted_mismatch": \[\]' "$work/i2/result.json" || fail "result.json tells of a difference that is not there"
rm "$work/moved/id_0002/id_0002_0004.jpg"
refused 3 "cache $work/cache, data $work/moved: images: the cache has 64, the dataset 63" train --cache "$work/cache" --data "$work/moved" --out "$work/j"
cp "$work/moved/id_0005/id_0005_0001.jpg" "$work/moved/id_0005/id_0005_0099.jpg"
refused 3 "labels" train --cache "$work/cache" --data "$work/moved" --out "$work/j"

# an image that was bad when the cache was made takes no part
cp -r "$work/faces" "$work/one_bad"
echo broken >"$work/one_bad/id_0006/id_0006_0001.jpg"
"$bin/precompute" --teacher mobilefacenet --weights "$work/teacher/student.safetensors" --data "$work/one_bad" \
    --out "$work/cache_bad" --topk 4 --max-bad-percent 5 2>"$work/precompute.log" || { cat "$work/precompute.log"; fail "precompute with a bad image"; }
train --cache "$work/cache_bad" --out "$work/k" --set loss.embedding.weight=1 --set train.epochs=3 2>"$work/k.log" ||
    { cat "$work/k.log"; fail "training around a bad image"; }
grep -q "1 of 64 images could not be decoded" "$work/k.log" || fail "the bad image is not mentioned"
grep -q "bad_images\": 0" "$work/k/result.json" || fail "the bad image was read again"
echo "ok: every refusal names what is wrong"
