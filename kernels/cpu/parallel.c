/* kernels/cpu/parallel.c - threads, blocks and scratch memory. The only file that starts threads. */
#include <omp.h>

#include "common/mem.h"
#include "kernels/cpu/cpu.h"

void cask_cpu_for(const struct cask_cpu *cpu, int64_t count, cask_task task, void *user)
{
    int threads = count < cpu->threads ? (int)count : cpu->threads;
    if (threads <= 1) {
        /* Outside a parallel region some oneDNN primitives would start threads of their own. */
        int outer = omp_get_max_threads();
        omp_set_num_threads(1);
        for (int64_t index = 0; index < count; index++) {
            task(user, index, 0);
        }
        omp_set_num_threads(outer);
        return;
    }
    /* By turns, a few indices at a time: cores differ in speed, and a task's result does not depend
     * on the thread that runs it. */
    int turn = (int)(count / (threads * 16) > 1 ? count / (threads * 16) : 1);
#pragma omp parallel for schedule(dynamic, turn) num_threads(threads)
    for (int64_t index = 0; index < count; index++) {
        task(user, index, omp_get_thread_num());
    }
}

void *cask_scratch_take(struct cask_scratch *scratch, size_t bytes)
{
    if (scratch->bytes < bytes) {
        cask_free(scratch->data);
        scratch->data = cask_alloc(bytes, 1);
        scratch->bytes = scratch->data != NULL ? bytes : 0;
    }
    return scratch->data;
}

enum cask_status cask_cpu_reserve(struct cask_cpu *cpu, struct cask_scratch *per_thread, size_t bytes, struct cask_error *err)
{
    for (int i = 0; i < cpu->threads && bytes > 0; i++) {
        if (cask_scratch_take(&per_thread[i], bytes) == NULL) {
            return cask_error_memory(err, bytes, "scratch of one thread");
        }
    }
    return CASK_OK;
}

struct cask_blocks cask_blocks_of(int64_t rows, int64_t row_elements, int64_t elements, int64_t most)
{
    int64_t per_block = elements / (row_elements > 0 ? row_elements : 1);
    if (per_block * most < rows) {
        per_block = (rows + most - 1) / most;
    }
    per_block = per_block < 1 ? 1 : per_block;
    return (struct cask_blocks){rows, per_block, (rows + per_block - 1) / per_block};
}
