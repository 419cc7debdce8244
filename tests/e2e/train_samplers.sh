# Balanced and EKD batches, from the teacher's cache to a student: the coverage is counted, a resumed
# run draws the same, and what cannot be drawn is refused.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
"$bin/synth-faces" --out "$work/faces" --identities 8 --images 8 --size 32 >/dev/null 2>&1
rm "$work/faces/id_0003"/*_000[2-7].jpg # two images are left, so of four drawn two come again
rm "$work/faces/id_0005"/*_000[1-7].jpg # one

train() {
    "$bin/train-student" --set student.input=32 --set train.batch=16 --set train.precision=fp32 "$@" >/dev/null 2>"$work/log" ||
        { cat "$work/log"; fail "train-student $*"; }
}

refused() {
    text=$1
    shift
    if "$bin/train-student" --set student.input=32 --set train.batch=16 --out "$work/refused" "$@" 2>"$work/log"; then
        fail "accepted: $*"
    fi
    grep -q -- "$text" "$work/log" || { cat "$work/log"; fail "expected \"$text\": $*"; }
}

has() {
    grep -q -- "$2" "$1" || { cat "$1"; fail "$1 has no $2"; }
}

train --data "$work/faces" --out "$work/teacher" --set train.epochs=1
"$bin/precompute" --teacher mobilefacenet --weights "$work/teacher/student.safetensors" --data "$work/faces" \
    --out "$work/cache" --topk 4 2>"$work/log" || { cat "$work/log"; fail precompute; }

# 51 images: three balanced steps an epoch, six EKD steps of 8 + 2 x 4
pairs="--cache $work/cache --set loss.ekd.weight=1 --set loss.ekd.random_negatives=true --set loss.ekd.negatives=20
 --set loss.pwr.weight=1 --set train.log_steps=5 --set train.checkpoint_steps=2"
for sampler in balanced ekd; do
    set -- $pairs --set train.sampler=$sampler --set train.epochs=3
    train "$@" --out "$work/$sampler"
    steps=$([ $sampler = ekd ] && echo 6 || echo 3)
    grep -c '"coverage":{"draws":'$((steps * 16)), "$work/$sampler/metrics.jsonl" | grep -qx 3 ||
        { cat "$work/$sampler/metrics.jsonl"; fail "$sampler: expected the coverage of three epochs"; }
    has "$work/$sampler/metrics.jsonl" '"name":"ekd"'
    has "$work/$sampler/metrics.jsonl" '"name":"pwr"'
    has "$work/$sampler/result.json" "\"draws\": $((3 * steps * 16))"
    has "$work/$sampler/result.json" '"identities": 8'
    # the same in two parts
    train "$@" --out "$work/$sampler-parts" --set train.max_steps=5
    train "$@" --out "$work/$sampler-parts"
    cmp "$work/$sampler/student.safetensors" "$work/$sampler-parts/student.safetensors" ||
        fail "$sampler: a resumed run has other bits"
done

# the head on all rows of an EKD batch is another training
train $pairs --set train.sampler=ekd --set train.epochs=3 --set train.head_on=all --out "$work/all"
cmp -s "$work/ekd/student.safetensors" "$work/all/student.safetensors" && fail "train.head_on changes nothing"

refused "16 different identities in a batch, but only 8" --data "$work/faces" --set train.sampler=balanced \
    --set train.per_identity=1
refused "but only 6" --data "$work/faces" --set train.sampler=balanced --set train.per_identity=2 \
    --set train.identities=8 --set train.min_images=3
refused "train.identities x train.per_identity" --data "$work/faces" --set train.sampler=balanced \
    --set train.identities=3
refused "no room" --data "$work/faces" --set train.sampler=ekd --set train.identities=4
echo "ok: balanced and EKD batches, counted, resumed, refused"
