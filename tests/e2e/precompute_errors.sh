# Bad input to precompute: the documented exit code, a message with file, expected, found and the way
# out, and nothing lost.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
. "$CASK_SOURCE/tests/support/refused.sh"
mounted=
trap '[ -z "$mounted" ] || umount "$mounted"; chmod -R u+rwx "$work"; rm -rf "$work"' EXIT
"$bin/synth-faces" --out "$work/faces" --identities 8 --images 16 --size 32 >/dev/null 2>&1
"$bin/train-student" --data "$work/faces" --set student.input=32 --set student.embedding=64 --set train.batch=16 \
    --set train.max_steps=2 --set train.precision=fp32 --out "$work/t" >/dev/null 2>&1
teacher=$work/t/student.safetensors

# A later flag wins, so a test names only what is wrong.
build() {
    "$bin/precompute" --teacher mobilefacenet --weights "$teacher" --data "$work/faces" --out "$work/out" --topk 4 \
        --precision fp32 "$@"
}

# the command line: 2
refused 2 "expected --teacher" "$bin/precompute"
refused 2 "expected --out" "$bin/precompute" --teacher mobilefacenet --weights "$teacher" --data "$work/faces"
refused 2 "--tempratures|--temperatures" build --tempratures 1,4
refused 2 "--shard-image|--shard-images" build --shard-image=64
refused 2 "--topk" build --topk 0
refused 2 "--topk" build --topk many
refused 2 "--temperatures" build --temperatures 0
refused 2 "--temperatures" build --temperatures 1,nan
refused 2 "--temperatures|expected 1 to 8, found 9" build --temperatures 1,2,3,4,5,6,7,8,9
refused 2 "--shard-images" build --shard-images 3
refused 2 "--embedding|f16" build --embedding f32
refused 2 "rgb:MEAN:SCALE|rgb:1" build --preprocess rgb:1
refused 2 "mobilfacenet|mobilefacenet" build --teacher mobilfacenet
refused 2 "onnx|auto" build --teacher onnx
refused 2 "cuda|cpu" build --backend cuda
refused 2 "ref64|cpu or ref" build --backend ref64
[ ! -e "$work/out" ] || fail "a refused command line left a folder"

# the teacher's file: 3
refused 3 "$work/none.pth|No such file" build --weights "$work/none.pth"
head -c 5000 "$teacher" >"$work/cut.safetensors"
refused 3 "cut.safetensors" build --weights "$work/cut.safetensors"
head -c 300000 "$teacher" >"$work/cut.safetensors"
refused 3 "cut.safetensors" build --weights "$work/cut.safetensors"
: >"$work/empty.pth"
refused 3 "empty.pth" build --weights "$work/empty.pth"
refused 3 "student.safetensors|ir18|missing|conv1.weight" build --teacher ir18
refused 3 "$work/faces" build --weights "$work/faces"

