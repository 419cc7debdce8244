/* train/losses/teacher.c - the teacher's cosines of a range of classes, however they are known. */
#include "train/losses/two_group.h"

static enum cask_status load_centers(struct teacher_rows *teacher, int batch, int64_t first,
                                     int64_t count, struct cask_error *err)
{
    const enum cask_dtype dtype = sizeof(real) == sizeof(float) ? CASK_F32 : CASK_F64;
    const struct cask_gemm gemm = {.trans_b = true,
                                   .m = batch,
                                   .n = count,
                                   .k = teacher->dim,
                                   .alpha = 1,
                                   .in_dtype = dtype,
                                   .out_dtype = dtype};
    return cask_device_ops(teacher->device)
        ->gemm(teacher->device, &gemm, teacher->unit, teacher->centers + first * teacher->dim,
               teacher->chunk, err);
}

static void load_dense(struct teacher_rows *teacher, int batch, int64_t classes, int64_t first,
                       int64_t count)
{
    for (int i = 0; i < batch; i++) {
        memcpy(teacher->chunk + i * count, teacher->dense + i * classes + first,
               (size_t)count * sizeof(real));
    }
}

static void load_topk(struct teacher_rows *teacher, int batch, int64_t first, int64_t count)
{
    for (int64_t j = 0; j < batch * count; j++) {
        teacher->chunk[j] = REAL_NONE;
    }
    for (int64_t i = 0; i < batch; i++) {
        for (int j = 0; j < teacher->k; j++) {
            int64_t at = (int64_t)teacher->index[i * teacher->k + j] - first;
            if (at >= 0 && at < count) {
                teacher->chunk[i * count + at] = teacher->cosine[i * teacher->k + j];
            }
        }
    }
}

enum cask_status teacher_load(struct teacher_rows *teacher, int batch, int64_t classes,
                              int64_t first, int64_t count, struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    if (teacher->loaded && teacher->first == first && teacher->count == count) {
        return CASK_OK; /* all classes fit in one chunk: the gradient pass finds it loaded */
    }
    teacher->loaded = false;
    switch (teacher->kind) {
    case TEACHER_CENTERS:
        CASK_TRY(load_centers(teacher, batch, first, count, err));
        break;
    case TEACHER_DENSE:
        load_dense(teacher, batch, classes, first, count);
        break;
    case TEACHER_TOPK:
        load_topk(teacher, batch, first, count);
        break;
    case TEACHER_NONE:
        break;
    }
    teacher->first = first;
    teacher->count = count;
    teacher->loaded = true;
done:
    return st;
}
