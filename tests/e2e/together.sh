# Students of one process that share the teacher's cosines: plain, KD and DKD at other temperatures
# and GKD end with the bits of separate runs; a row with other batches goes into another process.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"

"$bin/synth-faces" --out "$work/faces" --identities 8 --images 6 --size 32 >/dev/null 2>&1
. "${CASK_SOURCE:?}/tests/support/small_cache.sh"

cat >"$work/sweep.yaml" <<END
student: {input: 32}
train: {batch: 12, epochs: 2, precision: fp32, threads: 2, lr: 0.05, log_steps: 3}
rows:
  - name: plain
  - name: KD
    loss: {kd: {weight: 1, temperature: 4}}
  - name: KD and DKD
    loss: {kd: {weight: 0.5, temperature: 1}, dkd: {weight: 0.5}}
  - name: GKD
    loss: {gkd: {weight: 0.3}}
  - name: KD in another order
    seeds: [2]
    loss: {kd: {weight: 1, temperature: 4}}
END
sweep="$bin/train-student --cache $work/cache --sweep $work/sweep.yaml"
$sweep --out "$work/apart" >/dev/null 2>"$work/log" || fail "$(cat "$work/log")"
! grep -q "share the teacher's cosines" "$work/log" || fail "a run of its own shares"
$sweep --out "$work/joined" --together 8 >/dev/null 2>"$work/log" || fail "$(cat "$work/log")"
cat "$work/joined"/logs/*.log >>"$work/log" 2>/dev/null || true
[ "$(grep -c "students share the teacher's cosines.*8 of 8 classes" "$work/log")" -eq 1 ] || fail "nobody shares: $(cat "$work/log")"

runs=0
for run in "$work/apart"/*/result.json; do
    name=$(basename "$(dirname "$run")")
    runs=$((runs + 1))
    cmp "$work/apart/$name/student.safetensors" "$work/joined/$name/student.safetensors" || fail "$name has other bits"
    for folder in apart joined; do
        sed 's/,"images_per_second".*//' "$work/$folder/$name/metrics.jsonl" >"$work/$folder.metrics"
    done
    cmp "$work/apart.metrics" "$work/joined.metrics" || fail "$name has other metrics"
done
[ $runs -eq 5 ] || fail "expected five runs, found $runs"
