# Checkpoints as training scripts leave them: wrappers, prefixes, heads and half precision are understood; of what does
# not fit, the file, the tensor, what was expected and what to do are told.
set -eu
here=${CASK_SOURCE:?}/tests/e2e
. "$here/../support/refused.sh"
/usr/bin/python3 -c 'import torch' 2>/dev/null || { echo "skipped: python3 has no torch"; exit 77; }
. "${CASK_SOURCE:?}/tests/support/begin.sh"

/usr/bin/python3 -B "$here/checkpoint_kinds.py" "$work" 2>"$work/log" || fail "$(cat "$work/log")"
while IFS='|' read -r name code text; do
    refused "$code" "$text" "$bin/export-student" --pixels rgb:127.5:127.5 --model "$work/$name.pth" "$work/out.safetensors"
    if [ "$code" -eq 0 ]; then
        rm "$work/out.safetensors"
    elif [ -e "$work/out.safetensors" ]; then
        fail "$name left a file"
    fi
done <"$work/expected"
[ "$(wc -l <"$work/expected")" -ge 18 ] || fail "cases are missing"
# the network by name: ImageNet's 1000 numbers are taken if somebody wants them
"$bin/export-student" --net resnet18 --model "$work/imagenet.pth" "$work/out.safetensors" >"$work/log" 2>&1 || fail "by name"
echo "ok: $(wc -l <"$work/expected") kinds of checkpoints"
