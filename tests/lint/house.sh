#!/bin/sh
# House rules a machine can check: sizes, banned calls, third-party headers in their own files.
set -eu
cd "${CASK_SOURCE:-.}"
bad=0
complain() { echo "$1"; echo "$2"; bad=1; }

rooms="common kernels models data cache precompute train eval"
sources=$(find $rooms -name '*.[ch]')

long=$(wc -l $sources | awk '$2 != "total" && $1 > 500')
[ -z "$long" ] || complain "files over 500 lines:" "$long"

# A function body begins with '{' in the first column and ends with '}' there.
long=$(awk 'FNR == 1 {start = 0} /^\{/ {start = FNR} /^\}/ && start {if (FNR - start > 80) print FILENAME ":" start ": " FNR - start " lines"; start = 0}' $sources)
[ -z "$long" ] || complain "functions over 80 lines:" "$long"

banned='\b(strcpy|sprintf|gets|strtok|system|popen|alloca|setjmp|longjmp|abort|rand|srand)\('
found=$(grep -nE "$banned" $sources || true)
[ -z "$found" ] || complain "banned calls:" "$found"

# The heap belongs to common/mem.c; exit belongs to nobody; stdout belongs to programs.
found=$(grep -nE '\b(malloc|calloc|realloc|aligned_alloc|posix_memalign)\(' $sources | grep -v '^common/mem.c:' || true)
[ -z "$found" ] || complain "heap calls outside common/mem.c:" "$found"
found=$(grep -nE '(^|[^_a-z])exit\(' $sources || true)
[ -z "$found" ] || complain "exit() in a library:" "$found"

# One third-party library, one place.
confined() {
    found=$(grep -lE "#include <$1>" $sources | grep -vE "$2" || true)
    [ -z "$found" ] || complain "<$1> outside $2:" "$found"
}
confined 'yaml.h' '^common/yaml.c$'
confined 'jansson.h' '^common/json.c$'
confined '(sha2|xxhash|zlib).h' '^common/hash.c$'
confined 'turbojpeg.h' '^data/(decode|encode)_jpeg.c$'
confined 'png.h' '^data/decode_png.c$'
confined 'hdf5.h' '^cache/'
confined 'lz4.h' '^cache/lz4_frame.c$'
confined 'dnnl.*.h' '^kernels/cpu/'
# One more place: a bench that runs oneDNN op by op, so that Cask is compared with it and not with itself.
found=$(grep -rlE '#include <dnnl' tests --include='*.[ch]' | grep -v '^tests/bench/onednn_calls.h$' || true)
[ -z "$found" ] || complain "<dnnl.h> in tests outside tests/bench/onednn_calls.h:" "$found"

found=$(grep -nE 'TODO|FIXME|XXX' $sources || true)
[ -z "$found" ] || complain "unfinished business:" "$found"
[ "$bad" = 0 ] && echo "house rules hold for $(echo "$sources" | wc -w) files"
exit "$bad"
