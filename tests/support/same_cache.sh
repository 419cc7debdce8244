# Sourced by end-to-end scripts that define $work, $bin and fail().

plain() { sed 's/"created":"[^"]*"/"created":""/; s/"sha256":"[^"]*"}$/"sha256":""}/' "$1/manifest.json"; }

# same A B: two finished caches hold the same files with the same bytes, but for the time of creation
# in manifest.json (and the hash over it) and the journal, which is history; and B verifies
same() {
    (cd "$1" && find . ! -name journal.jsonl ! -name manifest.json | sort) >"$work/names.a"
    (cd "$2" && find . ! -name journal.jsonl ! -name manifest.json | sort) >"$work/names.b"
    cmp "$work/names.a" "$work/names.b" || fail "$2: other files than $1: $(diff "$work/names.a" "$work/names.b")"
    while read -r name; do
        [ -d "$1/$name" ] || cmp "$1/$name" "$2/$name" || fail "$2/$name: other bytes"
    done <"$work/names.a"
    plain "$1" >"$work/manifest.a"
    plain "$2" >"$work/manifest.b"
    cmp "$work/manifest.a" "$work/manifest.b" || fail "$2: the manifests differ in more than the time"
    "$bin/cachetool" verify "$2" >/dev/null || fail "$2: cachetool verify"
}
