# The script that made tests/golden/verification is run again, and the program agrees
# with what it says today (its bytes may differ: another numpy may add in another order).
set -eu
python=/usr/bin/python3
"$python" -c 'import numpy, sklearn' 2>/dev/null || { echo "skipped: no python3-numpy with python3-sklearn"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" "$CASK_SOURCE/tests/golden/make_verification.py" "$work"
CASK_VERIFICATION=$work "$CASK_BIN/../tests/test_golden_verification" >"$work/log" 2>&1 || {
    cat "$work/log"
    exit 1
}
echo "ok: numpy and scikit-learn give these counts today too"
