# A sweep: rows, grid and seeds from one file and one cache, a failed row that stops nobody, kill -9
# in the middle and the table of an undisturbed one, changed rows refused.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
. "${CASK_SOURCE:?}/tests/support/refused.sh"

"$bin/synth-faces" --out "$work/faces" --identities 8 --images 8 --size 32 --pairs "$work/pairs.txt" \
    --pairs-per-fold 20 --folds 4 >/dev/null 2>&1
. "${CASK_SOURCE:?}/tests/support/small_cache.sh"

cat >"$work/base.yaml" <<END
student: {input: 32}
train: {batch: 16, epochs: 4, precision: fp32, threads: 1, checkpoint_steps: 3, log_steps: 5}
END
cat >"$work/sweep.yaml" <<END
extends: base.yaml
train.lr: 0.05
rows:
  - name: plain
    seeds: [1, 2]
  - name: "angle (λ)"
    grid:
      loss.embedding.weight: [1, 14]
      loss.embedding.kind: [cos]
  - name: explodes
    train: {lr: 1000, weight_decay: 10, epochs: 100}
  - name: KD
    loss: {kd: {weight: 1}}
END
sweep="$bin/train-student --cache $work/cache --sweep $work/sweep.yaml --set valid.pairs=$work/pairs.txt
 --set valid.images=$work/faces --set valid.every=5"

# --list trains nothing, and needs neither cache nor --out
"$bin/train-student" --sweep "$work/sweep.yaml" --list >"$work/list" || fail "--list"
[ "$(wc -l <"$work/list")" -eq 6 ] || fail "expected six runs: $(cat "$work/list")"
grep -q "^angle_weight=14_kind=cos  *new  *angle (λ) weight=14 kind=cos: loss.embedding.weight=14$" "$work/list" ||
    fail "the list does not show the grid: $(cat "$work/list")"
[ ! -e "$work/runs" ] && [ ! -e runs ] || fail "--list left something"

# an undisturbed sweep; one row fails and the others train
refused 3 "1 of 6 runs failed" $sweep --out "$work/whole"
for run in plain plain.seed-2 angle_weight=1_kind=cos angle_weight=14_kind=cos KD; do
    [ -s "$work/whole/$run/result.json" ] || fail "$run did not end"
    [ -s "$work/whole/$run/evaluation.json" ] || fail "$run was not evaluated"
    [ -s "$work/whole/$run/student-best.safetensors" ] || fail "$run has no best student"
done
grep -q '^failed: explodes: step [0-9]*: the loss "arcface"' "$work/whole/sweep.txt" || fail "the table does not say why a row failed"
grep -q 'data-key="failure">step [0-9]*: the loss &quot;arcface&quot;' "$work/whole/explodes/report.html" || fail "the failed row's page does not say why"
grep -q 'data-key="failure"><b>explodes</b>: step [0-9]*: the loss' "$work/whole/report.html" || fail "the sweep's page does not say why"
grep -q 'data-key="state">5 of 6 runs finished, 1 failed<' "$work/whole/report.html" || fail "the sweep's page does not count the failed row"
grep -q '^plain  *2/2  *[0-9.]* +- [0-9.]* ' "$work/whole/sweep.txt" || fail "no mean over seeds: $(cat "$work/whole/sweep.txt")"
grep -q '^"KD",1,1,[0-9.]*,,[0-9.]*,[0-9.]*,[0-9.]*,256$' "$work/whole/sweep.csv" || fail "sweep.csv: $(cat "$work/whole/sweep.csv")"
/usr/bin/python3 - "$work/whole/sweep.json" <<'END' || fail "sweep.json"
import json, math, sys
table = json.load(open(sys.argv[1]))
rows = {row["name"]: row for row in table["rows"]}
plain = rows["plain"]
values = [run["accuracy"][0]["accuracy"] for run in plain["runs"]]
mean = sum(values) / 2
assert math.isclose(plain["accuracy"][0]["mean"], mean) and plain["accuracy"][0]["count"] == 2
assert math.isclose(plain["accuracy"][0]["std"], abs(values[0] - values[1]) / math.sqrt(2))
assert plain["step_ratio"] == 1 and rows["KD"]["step_ratio"] > 0
assert rows["KD"]["teacher_passes_saved"] == 256 and table["teacher_passes_saved"] == 3 * 256
assert rows["explodes"]["runs"][0]["state"] == "failed" and rows["explodes"]["step_ratio"] is None
END

