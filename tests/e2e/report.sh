# report.html in a real browser: every picture is drawn, every number is result.json's, nothing is
# loaded from elsewhere, no text of a user becomes markup; without gnuplot, and of runs that did not
# end. And the TensorBoard files of the same runs, read by a reader of its own.
set -eu
source=${CASK_SOURCE:?}
. "${CASK_SOURCE:?}/tests/support/begin.sh"
. "$source/tests/support/refused.sh"
python=/usr/bin/python3
command -v $python >/dev/null || { echo "skipped: no python3 to read the page"; exit 77; }
command -v gnuplot >/dev/null || { echo "skipped: gnuplot is not installed"; exit 77; }

"$bin/synth-faces" --out "$work/faces" --identities 12 --images 8 --size 32 --pairs "$work/pairs.txt" \
    --pairs-per-fold 20 --folds 5 >/dev/null 2>&1
train="$bin/train-student --set student.input=32 --set student.embedding=32 --set train.batch=16 --set train.precision=fp32
 --set train.log_steps=2 --set valid.pairs=$work/pairs.txt --set valid.images=$work/faces"
$train --data "$work/faces" --set train.epochs=2 --out "$work/teacher" >/dev/null 2>&1 || fail "the teacher"
"$bin/precompute" --teacher mobilefacenet --weights "$work/teacher/student.safetensors" --data "$work/faces" \
    --out "$work/cache" --topk 4 >/dev/null 2>&1 || fail precompute

# ---- one run, in a folder with a name that is no markup
run="$work/kd <b>&amp; 'x\""
$train --cache "$work/cache" --set train.epochs=4 --set train.clip=5 --set valid.every=5 --set loss.kd.weight=2 \
    --set loss.embedding.weight=1 --out "$run" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "the run"; }
[ -s "$run/report.html" ] || fail "no report.html: $(cat "$work/log")"
cp "$run/report.html" "$work/first.html"
"$bin/train-student" --report "$run" >"$work/out" || fail "--report"
[ "$(cat "$work/out")" = "$run/report.html" ] || fail "--report says $(cat "$work/out")"
cmp "$run/report.html" "$work/first.html" || fail "the same run gave another page"

# ---- a sweep with seeds
cat >"$work/sweep.yaml" <<'END'
student: {input: 32, embedding: 32}
train: {batch: 16, epochs: 2, precision: fp32, threads: 1, log_steps: 3}
rows:
  - name: plain
    seeds: [1, 2]
  - name: "KD <script>alert(1)</script>"
    loss: {kd: {weight: 1}}
  - name: angle
    loss: {embedding: {weight: 1}}
END
"$bin/train-student" --cache "$work/cache" --sweep "$work/sweep.yaml" --set valid.pairs="$work/pairs.txt" \
    --set valid.images="$work/faces" --set valid.every=4 --out "$work/runs" >/dev/null 2>"$work/log" ||
    { cat "$work/log"; fail "the sweep"; }
[ -s "$work/runs/report.html" ] || fail "no report.html of the sweep: $(cat "$work/log")"

# ---- TensorBoard's files hold the lines of metrics.jsonl
for folder in "$run" "$work/runs/plain" "$work/runs/angle"; do
    $python "$source/tests/support/read_tensorboard.py" "$folder" >"$work/out" 2>&1 || { cat "$work/out"; fail "TensorBoard files of $folder"; }
done

# ---- runs that did not end
$train --data "$work/faces" --set train.epochs=2000 --out "$work/killed" >/dev/null 2>&1 &
pid=$!
tries=0
until [ -e "$work/killed/metrics.jsonl" ] && [ "$(wc -l <"$work/killed/metrics.jsonl")" -ge 3 ]; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail "no metrics after 30 s"
    sleep 0.05
