#!/bin/sh
# The Python lines that README.md prints, taken out of it and run as they stand beside a cache that precompute made.
set -eu
readme=${CASK_SOURCE:?}/README.md
python=/usr/bin/python3 # Debian's, which has Debian's h5py
"$python" -c 'import h5py, hdf5plugin' 2>/dev/null || { echo "skipped: no python3-h5py with python3-hdf5plugin"; exit 77; }
. "${CASK_SOURCE:?}/tests/support/begin.sh"
"$bin/synth-faces" --out "$work/faces" --identities 8 --images 9 --size 32 >/dev/null 2>&1
"$bin/train-student" --set student.input=32 --set train.batch=16 --set train.epochs=1 --set train.precision=fp32 \
    --data "$work/faces" --out "$work/teacher" 2>"$work/log" || { cat "$work/log"; exit 1; }
"$bin/precompute" --teacher mobilefacenet --weights "$work/teacher/student.safetensors" --data "$work/faces" --topk 4 \
    --out "$work/shards" 2>"$work/log" || { cat "$work/log"; exit 1; }

sed -n '/^```python$/,/^```$/{/^```/!p;}' "$readme" >"$work/snippet.py"
grep -q 'h5py.File("shards/' "$work/snippet.py" || { echo "FAIL: README.md has no lines that open a shard"; exit 1; }
"$bin/cachetool" export "$work/shards" --npz "$work/rows.npz" --rows 0:64 >/dev/null
# what our own reader says of the same rows
cat >>"$work/snippet.py" <<'END'
import numpy
rows = numpy.load("rows.npz")
def unit(x):
    x = x.astype("f8")
    return x / numpy.linalg.norm(x, axis=1, keepdims=True)
assert embedding.dtype == "f2" and embedding.shape == rows["embedding"][0].shape
assert numpy.abs(unit(embedding) - rows["embedding"][0]).max() < 1e-6
assert numpy.abs(unit(mirrored) - rows["embedding"][1]).max() < 1e-6
assert numpy.abs(rows["embedding"][0] - rows["embedding"][1]).max() > 1e-3
assert numpy.array_equal(classes, rows["topk_index"][0])
assert numpy.abs(cosines - rows["topk_cosine"][0]).max() < 1e-6
assert (cosines[:, :-1] >= cosines[:, 1:]).all()
assert numpy.array_equal(labels, rows["label"]) and labels.max() == 7
END
cd "$work"
"$python" snippet.py
echo "ok: README.md's Python reads a shard as cachetool does"