# everything of a table but its times
plain_table() { cut -d , -f 1-5,9 "$1/sweep.csv"; }
finished_count() { ls "$work/killed"/*/result.json 2>/dev/null | wc -l; }

# kill -9 of the sweep, several times; its run dies with it
tries=0
while [ $tries -lt 4 ]; do
    tries=$((tries + 1))
    before=$(finished_count)
    $sweep --out "$work/killed" >/dev/null 2>&1 &
    pid=$!
    waited=0
    until [ "$(finished_count)" -gt "$before" ] || [ $waited -ge 300 ]; do
        waited=$((waited + 1))
        sleep 0.05
    done
    sleep 0.0$tries
    kill -9 $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
done
refused 3 "1 of 6 runs failed" $sweep --out "$work/killed"
plain_table "$work/whole" >"$work/a"
plain_table "$work/killed" >"$work/b"
cmp "$work/a" "$work/b" || { cat "$work/a" "$work/b"; fail "a killed sweep ends in another table"; }
for run in plain plain.seed-2 angle_weight=1_kind=cos angle_weight=14_kind=cos KD; do
    for file in student student-best; do
        cmp "$work/whole/$run/$file.safetensors" "$work/killed/$run/$file.safetensors" || fail "$run: $file has other bits"
    done
done

# finished rows are left alone; two at a time; one row only
touch "$work/mark"
refused 3 "1 of 6 runs failed" $sweep --out "$work/whole" --jobs 2
[ -z "$(find "$work/whole" -name student.safetensors -newer "$work/mark")" ] || fail "a finished row was trained again"
[ -s "$work/whole/logs/KD.log" ] || fail "no log of a row beside others"
$sweep --out "$work/one" --only KD >/dev/null 2>&1 || fail "--only"
[ -s "$work/one/KD/result.json" ] && [ ! -e "$work/one/plain" ] || fail "--only trained something else"
cmp "$work/whole/KD/student.safetensors" "$work/one/KD/student.safetensors" || fail "alone: other bits"

# together: one process and one stream of batches for rows of one seed; the same bits and numbers, also
# when it is killed in the middle, and a row that fails leaves the others at work
refused 3 "1 of 6 runs failed" $sweep --out "$work/together" --together 4
$sweep --out "$work/together_killed" --together 8 >/dev/null 2>&1 &
pid=$!
until ls "$work/together_killed"/*/checkpoints/*.safetensors >/dev/null 2>&1; do sleep 0.02; done
sleep 0.1
kill -9 $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
rm -rf "$work/together_killed/KD/checkpoints" # one row is far behind the others of its process
refused 3 "1 of 6 runs failed" $sweep --out "$work/together_killed" --together 8
for run in plain plain.seed-2 angle_weight=1_kind=cos angle_weight=14_kind=cos KD; do
    for folder in together together_killed; do
        for file in student student-best; do
            cmp "$work/whole/$run/$file.safetensors" "$work/$folder/$run/$file.safetensors" || fail "$folder: $run: $file has other bits"
        done
        sed 's/,"images_per_second".*//' "$work/$folder/$run/metrics.jsonl" >"$work/b"
        sed 's/,"images_per_second".*//' "$work/whole/$run/metrics.jsonl" | cmp - "$work/b" || fail "$folder: $run: other metrics"
    done
done
plain_table "$work/together" >"$work/b"
cmp "$work/a" "$work/b" || fail "together: another table"
refused 3 "cannot be trained together|train.seed is 1 in one and 2 in the other" "$bin/train-student" \
    --config "$work/whole/plain/config.yaml" --also "$work/whole/plain.seed-2/config.yaml"

# SIGTERM to a sweep of two at a time: both write a checkpoint; meanwhile nobody else may work there
$sweep --out "$work/term" --jobs 2 >/dev/null 2>"$work/term.log" &
pid=$!
until [ -e "$work/term/plain/metrics.jsonl" ] && [ -e "$work/term/plain.seed-2/metrics.jsonl" ]; do sleep 0.02; done
kill -TERM $pid
code=0
wait $pid || code=$?
[ $code -eq 130 ] || { cat "$work/term.log"; fail "SIGTERM gave $code"; }
for run in plain plain.seed-2; do
    ls "$work/term/$run"/checkpoints/*.safetensors >/dev/null || fail "$run: no checkpoint after SIGTERM"
    [ -e "$work/term/$run/result.json" ] || grep -q "interrupted after step" "$work/term/logs/$run.log" || fail "$run: its log does not say that it was stopped"
done
grep -q "goes on with the sweep" "$work/term.log" || fail "the sweep does not say what to do"
$sweep --out "$work/term" --only plain >/dev/null 2>&1 || fail "going on after SIGTERM"
cmp "$work/whole/plain/student.safetensors" "$work/term/plain/student.safetensors" || fail "after SIGTERM: other bits"
$sweep --out "$work/busy" >/dev/null 2>&1 &
pid=$!
until [ -e "$work/busy/plain/metrics.jsonl" ]; do sleep 0.02; done
refused 3 "$work/busy: another train-student is at work there" $sweep --out "$work/busy"
kill -9 $pid 2>/dev/null || true
wait $pid 2>/dev/null || true

# a row that was renamed is a new one, and what the old one left is told; the cache at another place
cp -r "$work/one" "$work/renamed"
sed 's/name: KD/name: KD 4/' "$work/sweep.yaml" >"$work/renamed.yaml"
"$bin/train-student" --sweep "$work/renamed.yaml" --out "$work/renamed" --list | grep -q "^KD_4  *new" || fail "--list does not show the new row"
sed -n '/^rows/,$d; /./p' "$work/sweep.yaml" >"$work/added.yaml"
printf 'rows:\n  - name: KD 4\n    loss: {kd: {weight: 1}}\n' >>"$work/added.yaml"
"$bin/train-student" --cache "$work/cache" --sweep "$work/added.yaml" --out "$work/renamed" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "a new row"; }
grep -q "renamed/KD belongs to no row of .*added.yaml: it is left alone" "$work/log" || fail "what a renamed row left is not told: $(cat "$work/log")"
cmp "$work/whole/KD/student.safetensors" "$work/renamed/KD_4/student.safetensors" || fail "another name gives other bits"
mv "$work/cache" "$work/elsewhere"
"$bin/train-student" --cache "$work/elsewhere" --sweep "$work/added.yaml" --out "$work/renamed" >/dev/null 2>&1 || fail "a cache that was moved"
for place in "" "--cache $work/elsewhere" "--cache $work/nowhere"; do
    "$bin/train-student" $place --sweep "$work/added.yaml" --out "$work/renamed" --list | grep -q "^KD_4  *ended" || fail "--list $place: a cache that was moved"
done
"$bin/cachetool" retopk "$work/elsewhere" --out "$work/cache" --topk 3 >/dev/null 2>&1 || fail retopk
refused 3 'row "KD 4" was begun with other settings|this is another cache' \
    "$bin/train-student" --cache "$work/cache" --sweep "$work/added.yaml" --out "$work/renamed"
rm -r "$work/cache" && ln -s "$work/elsewhere" "$work/cache"

# what is refused
sed -i 's/lr: 0.05/lr: 0.06/' "$work/sweep.yaml"
refused 3 'row "plain"|train.lr is 0.05 there, 0.06 now' $sweep --out "$work/whole"
"$bin/train-student" --sweep "$work/sweep.yaml" --out "$work/whole" --list | grep -q "^plain  *changed" || fail "--list does not show a changed row"
"$bin/train-student" --sweep "$work/added.yaml" --out "$work/renamed" --list | grep -q "^KD_4  *ended" || fail "--list without --cache takes a row for changed"
refused 2 "no such row" $sweep --out "$work/x" --only nobody
refused 2 "names its base itself" $sweep --out "$work/x" --config "$work/base.yaml"
refused 2 "give one of them" $sweep --out "$work/x" --set train.seed=3
refused 2 "need --sweep" "$bin/train-student" --data "$work/faces" --out "$work/x" --jobs 2
refused 2 "need --sweep" "$bin/train-student" --data "$work/faces" --out "$work/x" --together 2
bad() { # TEXT CONTENT
    printf "$2" >"$work/bad.yaml"
    refused 2 "$1" "$bin/train-student" --sweep "$work/bad.yaml" --list
}
bad "bad.yaml:3: unknown key" 'rows:\n  - name: a\n    loss.kd.wieght: 1\n'
bad "expected rows or a grid" 'train.lr: 1\n'
bad "bad.yaml:1: rows: expected a list of maps" 'rows: 3\n'
bad "bad.yaml:1: seeds: expected at least one" 'seeds: []\nrows:\n  - name: a\n'
bad "bad.yaml:1: baseline: no row has this name" 'baseline: nobody\nrows:\n  - name: a\n'
bad "bad.yaml:3: extends: there is no file" 'rows:\n  - name: a\n    extends: nothing.yaml\n'
bad "bad.yaml:2: not YAML|never with tabs" 'train:\n\tlr: 1\n'
bad "train.lr: expected one value, found a list of 2" 'rows:\n  - name: a\n    train.lr: [1, 2]\n'
bad "with a name" 'rows:\n  - loss.kd.weight: 1\n'
bad "both be folder" 'rows:\n  - name: a b\n  - name: a_b\n'
bad "which is taken" 'rows:\n  - name: settings\n'
bad "list of values" 'grid:\n  train.lr: 1\n'
bad "combinations" "grid: {train.lr: [1,2,3,4,5,6,7,8,9,10,11], train.momentum: [0,0,0,0,0,0,0,0,0,0], train.seed: [0,0,0,0,0,0,0,0,0,0]}\n"
bad "whole numbers" 'seeds: [x]\nrows:\n  - name: a\n'
bad "mobilefacenet" 'rows:\n  - name: a\n    student.net: nothing\n'
bad "extend one another" 'extends: bad.yaml\nrows:\n  - name: a\n'
bad "train.steps" 'rows:\n  - name: a\n    train.schedule: step\n'
echo "ok: a sweep ends in one table, killed or not"
