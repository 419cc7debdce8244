#!/bin/sh
# A training process reads shards without libhdf5: neither the reader's library nor train-student knows it.
set -eu
bin=${CASK_BIN:?}
library=$(find "$bin/.." -name libcask_cache.a | head -n 1)
[ -n "$library" ] || { echo "skipped: no libcask_cache.a near $bin"; exit 77; }
if nm -A "$library" 2>/dev/null | grep -E ' U H5[A-Z]'; then
    echo "the reader's library calls libhdf5"
    exit 1
fi
for program in train-student evaluate; do
    [ -x "$bin/$program" ] || continue
    if ldd "$bin/$program" | grep -i hdf5; then
        echo "$program links libhdf5"
        exit 1
    fi
done
echo "no libhdf5 in the reader"
