# Triplets mined with the student out of bags, from the teacher's cache to a fine-tuned student: a run that
# was killed in the middle of a bag ends with the bits of one that was not; coverage is counted.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
. "${CASK_SOURCE:?}/tests/support/same_run.sh"
. "${CASK_SOURCE:?}/tests/support/refused.sh"

"$bin/synth-faces" --out "$work/faces" --identities 8 --images 8 --size 32 >/dev/null 2>&1
settings="--set student.input=32 --set train.precision=fp32 --set train.threads=2"
"$bin/train-student" $settings --set train.batch=16 --set train.epochs=1 --data "$work/faces" \
    --out "$work/teacher" >/dev/null 2>&1 || fail "the teacher"
"$bin/precompute" --teacher mobilefacenet --weights "$work/teacher/student.safetensors" --data "$work/faces" \
    --out "$work/cache" --topk 4 >/dev/null 2>&1 || fail "precompute"

# 64 images in bags of 6 x 4, five steps of 12 an epoch
run="$bin/train-student $settings --cache $work/cache --config ${CASK_SOURCE:?}/configs/losses/triplet.yaml
 --set student.init=$work/teacher/student.safetensors --set train.batch=12 --set train.bag=24
 --set train.per_identity=4 --set loss.triplet.window=1 --set train.epochs=8 --set train.log_steps=1
 --set train.checkpoint_steps=1"

$run --out "$work/whole" 2>"$work/log" || { cat "$work/log"; fail "the uninterrupted run"; }
grep -q "bag 3: 24 images, [0-9]* triplets of 36 pairs" "$work/log" || { cat "$work/log"; fail "no third bag"; }
/usr/bin/python3 - "$work/whole" <<'END' || { cat "$work/whole/metrics.jsonl"; fail "metrics"; }
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1] + "/metrics.jsonl")]
covered = [line["coverage"] for line in lines if "coverage" in line]
values = [term["value"] for line in lines for term in line["terms"] if term["name"] == "triplet"]
result = json.load(open(sys.argv[1] + "/result.json"))
assert len(covered) == 8 and len(values) == result["steps"] == 40
for epoch in covered:
    assert epoch["draws"] >= 24 and epoch["draws"] % 24 == 0 and epoch["identities"] >= 6
assert result["coverage"]["draws"] >= 3 * 24 and result["coverage"]["identities"] == 8
# a negative is farther than the positive when it is mined, so the hinge starts below the margin
assert all(0 <= value < 1.5 for value in values) and sum(value > 0 for value in values) > 20, values
END

# kill -9, again and again, wherever it hits
$run --out "$work/killed" 2>/dev/null &
pid=$!
until ls "$work"/killed/checkpoints/step-*2.safetensors >/dev/null 2>&1; do sleep 0.01; done
kill -9 $pid
wait $pid && fail "the run ended before it could be killed" || true
[ ! -e "$work/killed/result.json" ] || fail "the run ended before it could be killed"
$run --out "$work/killed" 2>"$work/log" || { cat "$work/log"; fail "resuming"; }
grep -q "continuing after step" "$work/log" || fail "it did not continue: $(cat "$work/log")"
same "$work/killed"

# a stop after each of some steps: at the begin, in the middle, and at the end of bags
for step in 1 2 3 4 5 6 7 11 23; do
    $run --out "$work/steps" --set train.max_steps=$step 2>"$work/log" || { cat "$work/log"; fail "$step steps"; }
done
$run --out "$work/steps" 2>/dev/null || fail "the rest of the steps"
same "$work/steps"

# another number of threads that decode is no other run
$run --out "$work/loader" --set train.loader_threads=1 2>/dev/null || fail "one loader thread"
same "$work/loader"

refused 2 "multiple of three" $run --out "$work/x1" --set train.batch=16
refused 2 "loss.triplet" $run --out "$work/x2" --set loss.triplet.weight=0
refused 3 "train.bag|9 different identities in a batch, but only 8" $run --out "$work/x3" --set train.bag=36
refused 3 "less than the 4 triplets of a batch|loss.triplet.window" $run --out "$work/x4" --set loss.triplet.window=0
echo "ok: triplets are mined, counted, resumed, refused"
