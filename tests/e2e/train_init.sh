# student.init takes weights from every container and from ONNX, and says what does not fit; train.freeze keeps them as they are.
set -eu
. "${CASK_SOURCE:?}/tests/support/refused.sh"
. "${CASK_SOURCE:?}/tests/support/begin.sh"
export PYTHONPATH="$CASK_SOURCE/tests/support" PYTHONDONTWRITEBYTECODE=1

"$bin/synth-faces" --out "$work/faces" --identities 8 --images 4 --size 32 >/dev/null 2>&1
train() {
    "$bin/train-student" --data "$work/faces" --set student.input=32 --set train.epochs=1 --set train.batch=16 \
        --set train.save_head=no "$@" >"$work/log" 2>&1
}
train --out "$work/first" --set student.embedding=64 || fail "the first run"
first=$work/first/student.safetensors
"$bin/export-student" --model "$first" "$work/first.pth" >"$work/log" 2>&1 || fail "export to .pth"
"$bin/export-student" --model "$first" "$work/first.onnx" >"$work/log" 2>&1 || fail "export to .onnx"
"$bin/export-student" --model "$first" --bn keep "$work/keep.onnx" >"$work/log" 2>&1 || fail "export to .onnx with its batch norms"

# --- the same start in three containers, all parameters frozen: nothing but running statistics moves
for container in "$first" "$work/first.pth" "$work/keep.onnx"; do
    train --out "$work/from.${container##*.}" --set student.embedding=64 --set "student.init=$container" \
        --set "train.freeze=[backbone]" --set train.lr=0.5 || fail "from $container"
    grep -q "parameters are frozen" "$work/log" || fail "freezing is not told"
    ! grep -q "batch norms of this ONNX" "$work/log" || fail "nothing is folded here"
done
/usr/bin/python3 - "$first" "$work/from.safetensors/student.safetensors" "$work/from.pth/student.safetensors" \
    "$work/from.onnx/student.safetensors" <<'PYTHON' || fail "weights"
import sys, safetensors
first, one, two, three = map(safetensors.tensors, sys.argv[1:])
assert one == two, "two containers gave two students"
weights = [n for n in one if "running_" not in n and "num_batches" not in n]
assert all(one[n] == three[n] for n in weights), "an ONNX file with its batch norms gave other weights"
moved = {name for name in first if first[name] != one[name]}
assert moved and all("running_" in n or "num_batches" in n for n in moved), sorted(moved)[:5]
print("ok: frozen weights stay, %d statistics follow the images" % len(moved))
PYTHON

# --- what does not fit is named
refused 3 "student.init|output_layer.linear.weight (expected 128x512, found 64x512)|with embedding 64" \
    "$bin/train-student" --data "$work/faces" --out "$work/x" --set student.input=32 --set student.embedding=128 \
    --set "student.init=$first" --set train.batch=16
refused 3 "these are not weights of ir18|missing: conv1.weight|unknown: conv1.conv.weight|looks like \"mobilefacenet\"" \
    "$bin/train-student" --data "$work/faces" --out "$work/y" --set student.input=32 --set student.net=ir18 \
    --set "student.init=$work/first.pth" --set train.batch=16
refused 3 "student.init|first.onnx: this ONNX graph is not mbf|found conv conv1.conv|is a \"mobilefacenet\" with embedding 64" \
    "$bin/train-student" --data "$work/faces" --out "$work/z" --set student.input=32 --set student.net=mbf \
    --set "student.init=$work/first.onnx" --set train.batch=16

# --- folded batch norms start over, and pixels of another kind are told
train --out "$work/from.folded" --set student.embedding=64 --set "student.init=$work/first.onnx" \
    --set student.preprocess=bgr:127.5:128 || fail "from folded ONNX"
grep -q "50 batch norms of this ONNX file are folded" "$work/log" || fail "folding is not told"
grep -q "made for pixels rgb:127.5:127.5, this student gets bgr:127.5:128" "$work/log" || fail "pixels are not told"
refused 2 "\"layer9.*\" names no trained parameter of mobilefacenet" \
    "$bin/train-student" --data "$work/faces" --out "$work/w" --set student.input=32 --set "train.freeze=[layer9.*]" \
    --set train.batch=16
echo "ok: initial weights and frozen parameters"
