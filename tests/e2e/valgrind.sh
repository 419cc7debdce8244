# Memcheck over what computes, on the AVX2 path (valgrind knows no AVX-512): operators, a
# cache, a student that learns from it.
set -eu
bin=${CASK_BIN:?}
source=${CASK_SOURCE:?}
if ! command -v valgrind >/dev/null; then
    echo "skipped: valgrind is not installed (apt-get install valgrind)"
    exit 77
fi
if ! grep -q avx2 /proc/cpuinfo; then
    echo "skipped: this CPU has no AVX2"
    exit 77
fi
if ldd "$bin/train-student" | grep -q libasan; then
    echo "skipped: this build has AddressSanitizer in it"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CASK_CPU_ISA=avx2

check() { # PROGRAM...
    if ! valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
        --num-callers=16 --suppressions="$source/tests/support/valgrind.supp" "$@" >"$work/log" 2>&1; then
        grep -a "^==" "$work/log" | head -60
        tail -n 5 "$work/log"
        echo "FAIL: $*"
        exit 1
    fi
}

train="$bin/train-student --data $work/faces --set student.net=mobilefacenet --set student.input=16
 --set student.embedding=16 --set train.batch=4 --set train.epochs=1 --set train.lr=0.001 --set train.threads=1
 --set train.loader_threads=1 --set train.precision=fp32"
"$bin/synth-faces" --out "$work/faces" --identities 2 --images 4 --size 16 >/dev/null 2>&1
check "$bin/../tests/test_ops_table" "cpu_fp32" 15
$train --out "$work/teacher" >"$work/log" 2>&1 || { cat "$work/log"; echo "FAIL: the teacher"; exit 1; }
check "$bin/precompute" --teacher mobilefacenet --weights "$work/teacher/student.safetensors" --data "$work/faces" \
    --out "$work/cache" --topk 2 --batch 4 --threads 1
# shellcheck disable=SC2086
check $train --out "$work/student" --cache "$work/cache" --set loss.kd.weight=1 --set loss.gkd.weight=1