# the data: 3
refused 3 "$work/nowhere" build --data "$work/nowhere"
mkdir "$work/nothing"
refused 3 "$work/nothing" build --data "$work/nothing"
refused 3 "size.jpg|112" sh -c "mkdir -p $work/big/a && '$bin/synth-faces' --out $work/one --identities 1 --images 1 --size 112 &&
    cp $work/one/*/*.jpg $work/big/a/size.jpg && '$bin/precompute' --teacher auto --weights $teacher --data $work/big --out $work/big-out"

# what may not be read or written; root may do anything, so it asks as somebody else
as_user=
if [ "$(id -u)" -eq 0 ]; then
    chmod -R a+rX "$work"
    as_user="setpriv --reuid=65534 --regid=65534 --clear-groups"
fi
if $as_user test -r "$teacher" -a -x "$bin/precompute" 2>/dev/null; then
    cp -r "$work/faces" "$work/locked"
    chmod 000 "$work/locked/id_0003"
    refused 3 "id_0003|Permission denied" $as_user "$bin/precompute" --teacher auto --weights "$teacher" --data "$work/locked" --out "$work/l"
    mkdir "$work/readonly" && chmod 555 "$work/readonly"
    refused 3 "readonly/cache|Permission denied" $as_user "$bin/precompute" --teacher auto --weights "$teacher" --data "$work/faces" \
        --out "$work/readonly/cache"
else
    echo "not tried: unreadable folders (root, and no way to be somebody else)"
fi
refused 3 "teacher.safetensors" sh -c "cp $teacher $work/teacher.safetensors && '$bin/precompute' --teacher auto --weights $teacher \
    --data $work/faces --out $work/teacher.safetensors"

# the centres: 3
refused 3 "$work/none.pt" build --centers "$work/none.pt"
refused 3 "--centers mean" build --centers classifier
refused 3 "expected class centres [7, 64], found 8" build --centers "$teacher" --data "$work/faces" --limit 112

# one image that does not decode: counted, listed, left out of training
cp -r "$work/faces" "$work/torn"
head -c 300 "$work/faces/id_0002/id_0002_0007.jpg" >"$work/torn/id_0002/id_0002_0007.jpg"
build --data "$work/torn" --out "$work/torn-out" 2>"$work/log" || { cat "$work/log"; fail "one bad image stopped the build"; }
grep -q "1 of the 128 images" "$work/log" || fail "the bad image was not counted: $(cat "$work/log")"
[ "$(wc -l <"$work/torn-out/bad.csv")" -eq 2 ] || fail "bad.csv: $(cat "$work/torn-out/bad.csv")"
grep -q '^38,"id_0002/id_0002_0007.jpg","' "$work/torn-out/bad.csv" || fail "bad.csv: $(cat "$work/torn-out/bad.csv")"
"$bin/cachetool" verify "$work/torn-out" >/dev/null || fail "cachetool verify"
"$bin/train-student" --cache "$work/torn-out" --set train.batch=16 --set train.max_steps=1 --set train.precision=fp32 \
    --set student.embedding=64 --set loss.embedding.weight=1 --out "$work/run" >"$work/log" 2>&1 || { cat "$work/log"; fail "training around a bad image"; }
grep -q "1 of 128 images could not be decoded" "$work/log" || fail "training does not mention it: $(cat "$work/log")"

# too many of them: the first are named, all seen are listed
for image in "$work"/torn/id_0004/*.jpg; do echo broken >"$image"; done
refused 3 "torn|--max-bad-percent 5|id_0002_0007.jpg|id_0004|bad.csv" build --data "$work/torn" --out "$work/bad-out"
grep -q "id_0004" "$work/bad-out/bad.csv" || fail "bad.csv is not written as images fail"
build --data "$work/torn" --out "$work/bad-out" --max-bad-percent 20 2>"$work/log" || { cat "$work/log"; fail "20 % allowed"; }
[ "$(wc -l <"$work/bad-out/bad.csv")" -eq 18 ] || fail "bad.csv lists $(wc -l <"$work/bad-out/bad.csv") lines, expected 18"
grep -q "more of them only in bad.csv" "$work/log" || fail "the log names every bad image"

# weights that are no numbers, or make no embedding: said before any image is read
if python=$(command -v /usr/bin/python3); then
    for value in nan 3e38; do
        "$python" "$CASK_SOURCE/tests/support/spoil_weight.py" "$teacher" "$work/$value.safetensors" $value
    done
    refused 3 "nan.safetensors: tensor|: element 0 of |is nan, expected a finite number" build --weights "$work/nan.safetensors" --out "$work/nan-out"
    refused 3 "built-in picture 0|nan|--preprocess" build --weights "$work/3e38.safetensors" --out "$work/nan-out"
fi

# a full disk: said before the work where it can be known, and nothing half-written is taken for whole
mkdir "$work/small"
if [ "$(id -u)" -eq 0 ] && mount -t tmpfs -o size=96k tmpfs "$work/small" 2>/dev/null; then
    mounted=$work/small
    refused 3 "small/cache|GB free|make room" build --out "$work/small/cache" --shard-images 64
    mount -o remount,size=160k "$work/small"
    refused 3 "small/cache|No space left|free some space" build --out "$work/small/cache" --shard-images 64
    mount -o remount,size=2m "$work/small"
    build --out "$work/small/cache" --shard-images 64 2>"$work/log" || { cat "$work/log"; fail "going on with more room"; }
    grep -q "resuming" "$work/log" || fail "it began anew: $(cat "$work/log")"
    "$bin/cachetool" verify "$work/small/cache" >/dev/null || fail "cachetool verify after a full disk"
else
    echo "not tried: a full disk (no right to mount a tmpfs)"
fi
(
    ulimit -f 16 # blocks of 512 bytes: no shard fits
    trap '' XFSZ
    refused 3 "limited" build --out "$work/limited"
) || exit 1
build --out "$work/limited" 2>"$work/log" || { cat "$work/log"; fail "going on after the disk was full"; }
"$bin/cachetool" verify "$work/limited" >/dev/null || fail "cachetool verify after a full disk"

# started without standard streams: no file gets their numbers, and with them the log's lines
build --out "$work/closed" --shard-images 64 <&- >&- 2>&- || fail "a build without standard streams"
"$bin/cachetool" verify "$work/closed" >/dev/null || fail "cachetool verify of a build without standard streams"
"$bin/cachetool" info "$work/closed" >&- 2>"$work/log" && fail "a closed stdout was no error"
grep -q "standard output" "$work/log" || fail "a closed stdout: $(cat "$work/log")"
echo "ok: every refusal names what is wrong"
