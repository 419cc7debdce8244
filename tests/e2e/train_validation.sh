# Validation while training: the student has the same bits with and without it, the best one is kept,
# patience ends a run, and a run that is killed again and again ends as one that was not.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
. "${CASK_SOURCE:?}/tests/support/refused.sh"
"$bin/synth-faces" --out "$work/faces" --identities 8 --images 8 --size 32 --pairs "$work/pairs.txt" \
    --pairs-per-fold 20 --folds 4 >/dev/null 2>&1

run="$bin/train-student --data $work/faces --set student.input=32 --set train.batch=16 --set train.epochs=10
 --set train.threads=1 --set train.precision=fp32 --set train.log_steps=5 --set train.checkpoint_steps=3"
sets="--set valid.pairs=$work/pairs.txt --set valid.images=$work/faces"

plain() { # FOLDER: what must not depend on kills
    sed 's/,"images_per_second".*//' "$1/metrics.jsonl"
    [ ! -e "$1/metrics.csv" ] || cut -d , -f 1-6,13- "$1/metrics.csv" # ended before its first line
    cat "$1/validation.csv"
    grep -v '"model"' "$1/evaluation.json"
    /usr/bin/python3 -c 'import json, sys
result = json.load(open(sys.argv[1]))
print([result.get(key) for key in ("steps", "complete", "stopped_early", "settings_sha256", "validation")])' "$1/result.json"
    cksum <"$1/student.safetensors"
    cksum <"$1/student-best.safetensors"
}

$run --out "$work/without" >/dev/null 2>&1 || fail "the run without validation"
$run $sets --set valid.every=4 --out "$work/with" >/dev/null 2>&1 || fail "the run with validation"
cmp "$work/without/student.safetensors" "$work/with/student.safetensors" || fail "validation changes the student"
for file in metrics.csv validation.csv evaluation.json student-best.safetensors; do
    [ -s "$work/with/$file" ] || fail "no $file"
done
[ "$(grep -c '"validation"' "$work/with/metrics.jsonl")" -eq 10 ] || fail "expected ten validations"

# numbers agree with evaluate
"$bin/evaluate" --model "$work/with/student.safetensors" --pairs "$work/pairs.txt" --images "$work/faces" \
    --json "$work/by_evaluate.json" >/dev/null 2>&1 || fail evaluate
/usr/bin/python3 - "$work" <<'END' || fail "the numbers of validation and evaluate"
import csv, json, sys
work = sys.argv[1]
mine, theirs = (json.load(open(f"{work}/{f}")) for f in ("with/evaluation.json", "by_evaluate.json"))
assert mine["sets"][0]["accuracy"] == theirs["sets"][0]["accuracy"], (mine["sets"][0]["accuracy"], theirs["sets"][0]["accuracy"])
result = json.load(open(f"{work}/with/result.json"))
rows = list(csv.DictReader(open(f"{work}/with/validation.csv")))
accuracies = [float(row["accuracy"]) for row in rows]
assert result["validation"]["accuracy"] == accuracies[-1] == mine["sets"][0]["accuracy"]
best = result["validation"]["best"]
assert best["accuracy"] == max(accuracies) and best["step"] == int(rows[accuracies.index(max(accuracies))]["step"])
assert result["validation"]["sets"][0]["protocol"].startswith("insightface 4-fold")
assert 0 < result["validation_seconds"] < result["seconds"]
# the table says what the lines say, number by number
lines = [json.loads(line) for line in open(f"{work}/with/metrics.jsonl")]
lines = [line for line in lines if "validation" not in line]
table = list(csv.DictReader(open(f"{work}/with/metrics.csv")))
assert len(table) == len(lines) == 8
for row, line in zip(table, lines):
    want = {key: line[key] for key in ("step", "epoch", "lr", "total", "accuracy", "images_per_second", "stall_seconds")}
    want.update((f"stage_seconds.{stage}", seconds) for stage, seconds in line["stage_seconds"].items())
    for term in line["terms"]:
        name = term["name"]
        want[name] = term["value"]
        want.update((f"{name}.{key}", term[key]) for key in ("weight", "gradient_norm", "gradient_cosine"))
    assert set(row) == set(want) | {"gradient_norm"}, set(row) ^ set(want)
    assert row["gradient_norm"] == "" and sum(line["stage_seconds"].values()) > 0
    for key, value in want.items():
        if value is None:
            assert row[key] == "", (key, row[key])
        else:
            assert abs(float(row[key]) - value) <= 1e-8 * abs(value), (key, row[key], value)
END

# patience: part of the run's identity, and it ends the run
$run $sets --set valid.every=1 --set valid.patience=6 --out "$work/patient" >/dev/null 2>&1 || fail "patience"
grep -q '"stopped_early": true' "$work/patient/result.json" || fail "patience did not end the run: $(cat "$work/patient/validation.csv")"
grep -q '"complete": true' "$work/patient/result.json" || fail "an early stop is an end"
$run $sets --set valid.every=1 --set valid.patience=6 --out "$work/patient" 2>&1 | grep -q "is finished" || fail "an early stop is not found finished"
refused 3 "valid.patience is 6 there, 0 now" $run $sets --set valid.every=1 --out "$work/patient"

# killed at any moment, with validation, best and patience under way
for kind in 4:0 1:6; do
    settings="--set valid.every=${kind%:*} --set valid.patience=${kind#*:}"
    whole=$([ $kind = 4:0 ] && echo with || echo patient)
    n=0
    for delay in 0.11 0.23 0.31 0.17 0.29 0.41 0.13 0.37; do
        n=$((n + 1))
        [ ! -e "$work/killed/result.json" ] || break
        $run $sets $settings --out "$work/killed" >/dev/null 2>&1 &
        pid=$!
        sleep $delay
        kill -$([ $((n % 3)) -eq 0 ] && echo TERM || echo KILL) $pid 2>/dev/null || true
        wait $pid 2>/dev/null || true
    done
    $run $sets $settings --out "$work/killed" >/dev/null 2>&1 || fail "resuming after $n kills"
    plain "$work/$whole" >"$work/a"
    plain "$work/killed" >"$work/b"
    cmp "$work/a" "$work/b" || { diff "$work/a" "$work/b" | head; fail "$settings: killed $n times, another end"; }
    rm -rf "$work/killed"
done

# a finished run is judged on other sets without training again
cp "$work/pairs.txt" "$work/others.txt"
$run --set valid.pairs="$work/others.txt" --set valid.images="$work/faces" --out "$work/without" >/dev/null 2>"$work/log" ||
    fail "judging a finished run"
grep -q '"name": "others"' "$work/without/evaluation.json" || fail "the new set is not in evaluation.json"
cmp "$work/without/student.safetensors" "$work/with/student.safetensors" || fail "judging changed the student"

refused 2 "needs valid.images" $run --set valid.pairs="$work/pairs.txt" --out "$work/x"
refused 2 "needs a set" $run --set valid.every=3 --out "$work/x"
refused 2 "needs valid.every" $run $sets --set valid.patience=6 --out "$work/x"
refused 3 "valid.pairs" $run --set valid.pairs="$work/nothing.txt" --set valid.images="$work/faces" --out "$work/x"
refused 3 "valid.bin" $run --set valid.bin="$work/nothing.bin" --out "$work/x"
echo "ok: validation looks and does not touch"
