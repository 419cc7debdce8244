# A run that no longer trains ends at once: the message names the step, the loss and the layer, the last
# good checkpoint stays, the page has the reason on top, and a resumed run ends where an uninterrupted one
# does, with the same words.
set -eu
. "${CASK_SOURCE:?}/tests/support/refused.sh"
. "${CASK_SOURCE:?}/tests/support/begin.sh"
"$bin/synth-faces" --out "$work/faces" --identities 8 --images 8 --size 32 >/dev/null 2>&1
# without gnuplot in its PATH: the words are what counts here, pictures take their time
train="env PATH=$work $bin/train-student --data $work/faces --set student.input=32 --set student.embedding=32 --set train.batch=16
 --set train.threads=1 --set train.precision=fp32 --set train.save_head=no"
$train --set train.epochs=1 --out "$work/first" >/dev/null 2>&1 || fail "the first run"

# --- weights with one fault each
spoil() { # NAME VALUE TENSOR [COUNT]
    name=$1 value=$2
    shift 2
    /usr/bin/python3 "$CASK_SOURCE/tests/support/spoil_weight.py" "$work/first/student.safetensors" "$work/$name.safetensors" $value "$@" ||
        fail "weights"
}
spoil nan nan conv_6_sep.conv.weight 1
spoil large 3e38 conv_6_sep.conv.weight
spoil gamma 3e38 conv_6_sep.bn.weight
spoil dead 0 output_layer.linear.weight

stops() { # NAME TEXT SETTINGS...: the run ends with TEXT, before and after a restart, and tells it everywhere
    name=$1 text=$2
    shift 2
    refused 3 "$text" $train --set train.epochs=10 --out "$work/$name" "$@"
    /usr/bin/python3 - "$work/$name" "$text" <<'END' || fail "$name: failure.json and the page"
import html, json, sys
failure = json.load(open(sys.argv[1] + "/failure.json"))
page = open(sys.argv[1] + "/report.html", encoding="utf-8").read()
shown = html.unescape(page.split('<p data-key="failure">')[1].split("</p>")[0])
assert shown == failure["message"] and page.index('data-key="failure"') < page.index('class="tiles"'), (shown, failure)
for part in sys.argv[2].split("|"):
    assert part in shown, (part, shown)
assert failure["message"].startswith("step %d: " % (failure["step"] + 1)), failure
END
    cp "$work/$name/failure.json" "$work/$name.json"
    refused 3 "$text" $train --set train.epochs=10 --out "$work/$name" "$@"
    cmp "$work/$name.json" "$work/$name/failure.json" || fail "$name: the second time something else is told"
    [ ! -e "$work/$name/student.safetensors" ] || fail "$name: a run that failed has a student"
}
refused 3 'student.init: |nan.safetensors: tensor "conv_6_sep.conv.weight": element 0 of 65536 is nan' \
    $train --set train.epochs=10 --out "$work/nan" --set student.init="$work/nan.safetensors"
stops large 'step 1: the loss "arcface" is |the first layer with an output that is not finite is conv_6_sep.conv (' \
    --set student.init="$work/large.safetensors"
stops gamma 'step 1: the loss "arcface" is |the first layer with an output that is not finite is conv_6_sep.bn (' \
    --set student.init="$work/gamma.safetensors"
dead="--set student.init=$work/dead.safetensors --set train.freeze=output_layer.linear.weight"
stuck='step 20: the loss "arcface" has been |for 20 steps of different images: it is stuck|from layer output_layer.linear on the network gives the same output'
stops dead "$stuck" $dead

# --- the count of equal losses is part of a checkpoint
$train --set train.epochs=10 --set train.max_steps=12 --out "$work/restarted" $dead >/dev/null 2>&1 || fail "twelve of twenty steps"
refused 3 "$stuck" $train --set train.epochs=10 --out "$work/restarted" $dead
cmp "$work/dead.json" "$work/restarted/failure.json" || fail "stuck after a restart: other words"

# --- a loss that runs away: the last good checkpoint stays, and the run ends there again
away="--set train.lr=1000 --set train.weight_decay=10 --set train.checkpoint_steps=1"
stops away "is |. Nothing of this step is kept" $away
step=$(sed -n 's/.*"step": \([0-9]*\).*/\1/p' "$work/away.json")
[ "$step" -gt 1 ] && [ -e "$work/away/checkpoints/step-00000000$step.safetensors" ] || fail "no checkpoint of step $step"
$train --set train.epochs=10 --out "$work/back" $away --set train.max_steps=1 >/dev/null 2>&1 || fail "one step"
refused 3 "Nothing of this step" $train --set train.epochs=10 --out "$work/back" $away
cmp "$work/away.json" "$work/back/failure.json" || fail "a restarted run ends elsewhere"
echo "ok: what no longer trains says where, and keeps what was good"
