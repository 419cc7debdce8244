# A run that was killed ends with the bits of one that was not; Ctrl-C leaves a checkpoint and gives 130.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
. "${CASK_SOURCE:?}/tests/support/same_run.sh"
. "${CASK_SOURCE:?}/tests/support/refused.sh"
"$bin/synth-faces" --out "$work/faces" --identities 8 --images 8 --size 32 >/dev/null 2>&1

# The same settings each time: mobilefacenet at 32 x 32 without a teacher. Not a function, so that
# $! is the program itself and not a shell around it.
run="$bin/train-student --data $work/faces --set student.input=32 --set train.batch=16 --set train.epochs=8
 --set train.threads=2 --set train.precision=fp32 --set train.log_steps=5 --set train.clip=5
 --set train.checkpoint_steps=3"

wait_for_checkpoint() {
    tries=0
    until ls "$1"/checkpoints/step-*.safetensors >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 600 ] || fail "no checkpoint in $1 after 30 s"
        sleep 0.05
    done
}

$run --out "$work/whole" 2>"$work/whole.log" || { cat "$work/whole.log"; fail "the uninterrupted run"; }
[ -s "$work/whole/result.json" ] || fail "no result.json"
[ "$(ls "$work/whole/checkpoints" | wc -l)" -eq 2 ] || fail "expected the last two checkpoints"

# kill -9
$run --out "$work/killed" 2>/dev/null &
pid=$!
wait_for_checkpoint "$work/killed"
kill -9 $pid
wait $pid && fail "the run ended before it could be killed" || true
[ ! -e "$work/killed/result.json" ] || fail "the run ended before it could be killed"
$run --out "$work/killed" 2>"$work/killed.log" || { cat "$work/killed.log"; fail "resuming"; }
grep -q "continuing after step" "$work/killed.log" || fail "it did not continue: $(cat "$work/killed.log")"
same "$work/killed"

# SIGTERM, then SIGINT, then to the end
for signal in TERM INT; do
    rm -rf "$work/$signal"
    $run --out "$work/$signal" 2>"$work/$signal.log" &
    pid=$!
    wait_for_checkpoint "$work/$signal"
    kill -$signal $pid
    code=0
    wait $pid || code=$?
    [ $code -eq 130 ] || { cat "$work/$signal.log"; fail "SIG$signal gave $code, expected 130"; }
    $run --out "$work/$signal" 2>/dev/null
    same "$work/$signal"
done

# train.max_steps stops early and the same run goes on later
$run --out "$work/steps" --set train.max_steps=7 2>/dev/null
grep -q '"complete": false' "$work/steps/result.json" || fail "7 steps are not the whole run"
$run --out "$work/steps" 2>/dev/null
cmp "$work/whole/student.safetensors" "$work/steps/student.safetensors" || fail "max_steps: other bits"

# a finished run is left alone
before=$(cksum <"$work/whole/student.safetensors")
$run --out "$work/whole" 2>"$work/again.log"
grep -q "is finished" "$work/again.log" || fail "a finished run was run again"
[ "$before" = "$(cksum <"$work/whole/student.safetensors")" ] || fail "a finished run was changed"

# the cache may move meanwhile: it is known by its hash, not by its path
. "$CASK_SOURCE/tests/support/small_cache.sh"
taught="$bin/train-student --set student.input=32 --set train.batch=16 --set train.epochs=2 --set train.threads=1
 --set train.precision=fp32 --set loss.kd.weight=1"
$taught --cache "$work/cache" --out "$work/stayed" >/dev/null 2>&1 || fail "training from a cache"
$taught --cache "$work/cache" --out "$work/moved" --set train.max_steps=5 >/dev/null 2>&1 || fail "five steps from a cache"
mv "$work/cache" "$work/elsewhere"
$taught --cache "$work/elsewhere" --out "$work/moved" >/dev/null 2>"$work/log" || fail "a cache that was moved"
grep -q "continuing after step 5" "$work/log" || fail "a cache that was moved: it did not continue"
cmp "$work/stayed/student.safetensors" "$work/moved/student.safetensors" || fail "a cache that was moved: other bits"
"$bin/train-student" --config "$work/moved/config.yaml" --out "$work/moved" 2>"$work/log" || fail "config.yaml does not load back"
grep -q "is finished" "$work/log" || fail "config.yaml is another run"
# another one at the old place is refused, and by those who only have config.yaml, too
"$bin/cachetool" retopk "$work/elsewhere" --out "$work/cache" --topk 3 >/dev/null 2>"$work/log" || fail "retopk"
refused 3 "this is another cache|cache_sha256 is " $taught --cache "$work/cache" --out "$work/moved"
refused 3 "$work/cache: is another cache than cache_sha256 asks for" \
    "$bin/train-student" --config "$work/moved/config.yaml" --cache "$work/cache" --out "$work/new"
hash=$("$bin/cachetool" info "$work/elsewhere" --json | sed -n 's/^  "sha256": *"\([0-9a-f]*\)".*/\1/p')
refused 3 "is another cache than cache_sha256 asks for" $taught --cache "$work/cache" --cache-sha256 "$hash" --out "$work/new"
[ ! -e "$work/new" ] || fail "a refused run took its folder"
$taught --cache "$work/elsewhere" --cache-sha256 "$hash" --out "$work/new" --set train.max_steps=1 >/dev/null 2>"$work/log" || fail "--cache-sha256"
echo "ok: kill -9, SIGTERM, SIGINT, max_steps and a cache that was moved all end in the same bits"
