#!/bin/sh
# Two machines without a common disk build one cache in parts, and a finished cache is mended shard
# by shard: the bytes are those of one undisturbed build, and the teacher runs over no image twice.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
. "$(dirname "$0")/../support/refused.sh"

"$bin/synth-faces" --out "$work/faces" --identities 20 --images 20 --size 32 >/dev/null 2>&1
echo broken >"$work/faces/id_0003/id_0003_0007.jpg"
echo broken >"$work/faces/id_0018/id_0018_0001.jpg"
"$bin/train-student" --data "$work/faces" --set student.input=32 --set student.embedding=64 --set train.batch=32 \
    --set train.max_steps=2 --set train.precision=fp32 --out "$work/teacher" >/dev/null 2>&1
teacher=$work/teacher/student.safetensors

build() {
    "$bin/precompute" --teacher mobilefacenet --weights "$teacher" --data "$work/faces" --shard-images 64 --topk 8 \
        --precision fp32 --threads 2 --batch 16 "$@"
}
good() { build "$@" 2>"$work/log" || { cat "$work/log"; fail "$*"; }; }
said() { grep -qF -- "$1" "$work/log" || { cat "$work/log"; fail "the log does not say \"$1\""; }; }

. "$(dirname "$0")/../support/same_cache.sh"

good --out "$work/mean" --centers mean # 7 shards
good --out "$work/file" --centers "$teacher"

# --- parts: centres known
good --out "$work/a" --centers "$teacher" --shards 0:3
said "cachetool merge"
good --out "$work/b" --centers "$teacher" --shards 3:6
refused 3 "no part holds shards 6 to 6|--shards 6:7" "$bin/cachetool" merge "$work/joined" "$work/a" "$work/b"
good --out "$work/b" --centers "$teacher" --shards 6:7 # the same folder may get another range
"$bin/cachetool" merge "$work/joined" "$work/a" "$work/b" --json >"$work/json"
grep -q '"copied_shards": 7' "$work/json" || fail "merge --json: $(cat "$work/json")"
same "$work/file" "$work/joined"
refused 3 "scale: expected 64, found 32|not parts of one build" sh -c "'$bin/precompute' --teacher mobilefacenet --weights $teacher \
    --data $work/faces --shard-images 64 --topk 8 --precision fp32 --centers $teacher --scale 32 --shards 3:7 --out $work/c 2>/dev/null &&
    '$bin/cachetool' merge $work/joined2 $work/a $work/c"
refused 2 "--parts is for class means|cachetool merge" build --out "$work/d" --centers "$teacher" --parts "$work/a"

# --- parts: class means, which need the embeddings of all
good --out "$work/ma" --centers mean --shards 0:4
said "--parts"
good --out "$work/mb" --centers mean --shards 4:7
refused 3 "no part holds shards|--parts" "$bin/cachetool" merge "$work/mj" "$work/ma" "$work/mb"
good --out "$work/means" --centers mean --parts "$work/ma" --parts "$work/mb"
! grep -q "forward passes" "$work/log" || fail "the teacher ran again: $(cat "$work/log")"
same "$work/mean" "$work/means"
good --out "$work/gap" --centers mean --parts "$work/mb" # what no part has is made here
said "teacher: 512 forward passes"
same "$work/mean" "$work/gap"
refused 3 "no embeddings of this build|--shards" build --out "$work/e" --centers mean --parts "$work/mean"
refused 3 "of another build|scale: expected 32, found 64" build --out "$work/f" --centers mean --scale 32 --parts "$work/ma"

# --- a finished cache with class means: what is lost costs itself and no more
rm "$work/means/shard-00002.h5"
good --out "$work/means" --centers mean
said "the class means in"
said "teacher: 128 forward passes"
same "$work/mean" "$work/means"
printf 'x' | dd of="$work/means/shard-00005.h5" bs=1 seek=7000 conv=notrunc 2>/dev/null
printf 'x' | dd of="$work/means/shard-00001.h5" bs=1 seek=9000 conv=notrunc 2>/dev/null
good --out "$work/means" --centers mean # sizes and indexes are right: the damage is for verify to find
said "already complete"
code=0
"$bin/cachetool" verify "$work/means" --json >"$work/json" || code=$?
[ $code -eq 3 ] || fail "verify of a damaged cache gave $code"
only=$(sed -n 's/.*"only": "\(.*\)".*/\1/p' "$work/json")
[ "$only" = 1,5 ] || fail "verify --json hands over \"$only\", expected 1,5"
cp -r "$work/means" "$work/means2"
good --out "$work/means" --only "$only"
said "teacher: 256 forward passes"
same "$work/mean" "$work/means"
good --out "$work/means2" --only bad
said "teacher: 256 forward passes"
same "$work/mean" "$work/means2"
good --out "$work/means2" --only bad # nothing is
said "already complete"
good --out "$work/means2" --only 3 # a good one, too
said "teacher: 128 forward passes"
same "$work/mean" "$work/means2"
printf 'x' | dd of="$work/means/centers.h5" bs=1 seek=4300 conv=notrunc 2>/dev/null
good --out "$work/means" --only bad
said "the teacher runs over all"
same "$work/mean" "$work/means"
rm "$work/joined/shard-00000.idx"
printf 'x' | dd of="$work/joined/centers.h5" bs=1 seek=4300 conv=notrunc 2>/dev/null
good --out "$work/joined" --centers "$teacher" --only bad
same "$work/file" "$work/joined"

# --- a CPU without AVX-512 may go on: the probe allows for rounding
rm "$work/joined/shard-00004.h5"
CASK_CPU_ISA=avx2 build --out "$work/joined" --centers "$teacher" 2>"$work/log" || { cat "$work/log"; fail "another CPU"; }
"$bin/cachetool" verify "$work/joined" >/dev/null || fail "verify after another CPU's shard"

# --- the command line
refused 2 "--shards 3|FIRST:END" build --out "$work/x" --shards 3
refused 2 "--shards 3:3" build --out "$work/x" --shards 3:3
refused 2 "--shards 0:8|shards 0:7" build --out "$work/x" --shards 0:8
refused 2 "--only goes|neither" sh -c "echo '--only goes'; exec '$bin/precompute' --teacher mobilefacenet --weights $teacher --data $work/faces --out $work/x --only 1 --shards 0:1"
refused 2 "no finished cache" build --out "$work/a" --centers "$teacher" --only 1
refused 2 "--only 7|0 to 6" build --out "$work/mean" --only 7
refused 2 "--only worst|\"bad\"" build --out "$work/mean" --only worst
same "$work/mean" "$work/means"
echo "ok: parts and mended shards have the bytes of one build"
