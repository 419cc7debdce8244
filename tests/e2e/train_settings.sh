# Settings of a training step that no other test sees at work: over whose gradients train.clip measures,
# train.poly_power, loss.gkd.k_fraction. Expectations come from runs without them, by arithmetic.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
export PYTHONPATH="$CASK_SOURCE/tests/support" PYTHONDONTWRITEBYTECODE=1
"$bin/synth-faces" --out "$work/faces" --identities 8 --images 8 --size 32 >/dev/null 2>&1
train() { # NAME SETTING...
    name=$1
    shift
    for setting in "$@"; do
        set -- "$@" --set "$setting"
        shift
    done
    "$bin/train-student" --data "$work/faces" --set student.input=32 --set student.embedding=32 --set train.batch=16 \
        --set train.threads=1 --set train.precision=fp32 --set train.log_steps=1 --set train.save_head=yes "$@" \
        --out "$work/$name" >"$work/log" 2>&1 || fail "$name"
}

# --- one step: without decay and momentum a clipped step is a part of the whole one
one="train.max_steps=1 train.weight_decay=0 train.momentum=0"
train start $one train.lr=1e-30
train plain $one
train network $one train.clip=1e6
train all $one train.clip=1e6 train.clip_over=all
norm() { sed -n 's/.*"gradient_norm":\([0-9.e+-]*\).*/\1/p' "$work/$1/metrics.jsonl"; }
half() { awk -v norm="$(norm "$1")" 'BEGIN { printf "%.9g", norm / 2 }'; }
train network.half $one "train.clip=$(half network)"
train all.half $one "train.clip=$(half all)" train.clip_over=all
/usr/bin/python3 - "$work" "$(norm network)" "$(norm all)" <<'END' || fail "clipping"
import sys, safetensors
work, network, both = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
start, plain, *clipped = (safetensors.floats("%s/%s/student.safetensors" % (work, name)) for name in
                          ("start", "plain", "network", "all", "network.half", "all.half"))
def length(weights, names):
    return sum((a - b) ** 2 for n in names for a, b in zip(weights[n], start[n])) ** 0.5
head = ["head.weight"]
net = [n for n in start if n not in head and "running_" not in n and "num_batches" not in n]
# the step's length is 0.1 of the gradient's, up to the rounding of weights
assert abs(length(plain, net) / 0.1 / network - 1) < 1e-3, (length(plain, net), network)
assert abs(length(plain, net + head) / 0.1 / both - 1) < 1e-3, (length(plain, net + head), both)
assert both > 1.01 * network, (both, network)
for weights, of_net, of_head in zip(clipped, (1, 1, 0.5, 0.5), (1, 1, 1, 0.5)):
    assert abs(length(weights, net) / length(plain, net) - of_net) < 1e-3
    assert abs(length(weights, head) / length(plain, head) - of_head) < 1e-3
END

# --- a whole epoch of four steps: the rates that metrics.jsonl tells
train square train.epochs=1 train.poly_power=2
sed 's/.*"lr":\([0-9.e+-]*\).*/\1/' "$work/square/metrics.jsonl" |
    awk '{ want = 0.1 * (1 - (NR - 1) / 4) ^ 2; if (!(($1 - want) ^ 2 < 1e-18)) exit 1 } END { exit NR != 4 }' ||
    fail "train.poly_power: $(cat "$work/square/metrics.jsonl")"

# --- half of eight classes is four
. "$CASK_SOURCE/tests/support/small_cache.sh"
gkd() { train "$1" "$2" loss.gkd.weight=1 train.max_steps=3 "cache=$work/cache"; }
gkd number loss.gkd.k=4
gkd part loss.gkd.k_fraction=0.5
gkd other loss.gkd.k_fraction=0.25
/usr/bin/python3 - "$work" <<'END' || fail "loss.gkd.k_fraction"
import sys, safetensors
number, part, other = (safetensors.tensors("%s/%s/student.safetensors" % (sys.argv[1], name)) for name in ("number", "part", "other"))
assert number == part and number != other
END
echo "ok: clipping over network or all, the power of poly, a part of the classes"
