# A network that PyTorch made and saved, as a teacher: what precompute puts into the cache is what
# PyTorch says about the same images. Both of torch.save's containers; fp32, and bf16 where the CPU has it.
set -eu
here=${CASK_SOURCE:?}/tests/e2e
python=/usr/bin/python3
"$python" -c 'import torch, cv2, numpy' 2>/dev/null || { echo "skipped: $python has no torch, cv2 and numpy"; exit 77; }
. "${CASK_SOURCE:?}/tests/support/begin.sh"

"$bin/synth-faces" --out "$work/faces" --identities 4 --images 2 --size 112 >/dev/null 2>&1
"$python" "$here/teacher_torch.py" make "$work" >"$work/log" 2>&1 || fail "PyTorch"

build() {
    "$bin/precompute" --teacher ir50 --data "$work/faces" --embedding f16 --batch 4 "$@" >"$work/log" 2>&1
}

for container in zip legacy; do
    build --weights "$work/$container.pth" --out "$work/$container" --precision fp32 || fail "$container"
    grep -q "says nothing about its pixels: taking rgb:127.5:127.5" "$work/log" || fail "the default pixels are not told"
    "$bin/cachetool" export "$work/$container" --npz "$work/$container.npz" >/dev/null 2>"$work/log" || fail "export"
    "$python" "$here/teacher_torch.py" compare "$work" "$work/$container.npz" fp32 || fail "$container, fp32"
done
cmp "$work/zip/shard-00000.h5" "$work/legacy/shard-00000.h5" || fail "one network in two containers gave two caches"

code=0
build --weights "$work/zip.pth" --out "$work/bf16" --precision bf16 || code=$?
if [ $code -eq 3 ] && grep -q "no bf16 instructions" "$work/log"; then
    echo "not tried: bf16 (this CPU has no instructions for it)"
else
    [ $code -eq 0 ] || fail "bf16 gave $code"
    "$bin/cachetool" export "$work/bf16" --npz "$work/bf16.npz" >/dev/null 2>"$work/log" || fail "export"
    "$python" "$here/teacher_torch.py" compare "$work" "$work/bf16.npz" bf16 || fail "bf16"
fi
echo "ok: PyTorch's embeddings are in the cache"
