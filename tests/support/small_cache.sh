# A teacher in $work/teacher and its cache in $work/cache, of the faces that were drawn in $work/faces.
"$bin/train-student" --data "$work/faces" --set student.input=32 --set train.batch=16 --set train.epochs=1 \
    --set train.precision=fp32 --out "$work/teacher" >/dev/null 2>&1 || fail teacher
"$bin/precompute" --teacher mobilefacenet --weights "$work/teacher/student.safetensors" --data "$work/faces" \
    --out "$work/cache" --topk 4 >/dev/null 2>&1 || fail precompute
