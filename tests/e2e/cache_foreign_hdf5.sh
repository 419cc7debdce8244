#!/bin/sh
# libhdf5 1.10.8 crashes on about one in sixty files that an attacker made (with checksums repaired).
# So no program hands it a file: it only writes. Everything that is read, shards and centres of
# others too, goes through our own bounded parsers, here with damaged files under limits of memory
# and time.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"

# --- libhdf5 opens and reads nothing, and loads no plugin
command -v nm >/dev/null || { echo "skipped: no nm"; exit 77; }
for program in precompute cachetool retopk train-student evaluate; do
    [ -x "$bin/$program" ] || fail "$program is missing"
    if nm -D --undefined-only "$bin/$program" | grep -E ' H5(F(open|is_|reopen)|D(open|read)|O(open|visit)|G(open|iterate)|A(open|read)|L(iterate|visit)|LT|DS)'; then
        fail "$program can open or read a file with libhdf5"
    fi
done
mkdir "$work/plugins"
echo "not a library" >"$work/plugins/libevil.so"

# --- a cache, and copies with files cut, overwritten and exchanged
"$bin/synth-faces" --out "$work/faces" --identities 8 --images 16 --size 32 >/dev/null 2>&1
"$bin/train-student" --data "$work/faces" --set student.input=32 --set student.embedding=64 --set train.batch=16 \
    --set train.max_steps=2 --set train.precision=fp32 --out "$work/t" >/dev/null 2>&1
HDF5_PLUGIN_PATH=$work/plugins "$bin/precompute" --teacher mobilefacenet --weights "$work/t/student.safetensors" --data "$work/faces" \
    --out "$work/good" --topk 4 --precision fp32 --shard-images 64 2>/dev/null || fail "precompute"

# limited NAME COMMAND...: 0 or an error that is told, within 2 GB and 20 s; never a signal
limited() {
    code=0
    (
        ulimit -v 2000000
        ulimit -t 20
        exec "$@"
    ) >"$work/out" 2>&1 || code=$?
    [ "$code" -lt 126 ] || { cat "$work/out"; fail "exit code $code: $*"; }
    [ "$code" -eq 0 ] || grep -q "error: \|bad: \|\"good\": false\|differ\|lost" "$work/out" || { cat "$work/out"; fail "no message: $*"; }
}

try_all() {
    bad=$1
    limited "$bin/cachetool" info "$bad"
    limited "$bin/cachetool" verify "$bad"
    limited "$bin/cachetool" dump "$bad" --sample 3
    limited "$bin/cachetool" diff "$bad" "$work/good"
    limited "$bin/cachetool" export "$bad" --h5 "$work/x.h5"
    limited "$bin/cachetool" merge "$work/merged" "$bad"
    limited "$bin/cachetool" retopk "$bad" --out "$work/other" --topk 2
    limited "$bin/train-student" --cache "$bad" --set train.batch=16 --set train.max_steps=1 --set train.precision=fp32 \
        --set student.embedding=64 --set loss.kd.weight=1 --out "$work/run"
    rm -f "$bad"/*.idx # the path that parses HDF5's own structures
    limited "$bin/cachetool" repair-index "$bad"
    rm -rf "$work/merged" "$work/other" "$work/run" "$work/x.h5"
}

seed=1
random() { # a number below $1
    seed=$(((seed * 1103515245 + 12345) % 2147483648))
    echo $((seed / 65536 % $1))
}

for name in centers.h5 shard-00000.h5 shard-00001.h5; do
    size=$(wc -c <"$work/good/$name")
    for kind in cut empty structure overwritten foreign; do
        rm -rf "$work/bad"
        cp -r "$work/good" "$work/bad"
        case $kind in
        cut) head -c "$(random "$size")" "$work/good/$name" >"$work/bad/$name" ;;
        empty) : >"$work/bad/$name" ;;
        structure) # a byte in each of the first kilobytes, where superblock and headers are
            for at in 9 30 44 60 100 200 400 800; do
                printf '\377' | dd of="$work/bad/$name" bs=1 seek=$((at + $(random 8))) conv=notrunc 2>/dev/null
            done ;;
        overwritten)
            dd if=/dev/urandom of="$work/bad/$name" bs=512 count=4 seek="$(random $((size / 512 + 1)))" conv=notrunc 2>/dev/null ;;
        foreign) cp "$work/good/manifest.json" "$work/bad/$name" ;;
        esac
        try_all "$work/bad"
    done
done

# what is asked for as --centers is a checkpoint, and an HDF5 file is refused as one
limited "$bin/precompute" --teacher mobilefacenet --weights "$work/t/student.safetensors" --data "$work/faces" --out "$work/c" \
    --topk 4 --centers "$work/good/centers.h5"
[ "$code" -eq 3 ] || fail "--centers centers.h5 gave $code"
echo "ok: libhdf5 reads no file; damaged ones are refused by our own parsers"
