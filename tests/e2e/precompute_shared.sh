#!/bin/sh
# Three processes build one cache together, and some of them are killed: the bytes are those of one
# process that nobody disturbed, and no image is left to two processes that live.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"

"$bin/synth-faces" --out "$work/faces" --identities 20 --images 40 --size 32 >/dev/null 2>&1
echo broken >"$work/faces/id_0003/id_0003_0007.jpg"
"$bin/train-student" --data "$work/faces" --set student.input=32 --set student.embedding=64 --set train.batch=32 \
    --set train.max_steps=2 --set train.precision=fp32 --out "$work/teacher" >/dev/null 2>&1
teacher=$work/teacher/student.safetensors

# Not a function, so that $! is the program itself and not a shell around it.
run="$bin/precompute --teacher mobilefacenet --weights $teacher --data $work/faces --shard-images 64 --topk 8
 --precision fp32 --threads 1 --batch 16"

. "$(dirname "$0")/../support/same_cache.sh"

for mode in mean file; do
    centers=mean
    [ $mode = mean ] || centers=$teacher # its head, taken as a file of centres
    $run --out "$work/$mode" --centers $centers 2>"$work/log" || { cat "$work/log"; fail "the undisturbed build"; }

    # three at once, left alone: every shard is built by one of them
    pids=
    for n in 1 2 3; do
        $run --out "$work/$mode-three" --centers $centers 2>"$work/log$n" &
        pids="$pids $!"
    done
    for pid in $pids; do wait "$pid" || { cat "$work"/log?; fail "one of three builders"; }; done
    same "$work/$mode" "$work/$mode-three"
    lines=$(wc -l <"$work/$mode-three/journal.jsonl")
    [ "$lines" -eq 14 ] || fail "$mode: 13 shards and the centres took $lines lines of the journal"

    # three at once; two are killed and come back, the third is killed and does not
    round=0
    while [ $round -lt 3 ]; do
        round=$((round + 1))
        out=$work/$mode-killed-$round
        pids=
        for n in 1 2 3; do
            $run --out "$out" --centers $centers 2>"$work/log$n" &
            pids="$pids $!"
        done
        for pid in $pids; do
            sleep "0.$((round * 2 + 1))"
            kill -9 "$pid" 2>/dev/null || true
            wait "$pid" 2>/dev/null || true
            [ "$pid" = "${pids##* }" ] || {
                $run --out "$out" --centers $centers 2>>"$work/log$n" &
                later="${later:-} $!"
            }
        done
        for pid in $later; do wait "$pid" || { cat "$work"/log?; fail "a builder that came back"; }; done
        later=
        same "$work/$mode" "$out"
        echo "$mode, round $round: identical"
    done

    # the lease of a process that is gone, and one of a machine that fell silent an hour ago
    out=$work/$mode-silent
    mkdir "$out"
    printf '%s 999999999\n' "$(uname -n)" >"$out/lease-shard-00002"
    printf 'elsewhere 1\n' >"$out/lease-shard-00003"
    touch -d '1 hour ago' "$out/lease-shard-00003"
    : >"$out/shard-00001.h5.tmp.999999999"
    $run --out "$out" --centers $centers 2>"$work/log" || { cat "$work/log"; fail "stale leases"; }
    same "$work/$mode" "$out"
done

# a live lease of another machine is waited for
out=$work/waits
mkdir "$out"
printf 'elsewhere 1\n' >"$out/lease-shard-00003"
$run --out "$out" --centers "$teacher" 2>"$work/log" &
pid=$!
n=0
until [ -e "$out/shard-00012.idx" ]; do
    n=$((n + 1))
    [ $n -lt 600 ] || { cat "$work/log"; fail "the other shards were not built"; }
    sleep 0.1
done
sleep 0.5
kill -0 $pid || fail "the build ended without shard 3"
[ ! -e "$out/shard-00003.h5" ] || fail "shard 3 was built in spite of another machine's lease"
rm "$out/lease-shard-00003"
wait $pid || { cat "$work/log"; fail "after the wait"; }
same "$work/file" "$out"

# other lists from what is there, as cachetool starts it
"$bin/cachetool" retopk "$work/file" --out "$work/less" --topk 3 --temperatures 2,8 --json >"$work/json" 2>"$work/log" ||
    { cat "$work/log"; fail "cachetool retopk"; }
grep -q '"topk": 3' "$work/json" || fail "retopk --json: $(cat "$work/json")"
"$bin/cachetool" verify "$work/less" >/dev/null || fail "a cache of retopk"
"$bin/cachetool" info "$work/less" | grep -q 'temperatures *2,8' || fail "retopk --temperatures"
"$bin/retopk" --cache "$work/file" --out "$work/scaled" --topk 3 --scale 32 2>"$work/log" || { cat "$work/log"; fail "retopk --scale"; }
"$bin/cachetool" info "$work/scaled" | grep -q 'scale *32' || fail "retopk --scale"
cmp "$work/file/bad.csv" "$work/less/bad.csv" || fail "retopk: another list of bad images"
echo "ok: any number of builders, the same bytes"
