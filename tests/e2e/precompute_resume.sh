# A build that was killed at any moment ends with the files of one that was not: all bytes but the
# time of creation in manifest.json (and the hash over it) and the journal, which is history.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"

"$bin/synth-faces" --out "$work/faces" --identities 20 --images 32 --size 32 >/dev/null 2>&1
for seed in 1 2; do # two teachers that differ in their weights only
    "$bin/train-student" --data "$work/faces" --set student.input=32 --set student.embedding=64 --set train.batch=32 \
        --set train.max_steps=2 --set train.precision=fp32 --set train.seed=$seed --out "$work/t$seed" >/dev/null 2>&1
done
teacher=$work/t1/student.safetensors

# Not a function, so that $! is the program itself and not a shell around it.
run="$bin/precompute --teacher mobilefacenet --weights $teacher --data $work/faces --shard-images 64 --topk 8
 --precision fp32 --threads 2 --batch 16"

. "$(dirname "$0")/../support/same_cache.sh"

files() { find "$1" -type f ! -name 'lease-*' 2>/dev/null | wc -l; }
jitter() { printf '0.%03d' $(($(od -An -N2 -tu2 /dev/urandom) % 60)); }

# start ARGUMENTS, kill it with $1 once folder $2 holds $3 files; the exit code is in $code
interrupt() {
    signal=$1 folder=$2 wanted=$3
    shift 3
    $run --out "$folder" "$@" 2>"$work/log" &
    pid=$!
    while kill -0 $pid 2>/dev/null && [ "$(files "$folder")" -lt "$wanted" ]; do sleep 0.01; done
    pause=$(jitter)
    sleep "$pause"
    kill -"$signal" $pid 2>/dev/null || true
    code=0
    wait $pid 2>/dev/null || code=$?
}

for mode in mean file; do
    centers=mean
    [ $mode = mean ] || centers=$teacher # its head, taken as a file of centres
    $run --out "$work/$mode" --centers $centers 2>"$work/log" || { cat "$work/log"; fail "the undisturbed build"; }
    [ ! -e "$work"/$mode/staging-* ] || fail "staging was left behind"
    killed=0
    for wanted in 0 2 5 9 14 20; do
        interrupt KILL "$work/$mode-killed" $wanted --centers $centers
        [ $code -ne 137 ] || killed=$((killed + 1))
        echo "$mode: kill -9 at $wanted files and $pause s: exit $code, $(files "$work/$mode-killed") files"
        [ $code -eq 137 ] || break
    done
    [ $killed -ge 2 ] || fail "the build was too fast to be killed"
    $run --out "$work/$mode-killed" --centers $centers 2>"$work/log" || { cat "$work/log"; fail "resuming"; }
    same "$work/$mode" "$work/$mode-killed"
done

# Ctrl-C and SIGTERM: 130, a message that says how to go on, finished work kept
for signal in INT TERM; do
    interrupt $signal "$work/$signal" 5 --centers "$teacher"
    [ $code -eq 130 ] || { cat "$work/log"; fail "SIG$signal gave $code, expected 130"; }
    grep -q "the same command goes on" "$work/log" || fail "SIG$signal: $(cat "$work/log")"
    shards=$(find "$work/$signal" -name 'shard-*.h5' | wc -l)
    [ "$shards" -ge 1 ] || fail "SIG$signal: no finished shard was kept"
    $run --out "$work/$signal" --centers "$teacher" 2>"$work/log"
    grep -q "resuming: [1-9]" "$work/log" || fail "SIG$signal: it began anew: $(cat "$work/log")"
    same "$work/file" "$work/$signal"
done

# staged embeddings that were damaged are made again, and say so
interrupt INT "$work/damaged" 5 --centers mean
stage=$(find "$work/damaged" -name 'stage-*.bin' | sort | head -n 1)
[ -n "$stage" ] || fail "nothing was staged"
printf 'x' | dd of="$stage" bs=1 seek=1000 conv=notrunc 2>/dev/null
$run --out "$work/damaged" --centers mean 2>"$work/log" || { cat "$work/log"; fail "resuming over damage"; }
grep -q "stage-.*damaged.*once more" "$work/log" || fail "damage was not reported: $(cat "$work/log")"
same "$work/mean" "$work/damaged"

# a complete cache: says so, changes nothing
state() { (cd "$work/mean" && find . -type f -printf '%p %T@ ' -exec cksum {} \; | sort); }
state >"$work/before"
$run --out "$work/mean" --centers mean 2>"$work/log"
grep -q "already complete" "$work/log" || fail "a complete cache: $(cat "$work/log")"
$run --out "$work/mean" 2>"$work/log" # auto keeps to what the cache was begun with
grep -q "already complete" "$work/log" || fail "a complete cache, --centers auto: $(cat "$work/log")"
state >"$work/after"
cmp "$work/before" "$work/after" || fail "a complete cache was changed"

# other settings: refused with the field's name, before the teacher runs
refused() {
    field=$1
    shift
    code=0
    $run --out "$work/mean" "$@" 2>"$work/log" || code=$?
    [ $code -eq 3 ] && grep -q "$field: expected .*, found " "$work/log" || {
        cat "$work/log"
        fail "$* gave $code, expected 3 and the field $field"
    }
    if grep -q "class centres:\|images  *[0-9]*/s" "$work/log"; then
        cat "$work/log"
        fail "$*: the teacher ran before it was refused"
    fi
}
refused topk --topk 7
refused temperatures --temperatures 1,2
refused scale --scale 32
refused embedding_type --embedding int8
refused shard_images --shard-images 128
refused preprocess --preprocess bgr:127.5:127.5
refused images --limit 100
refused centers_origin --centers classifier
refused centers_origin --centers "$teacher"
refused weights_sha256 --weights "$work/t2/student.safetensors"
"$bin/synth-faces" --out "$work/others" --identities 20 --images 32 --size 32 --seed 2 >/dev/null 2>&1
refused dataset_sha256 --data "$work/others"
grep -q "another --out" "$work/log" || fail "no way out: $(cat "$work/log")"
state >"$work/after"
cmp "$work/before" "$work/after" || fail "a refused run changed the cache"
echo "ok: kill -9, Ctrl-C, SIGTERM and damage end in the same bytes; other settings are refused"
