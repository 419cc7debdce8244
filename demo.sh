#!/bin/sh
# The whole path on drawn faces, with no download of data or weights: a teacher is trained, cached once, and
# three students are trained: one without a teacher, two from the one cache. Three to five minutes on two cores.
#   sh demo.sh [FOLDER]        default: build/demo
set -eu
cd "$(dirname "$0")"
out=${1:-build/demo}
bin=build/bin
start=$(date +%s)
step=0
steps=8

say() {
    step=$((step + 1))
    printf '\n[%d/%d, %3d s] %s\n' "$step" "$steps" "$(($(date +%s) - start))" "$1"
}

# run NAME COMMAND...: remembers how many seconds a stage took
run() {
    name=$1
    shift
    echo "\$ $*"
    begin=$(date +%s)
    "$@"
    echo "$(($(date +%s) - begin))" >"$out/$name.seconds"
}

accuracy() { sed -n 's/.*"accuracy": \([0-9.]*\).*/\1/p' "$out/$1.json" | head -n 1; }
seconds() { cat "$out/$1.seconds"; }

say "install what is missing, build"
sh test.sh --build-deps
cmake --preset release >/dev/null
cmake --build --preset release --target precompute train-student evaluate synth-faces cachetool

rm -rf "$out"
mkdir -p "$out"

say "draw faces: 80 identities to train on, 40 others to be judged by"
run draw $bin/synth-faces --out "$out/faces" --identities 80 --images 24 --size 64 --seed 7
run draw_held_out $bin/synth-faces --out "$out/held-out" --identities 40 --images 12 --size 64 --seed 7 --first-identity 1000 \
    --pairs "$out/pairs.txt" --pairs-per-fold 60 --folds 10

say "train the teacher: IR-18 with ArcFace"
run teacher $bin/train-student --data "$out/faces" --config configs/demo/teacher.yaml --out "$out/teacher"

say "cache what it says about every image and its mirror, once"
run cache $bin/precompute --teacher ir18 --weights "$out/teacher/student.safetensors" --data "$out/faces" --out "$out/shards" --topk 32
$bin/cachetool info "$out/shards"

for student in plain cosine gkd; do
    say "train a MobileFaceNet: $student"
    run $student $bin/train-student --cache "$out/shards" --data "$out/faces" --config configs/demo/$student.yaml --out "$out/$student"
done

say "evaluate on the held-out identities"
for model in teacher plain cosine gkd; do
    $bin/evaluate --model "$out/$model/student.safetensors" --pairs "$out/pairs.txt" --images "$out/held-out" --json "$out/$model.json" >/dev/null
done

size=$(du -sk "$out/shards" | cut -f 1)
printf '\n%-38s %10s %9s\n' "" "accuracy" "seconds"
printf '%-38s %9.2f%% %9s\n' "teacher IR-18" "$(accuracy teacher)" "$(seconds teacher)"
printf '%-38s %10s %9s   %s KiB\n' "its cache, both views" "" "$(seconds cache)" "$size"
printf '%-38s %9.2f%% %9s\n' "MobileFaceNet, plain ArcFace" "$(accuracy plain)" "$(seconds plain)"
printf '%-38s %9.2f%% %9s\n' "MobileFaceNet, embedding cosine" "$(accuracy cosine)" "$(seconds cosine)"
printf '%-38s %9.2f%% %9s\n' "MobileFaceNet, GKD" "$(accuracy gkd)" "$(seconds gkd)"
printf '\nten-fold verification on identities nobody saw; everything took %d s; files in %s\n' "$(($(date +%s) - start))" "$out"
