# Input costs a run neither time nor memory: what steps waited for it is a small part, and six
# epochs need no more memory than one.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
if ldd "$bin/train-student" | grep -q libasan; then
    echo "skipped: AddressSanitizer keeps what was freed, so memory grows in this build"
    exit 77
fi
most_growth=2000000 # bytes
most_share=0.15

# number RUN KEY: the last one, as result.json ends with this process's own numbers
number() {
    sed -n "s/^  \"$2\": \([0-9.e+-]*\),*\$/\1/p" "$work/$1/result.json" | tail -n 1
}

train() { # NAME EPOCHS MORE...
    name=$1
    epochs=$2
    shift 2
    "$bin/train-student" --out "$work/$name" --data "$work/faces" --set student.input=48 --set train.batch=16 \
        --set train.epochs="$epochs" --set train.threads=1 --set train.loader_threads=1 --set train.precision=fp32 \
        "$@" 2>"$work/$name.log" >/dev/null || { cat "$work/$name.log"; fail "$name"; }
}

compare() { # ONE MANY
    grep -q "of the time was waiting for images and teacher rows" "$work/$2.log" || fail "the log does not say what steps waited"
    one=$(number "$1" peak_memory_bytes)
    many=$(number "$2" peak_memory_bytes)
    share=$(number "$2" stall_share)
    echo "$2: $one bytes at most in one epoch, $many in six; $share of the time waited for input"
    [ $((many - one)) -le $most_growth ] || fail "memory grew by $((many - one)) bytes"
    awk "BEGIN { exit !($share >= 0 && $share <= $most_share) }" || fail "steps waited for $share of their time"
}

"$bin/synth-faces" --out "$work/faces" --identities 8 --images 8 --size 48 >/dev/null 2>&1
train one 1
train six 6
compare one six

# with a cache of a teacher
"$bin/precompute" --teacher mobilefacenet --weights "$work/one/student.safetensors" --data "$work/faces" \
    --out "$work/cache" --topk 4 2>"$work/precompute.log" || { cat "$work/precompute.log"; fail precompute; }
train cached-one 1 --cache "$work/cache" --set loss.kd.weight=1
train cached-six 6 --cache "$work/cache" --set loss.kd.weight=1
compare cached-one cached-six