done
"$bin/train-student" --report "$work/killed" >/dev/null || fail "--report of a run that is at work"
kill -9 $pid
wait $pid 2>/dev/null || true
printf '{"step": 99, "torn' >>"$work/killed/metrics.jsonl"
"$bin/train-student" --report "$work/killed" >/dev/null || fail "--report of a killed run"
grep -q 'data-key="state">step [0-9]* of 12000 (0 %)<' "$work/killed/report.html" || fail "the killed run's state"
explode="--set train.epochs=200 --set train.lr=1000 --set train.weight_decay=10"
$train --data "$work/faces" $explode --out "$work/failed" >/dev/null 2>&1 && fail "it did not fail"
[ -s "$work/failed/report.html" ] || fail "a failed run left no page"
grep -q 'data-key="state">failed after step [0-9]*<' "$work/failed/report.html" || fail "the failed run's state"
grep -q 'data-key="failure">step [0-9]*: ' "$work/failed/report.html" || fail "the failed run's reason"
mkdir "$work/empty"
refused 3 "$work/empty" "$bin/train-student" --report "$work/empty"
refused 3 "$work/nowhere" "$bin/train-student" --report "$work/nowhere"
cp -r "$work/killed" "$work/broken"
echo '{' >"$work/broken/result.json"
refused 3 "broken/result.json" "$bin/train-student" --report "$work/broken"

# ---- without gnuplot the tables stay and a sentence says so
mkdir "$work/path"
PATH="$work/path" "$bin/train-student" --report "$run" >/dev/null || fail "--report without gnuplot"
cp "$run/report.html" "$work/without.html"
"$bin/train-student" --report "$run" >/dev/null
cmp "$run/report.html" "$work/first.html" || fail "the page is not the first again"

# ---- what every page must hold, browser or not
cat >"$work/pages.py" <<'END'
import re, sys
for path in sys.argv[1:]:
    page = open(path, encoding="utf-8").read()
    bare = page.replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")
    for word in ("http:", "https:", "<img", "<link", "@import", "url(", "<iframe", " src=", "<b>&amp;amp;", "alert(1)</script>"):
        assert word not in bare, (path, word)
    for target in re.findall(r'href=["\']([^"\']*)', bare):
        assert target.startswith("#") or (target.startswith("./") and target.endswith("/report.html")), (path, target)
    ids = re.findall(r'\sid=["\']([^"\']*)', page)
    assert len(ids) == len(set(ids)), (path, sorted(i for i in ids if ids.count(i) > 1)[:5])
without = open(sys.argv[-1], encoding="utf-8").read()
assert "<svg" not in without and without.count("gnuplot is not in PATH") == 1 and "<table" in without
END
$python "$work/pages.py" "$run/report.html" "$work/runs/report.html" "$work/runs/plain/report.html" "$work/killed/report.html" \
    "$work/failed/report.html" "$work/without.html" || fail "a page"

# ---- in a browser
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
[ -n "$browser" ] || { echo "skipped: the pages are as they should be, but there is no chromium to open them"; exit 77; }

# The page with a script at its end that says what is drawn, and sorts the table by each heading.
cat >"$work/measure.js" <<'END'
<script>window.addEventListener('load', function () {
  var box = function (e) { var r = e.getBoundingClientRect(); return [r.width, r.height]; };
  var out = {pictures: [], numbers: {}, orders: {}, width: document.documentElement.scrollWidth, b: document.querySelectorAll('h1 b, td b').length};
  document.querySelectorAll('svg').forEach(function (s) {
    var drawn = 0;
    s.querySelectorAll('g[id*="_plot_"] path, g[id*="_plot_"] polygon, g[id*="_plot_"] use').forEach(function (p) {
      var r = box(p); if (r[0] > 1 || r[1] > 1) drawn++; });
    out.pictures.push({box: box(s), drawn: drawn, heading: s.parentNode.querySelector('h3').textContent,
      texts: s.querySelectorAll('text').length}); });
  document.querySelectorAll('[data-key]').forEach(function (e) {
    out.numbers[e.dataset.key] = ['value' in e.dataset ? parseFloat(e.dataset.value) : null, e.textContent]; });
  document.querySelectorAll('button.sort').forEach(function (b) {
    b.click();
    out.orders[b.textContent] = Array.from(document.querySelectorAll('table.sortable tbody tr')).map(function (r) {
      return r.cells[0].textContent; }); });
  var pre = document.createElement('pre'); pre.id = 'measured'; pre.textContent = JSON.stringify(out); document.body.appendChild(pre);
});</script>
END
look() {
    sed '/<\/body>/d' "$1" >"$work/page.html"
    cat "$work/measure.js" >>"$work/page.html"
    echo '</body></html>' >>"$work/page.html"
    "$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$work/chrome" --window-size=1240,1000 --enable-logging=stderr \
        --dump-dom "file://$work/page.html" >"$work/dom.html" 2>"$work/chrome.log" || { cat "$work/chrome.log"; fail "chromium"; }
    grep -q 'id="measured"' "$work/dom.html" || fail "$1: nothing was measured"
    ! grep CONSOLE "$work/chrome.log" || fail "$1: the page's console is not empty"
}
cat >"$work/check.py" <<'END'
import html, json, re, sys
dom, kind, folder = sys.argv[1:4]
text = open(dom, encoding="utf-8").read()
out = json.loads(html.unescape(re.search(r'<pre id="measured">(.*?)</pre>', text, re.S).group(1)))
least = {"run": 8, "sweep": 6, "killed": 3}[kind]
assert len(out["pictures"]) >= least, [p["heading"] for p in out["pictures"]]
for p in out["pictures"]:
    assert p["box"][0] > 300 and p["box"][1] > 150 and p["drawn"] > 0 and p["texts"] > 2, p
