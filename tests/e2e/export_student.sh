# export-student: OpenCV runs the ONNX files, PyTorch loads the .pth files strictly, and everything opens
# again as a teacher that says the same.
set -eu
here=${CASK_SOURCE:?}/tests/e2e
. "$here/../support/refused.sh"
python="/usr/bin/python3 -B"
$python -c 'import torch, cv2, numpy' 2>/dev/null || { echo "skipped: python3 has no torch, cv2 and numpy"; exit 77; }
. "${CASK_SOURCE:?}/tests/support/begin.sh"

export_as() {
    "$bin/export-student" --pixels rgb:127.5:127.5 "$@" >"$work/log" 2>&1 || fail "export-student $*"
}

check() {
    $python "$here/export_student.py" "$@" || fail "$*"
}

# --- every kind of student
check make "$work"
nets=$($python "$here/export_student.py" names)
for net in $nets; do
    export_as --model "$work/$net.pth" --to onnx "$work/$net.onnx"
    export_as --model "$work/$net.pth" --fp16 "$work/$net.half.onnx"
    export_as --model "$work/$net.pth" "$work/$net.again.pth"
    # PyTorch's own export becomes a state_dict again
    [ ! -e "$work/$net.torch.onnx" ] || export_as --net $net --model "$work/$net.torch.onnx" "$work/$net.torch.pth"
done
check every "$work"
export_as --model "$work/ir18.pth" --to onnx --bn keep "$work/keep.onnx"
check onnx "$work" ir18 "$work/keep.onnx"
check graph "$work" ir18 "$work/keep.onnx" "Add:8 BatchNormalization:31 Conv:21 Flatten:1 Gemm:1 PRelu:9"
# what PyTorch's exporter leaves, but for the last batch norm, which folds into the linear layer
check graph "$work" ir18 "$work/ir18.onnx" "Add:8 BatchNormalization:9 Conv:21 Flatten:1 Gemm:1 PRelu:9"
export_as --model "$work/yakhyo_mobilenetv3_large.pth" --to onnx --preprocess graph "$work/pixels.onnx"
check onnx "$work" yakhyo_mobilenetv3_large "$work/pixels.onnx" pixels
export_as --model "$work/mobilefacenet.pth" --fp16 --to pth "$work/half.pth"
check pth "$work" mobilefacenet "$work/half.pth" fp16

# --- as teachers
for size in 16 32 64 112; do
    "$bin/synth-faces" --out "$work/faces.$size" --identities 3 --images 1 --size $size >/dev/null 2>&1
done
embed() {
    "$bin/precompute" --teacher auto --weights "$1" --data "$work/faces.${3:-112}" --out "$work/cache.$2" --batch 4 --precision fp32 \
        >"$work/log" 2>&1 || fail "precompute $1"
    "$bin/cachetool" export "$work/cache.$2" --npz "$work/$2.npz" >/dev/null 2>"$work/log" || fail "export of $2"
}
for net in mobilefacenet yakhyo_mobilenetv3_large resnet18; do
    embed "$work/$net.pth" $net.first
    export_as --model "$work/$net.pth" --to onnx --preprocess graph "$work/teacher.onnx"
    export_as --model "$work/$net.pth" "$work/teacher.safetensors"
    export_as --model "$work/$net.pth" --fp16 "$work/half.safetensors"
    export_as --model "$work/$net.pth" --fp16 --bn keep "$work/half.onnx"
    # each from another one: what is exported is a model again
    export_as --model "$work/teacher.safetensors" "$work/teacher.pth"
    export_as --model "$work/teacher.onnx" --bn keep "$work/twice.onnx"
    for file in teacher.onnx teacher.safetensors teacher.pth twice.onnx half.safetensors half.onnx; do
        rm -rf "$work/cache.second"
        embed "$work/$file" second
        ! grep -q "says nothing about its pixels" "$work/log" || fail "$file has lost its preprocessing"
        check same "$work/$net.first.npz" "$work/second.npz" $([ "${file#half}" != "$file" ] && echo 0.9999 || echo 0.999999)
    done
done

# --- every kind of student is a teacher: three pictures, and their mirror images
$python "$here/export_student.py" sizes >"$work/sizes"
while read -r net size; do
    rm -rf "$work/cache.first" "$work/cache.second"
    embed "$work/$net.pth" first $size
    embed "$work/$net.onnx" second $size
    check same "$work/first.npz" "$work/second.npz" 0.999999
done <"$work/sizes"

# --- the network's pixels survive, and a graph of its own survives
export_as --model "$work/ir18.pth" --pixels bgr:100:50 "$work/bgr.safetensors"
for file in bgr.onnx bgr.pth bgr.again.safetensors; do
    "$bin/export-student" --model "$work/bgr.safetensors" "$work/$file" >"$work/log" 2>&1 || fail "$file"
    "$bin/export-student" --model "$work/$file" "$work/back.onnx" >"$work/log" 2>&1 || fail "$file"
    for text in channel_order bgr 100 50; do
        grep -aq "$text" "$work/back.onnx" || fail "$file has lost $text"
    done
done

# --- refusals
refused 2 "--model FILE is needed" "$bin/export-student" --to onnx "$work/x.onnx"
refused 2 "a file to write" "$bin/export-student" --model "$work/ir18.pth"
refused 2 "does not end in .onnx, .pth or .safetensors" "$bin/export-student" --model "$work/ir18.pth" "$work/x.bin"
refused 3 "has no state_dict" "$bin/export-student" --model "$work/ir18.onnx" "$work/x.pth"
refused 2 "choices for ONNX" "$bin/export-student" --model "$work/ir18.pth" --bn keep "$work/x.pth"
refused 2 "nothing to put into the graph" "$bin/export-student" --model "$work/teacher.onnx" --preprocess graph "$work/x.onnx"
refused 3 "no-such" "$bin/export-student" --model "$work/no-such.pth" "$work/x.pth"
refused 3 "creating" "$bin/export-student" --model "$work/ir18.pth" "$work/no-folder/x.pth"
[ ! -e "$work/x.pth" ] && [ ! -e "$work/x.onnx" ] || fail "a refused export left a file"
"$bin/export-student" --help | grep -q "export-student --model FILE" || fail "--help"
echo "ok: OpenCV, PyTorch and Cask agree about exported networks"
