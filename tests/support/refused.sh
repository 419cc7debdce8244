# Sourced by end-to-end scripts that define $work and fail().

# refused CODE TEXT COMMAND...: must end with CODE and say every part of TEXT (divided by |)
refused() {
    code=$1
    text=$2
    shift 2
    got=0
    "$@" >"$work/log" 2>&1 || got=$?
    [ "$got" -eq "$code" ] || {
        cat "$work/log"
        fail "expected exit code $code, found $got: $*"
    }
    IFS='|'
    for part in $text; do
        grep -qF -- "$part" "$work/log" || {
            cat "$work/log"
            fail "the message does not say \"$part\": $*"
        }
    done
    unset IFS
    ! grep -q "Assertion\|Sanitizer" "$work/log" || fail "$(cat "$work/log")"
}
