# Sourced by end-to-end scripts that define $work and fail().

# same RUN: ended with the weights and the metrics of $work/whole; only its speed may be another
same() {
    cmp "$work/whole/student.safetensors" "$1/student.safetensors" || fail "$1: other bits than the uninterrupted run"
    for folder in "$work/whole" "$1"; do
        sed 's/,"images_per_second".*//' "$folder/metrics.jsonl" >"$folder/metrics.plain"
    done
    cmp "$work/whole/metrics.plain" "$1/metrics.plain" || fail "$1: other metrics than the uninterrupted run"
}
