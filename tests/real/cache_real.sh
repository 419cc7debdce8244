# Real faces through a real teacher into a cache, whole by cachetool's word, and a few training steps
# from it.
set -eu
model=${CASK_SHARED:-}/data/weights/faceplugin_fr_feature.onnx
faces=${CASK_SHARED:-}/data/faces
[ -r "$model" ] && [ -d "$faces/train" ] || { echo "skipped: no $model with $faces/train"; exit 77; }
. "${CASK_SOURCE:?}/tests/support/begin.sh"

"$bin/precompute" --teacher onnx --weights "$model" --preprocess bgr:127.5:127.5 --data "$faces/train" --limit 600 \
    --out "$work/shards" --shard-images 256 >"$work/log" 2>&1 || fail precompute
grep -q "600 images, both views" "$work/log" || fail "the report"
"$bin/cachetool" verify "$work/shards" >>"$work/log" 2>&1 || fail "cachetool verify"
"$bin/cachetool" info "$work/shards" >"$work/info" 2>&1 || fail "cachetool info"
grep -q "bgr:127.5:127.5" "$work/info" || fail "the manifest forgot the pixels: $(cat "$work/info")"


# the trainer takes the first 600 images of the folder, as the cache says; no teacher file is named
"$bin/train-student" --cache "$work/shards" --out "$work/run" --set train.batch=16 --set train.max_steps=3 \
    --set loss.embedding.weight=1 >"$work/log" 2>&1 || fail "train-student from the cache"
grep -q "no teacher network in memory" "$work/log" || fail "the log does not say what was read"
[ -s "$work/run/student.safetensors" ] && [ -s "$work/run/result.json" ] || fail "no student"
echo "ok: 600 real faces cached, verified and trained from"
