#!/bin/sh
# The rooms' dependency rule (docs/architecture.md): who may include whose headers.
set -eu
cd "${CASK_SOURCE:-.}"
bad=0
# allowed ROOM "prefixes": every quoted include in ROOM must start with one of them
allowed() {
    room=$1
    shift
    pattern=$(printf '%s|' "$@")
    pattern=${pattern%|}
    found=$(grep -rnE '^#include "' "$room" --include='*.[ch]' | grep -vE "#include \"($pattern)" || true)
    if [ -n "$found" ]; then
        echo "$room may include only: $*"
        echo "$found"
        bad=1
    fi
}
allowed common common/
allowed kernels/ref kernels/ref/ kernels/kernels.h kernels/shapes.h kernels/backend.h common/
allowed kernels/cpu kernels/cpu/ kernels/kernels.h kernels/shapes.h kernels/backend.h common/
allowed kernels kernels/ common/
allowed data data/ common/
allowed cache cache/ common/
allowed models models/ kernels/kernels.h kernels/shapes.h common/ onnx.pb-c.h
allowed train/losses train/losses/ train/heads/ train/criterion.h train/criterion_config.h kernels/kernels.h common/
allowed train/heads train/losses/ train/heads/ kernels/kernels.h common/
allowed train train/ eval/eval.h models/models.h data/data.h cache/cache.h kernels/kernels.h common/
allowed eval eval/ models/models.h data/data.h cache/cache.h kernels/kernels.h common/
allowed precompute precompute/ models/models.h data/data.h cache/cache.h kernels/kernels.h common/
[ "$bad" = 0 ] && echo "includes follow the rooms"
exit "$bad"
