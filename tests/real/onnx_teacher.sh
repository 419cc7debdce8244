# A real ONNX teacher on real faces reproduces the accuracy that another program measured: OpenCV 4.6's
# DNN module, no flip, folds 5 to 7 of LFW; within 3 pairs (0.5 points) in each fold of 600.
set -eu
model=${CASK_SHARED:-}/data/weights/faceplugin_fr_feature.onnx
faces=${CASK_SHARED:-}/data/faces
[ -r "$model" ] && [ -r "$faces/pairs_val.txt" ] || { echo "skipped: no $model with $faces/pairs_val.txt"; exit 77; }
. "${CASK_SOURCE:?}/tests/support/begin.sh"

"$bin/evaluate" --model "$model" --pairs "$faces/pairs_val.txt" --images "$faces/val" --flip none \
    --preprocess bgr:127.5:127.5 --precision fp32 --json "$work/real.json" 2>"$work/log" || { cat "$work/log"; exit 1; }

/usr/bin/python3 -c 'import json, sys
print(*json.load(open(sys.argv[1]))["sets"][0]["folds"], sep="\n")' "$work/real.json" >"$work/folds"
printf '98.6667\n99.1667\n98.8333\n' | paste "$work/folds" - | awk '
    { gap = $1 - $2; gap = gap < 0 ? -gap : gap; lines += NF == 2; worst = gap > worst ? gap : worst }
    END {
        if (lines != 3 || !(worst <= 0.5 + 1e-6)) { print "expected 98.67 99.17 98.83, each within 0.5"; exit 1 }
        printf "ok: largest gap %.2f points, allowed 0.50\n", worst
    }'
