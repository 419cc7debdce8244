# No room: the last good checkpoint stays, nothing is half written, the message says what to do, and the
# same command goes on to the same bits when there is room. First by a limit on the size of files, which
# everybody may set; then, for root, on a small file system that is full.
set -eu
. "${CASK_SOURCE:?}/tests/support/begin.sh"
. "$CASK_SOURCE/tests/support/refused.sh"
full="" # a mounted file system
cleanup() {
    [ -z "$full" ] || umount "$full"
    rm -rf "$work"
}
trap cleanup EXIT
"$bin/synth-faces" --out "$work/faces" --identities 8 --images 8 --size 32 --pairs "$work/pairs.txt" \
    --pairs-per-fold 20 --folds 4 >/dev/null 2>&1
settings="--set student.input=32 --set student.embedding=32 --set train.batch=16 --set train.threads=1 --set train.precision=fp32
 --set train.save_head=no --set train.log_steps=1 --set valid.pairs=$work/pairs.txt --set valid.images=$work/faces --set valid.every=4"
# without gnuplot in its PATH: a page is a page, pictures take their time
program="env PATH=$work $bin/train-student --data $work/faces"
run="$program $settings --set train.epochs=8 --set train.checkpoint_steps=6"
limited() { # BLOCKS COMMAND...: files of at most so many blocks of 512 bytes; a write past that is an error, no signal
    (
        trap '' XFSZ
        ulimit -f "$1"
        shift
        exec "$@"
    )
}
whole() { # FOLDER...: no temporary files, JSON and lines that end, tables as wide as their heads
    /usr/bin/python3 - "$@" <<'END' || fail "half a file"
import csv, glob, json, os, sys
for folder in sys.argv[1:]:
    files = [path for path in glob.glob(folder + "/**", recursive=True) if os.path.isfile(path)]
    assert files, folder
    for path in files:
        assert ".tmp." not in path, path
        text = open(path, "rb").read()
        if path.endswith(".json"):
            json.loads(text)
        elif path.endswith(".jsonl"):
            assert text.endswith(b"\n") and all(json.loads(line) for line in text.splitlines()), path
        elif path.endswith(".csv"):
            rows = list(csv.reader(text.decode().splitlines()))
            assert text.endswith(b"\n") and {len(row) for row in rows} == {len(rows[0])}, path
        elif path.endswith(".html"):
            assert text.endswith(b"</html>\n"), path
        elif path.endswith(".safetensors"):
            size = int.from_bytes(text[:8], "little")
            header = json.loads(text[8:8 + size])
            header.pop("__metadata__", None)
            assert len(text) == 8 + size + max(t["data_offsets"][1] for t in header.values()), path
END
}
same() { # FOLDER: the end of the undisturbed run
    for file in student student-best; do
        cmp "$work/whole/$file.safetensors" "$1/$file.safetensors" || fail "$1: $file has other bits"
    done
    for folder in "$work/whole" "$1"; do
        sed 's/,"images_per_second".*//' "$folder/metrics.jsonl" >"$work/lines.$(basename "$folder")"
    done
    cmp "$work/lines.whole" "$work/lines.$(basename "$1")" || fail "$1: other lines"
}

$run --out "$work/whole" >/dev/null 2>&1 || fail "the undisturbed run"
checkpoint=$(stat -c %s "$work"/whole/checkpoints/step-000000032.safetensors)
best=$(stat -c %s "$work/whole/student-best.safetensors")

# --- a checkpoint does not fit
$run --set train.max_steps=20 --out "$work/limited" >/dev/null 2>&1 || fail "twenty steps"
ls "$work/limited/checkpoints" >"$work/before"
refused 3 "the checkpoint of step 24 could not be written, those before it are kept|File too large" \
    limited $((checkpoint / 512 - 1)) $run --out "$work/limited"
ls "$work/limited/checkpoints" | cmp "$work/before" - || fail "other checkpoints than before"
grep -q "the checkpoint of step 24" "$work/limited/failure.json" || fail "failure.json does not say why"
whole "$work/limited"

# --- a line of the log does not fit: it is not there at all
lines=$(wc -c <"$work/limited/metrics.jsonl")
refused 3 "File too large" limited $((lines / 512 + 3)) $run --out "$work/limited"
whole "$work/limited"
$run --out "$work/limited" >/dev/null 2>&1 || fail "going on"
same "$work/limited"

# --- a file system that is full
mkdir "$work/disk"
if ! mount -t tmpfs -o "size=$((2 * checkpoint + 2 * best + 1500000))" none "$work/disk" 2>/dev/null; then
    echo "ok: a limit on files leaves nothing half written (no small file system: mounting is not allowed here)"
    exit 0
fi
full=$work/disk
for try in first second; do # the second one goes on from where the first one is, and comes no further
    refused 3 "the checkpoint of step 18 could not be written, those before it are kept|No space left on device; free some space and run again" \
        $run --out "$full/run"
    [ "$(echo $(ls "$full/run/checkpoints"))" = "step-000000006.safetensors step-000000012.safetensors" ] || fail "$try: $(ls "$full/run/checkpoints")"
    whole "$full/run"
done
mount -o remount,size=200m "$full"
$run --out "$full/run" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "going on with room"; }
grep -q "continuing after step 12" "$work/log" || fail "it did not go on from step 12"
same "$full/run"
rm -rf "$full/run"

# --- a sweep: a table that does not fit leaves the old one
cat >"$work/sweep.yaml" <<'END'
train.epochs: 2
rows:
  - name: one
  - name: two
    train.lr: 0.05
END
sweep="$program $settings --sweep $work/sweep.yaml --out $full/runs"
$sweep --only one >/dev/null 2>&1 || fail "the first row"
cp "$full/runs/sweep.json" "$full/runs/sweep.csv" "$full/runs/sweep.txt" "$full/runs/report.html" "$work/"
head -c 300m /dev/zero >"$full/filler" 2>/dev/null || true
refused 3 "No space left on device; free some space" $sweep
for file in sweep.json sweep.csv sweep.txt report.html; do
    cmp "$work/$file" "$full/runs/$file" || fail "$file is not the old one"
done
whole "$full/runs"
rm "$full/filler"
$sweep >/dev/null 2>"$work/log" || { cat "$work/log"; fail "the sweep with room"; }
grep -q '^two  *1/1' "$full/runs/sweep.txt" || fail "the sweep did not go on: $(cat "$full/runs/sweep.txt")"
whole "$full/runs"
echo "ok: no room leaves nothing half written and loses nothing"