assert out["width"] <= 1240 and out["b"] == 0, out["width"]
shown = {k: v[0] for k, v in out["numbers"].items()}
def same(key, want, text=None):
    assert shown[key] == want, (key, shown[key], want)
    assert text is None or out["numbers"][key][1].replace("\u202f", "") == text, (key, out["numbers"][key], text)
if kind == "run":
    result = json.load(open(folder + "/result.json"))
    accuracy = result["validation"]["accuracy"]
    same("result.validation.accuracy", accuracy, "%.2f%%" % accuracy)
    same("result.steps", result["steps"], "%d" % result["steps"])
    same("result.teacher_passes_saved", result["teacher_passes_saved"], "%d" % result["teacher_passes_saved"])
    same("final.total", result["final"]["total"], "%.4f" % result["final"]["total"])
    same("final.accuracy_percent", 100 * result["final"]["accuracy"])
    same("seconds.5", result["validation_seconds"])
    seconds = [shown["seconds.%d" % i] for i in range(7)]  # forward, losses, backward, update, waiting, validation, else
    assert abs(sum(seconds) - result["seconds"]) < 1e-6 * sum(seconds), (seconds, result["seconds"])
    lines = [json.loads(line) for line in open(folder + "/metrics.jsonl")]
    for i, stage in enumerate(("forward", "losses", "backward", "update")):
        want = sum(line["stage_seconds"][stage] for line in lines if "stage_seconds" in line)
        assert abs(seconds[i] - want) < 1e-9 and want > 0, (stage, seconds[i], want)
    for s in json.load(open(folder + "/evaluation.json"))["sets"]:
        same(s["name"] + ".accuracy", s["accuracy"])
        same(s["name"] + ".pairs", s["pairs"])
        assert s["protocol"] in html.unescape(text), s
    assert out["numbers"]["state"][1] == "finished"
if kind == "sweep":
    table = json.load(open(folder + "/sweep.json"))
    for row in table["rows"]:
        for s in row["accuracy"]:
            same("%s.accuracy.%s" % (row["name"], s["set"]), s["mean"], "%.2f" % s["mean"])
        same(row["name"] + ".seconds", row["seconds"])
        same(row["name"] + ".teacher_passes_saved", row["teacher_passes_saved"])
    order = out["orders"]["seconds"]
    seconds = {r["name"]: r["seconds"] for r in table["rows"]}
    assert order == sorted(seconds, key=seconds.get), (order, seconds)
    assert out["orders"]["row"] == sorted(seconds, key=str.lower), out["orders"]
END
look "$run/report.html"
$python "$work/check.py" "$work/dom.html" run "$run" || fail "the run's page"
look "$work/runs/report.html"
$python "$work/check.py" "$work/dom.html" sweep "$work/runs" || fail "the sweep's page"
look "$work/killed/report.html"
$python "$work/check.py" "$work/dom.html" killed "$work/killed" || fail "the killed run's page"
echo "ok: the pages are drawn, tell what the files say, and need nothing but themselves"
