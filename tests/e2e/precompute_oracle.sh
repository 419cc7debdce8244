# precompute and retopk on the oracle keep what they keep on the cpu backend, up to the rounding of floats
# and of what a cache stores.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
"$bin/synth-faces" --out "$work/faces" --identities 8 --images 8 --size 32 >/dev/null 2>&1
"$bin/train-student" --data "$work/faces" --set student.input=32 --set student.embedding=64 --set train.batch=16 \
    --set train.epochs=2 --set train.precision=fp32 --out "$work/teacher" >/dev/null 2>&1

# alike A B: field by field, as cachetool diff tells it; the centres are another file then, and
# the norms of a teacher that has hardly trained are of any size
alike() {
    "$bin/cachetool" diff "$1" "$2" >"$work/log" || [ $? -eq 3 ] || fail "cachetool diff"
    grep -q "^manifest: \(the same\|.* 1 field: centers_sha256\)" "$work/log" || fail "the manifests of $1 and $2"
    awk 'BEGIN { most["embedding"] = 1e-3; most["topk_cosine"] = most["label_cosine"] = 1e-4; most["lse"] = 1e-3 }
        /largest difference/ && $1 != "norm" { if (!($1 in most) || !($NF <= most[$1])) exit 1 }' "$work/log" || fail "$1 and $2 differ"
}
for backend in cpu ref; do
    "$bin/precompute" --teacher auto --weights "$work/teacher/student.safetensors" --data "$work/faces" --precision fp32 \
        --topk 3 --limit 12 --backend $backend --out "$work/$backend" >/dev/null 2>"$work/log" || fail "precompute --backend $backend"
    "$bin/retopk" --cache "$work/cpu" --topk 2 --backend $backend --out "$work/two.$backend" 2>"$work/log" || fail "retopk --backend $backend"
done
alike "$work/cpu" "$work/ref"
alike "$work/two.cpu" "$work/two.ref"
echo "ok: the oracle keeps the same"
