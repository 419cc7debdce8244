# What a script of tests/e2e begins with: the programs in $bin, a folder $work that goes with it, and
# a way to fail, which shows what was last written to $work/log.
bin=${CASK_BIN:?}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() {
    echo "FAIL: $*"
    [ ! -f "$work/log" ] || cat "$work/log"
    exit 1
}
