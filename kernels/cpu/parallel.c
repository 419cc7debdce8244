/* kernels/cpu/parallel.c - how an op is cut into blocks, and its scratch memory. */
#include <omp.h>

#include "common/mem.h"
#include "kernels/cpu/cpu.h"

void cask_cpu_for(const struct cask_cpu *cpu, int64_t count, cask_task task, void *user)
{
    /* A few indices at a time: cores differ in speed, so halves fixed in advance would end
     * unevenly. */
    int64_t turn = count / ((int64_t)cpu->threads * 16);
    const int outer = omp_get_max_threads();
    omp_set_num_threads(1); /* as in the pool's own threads (backend.c) */
    cask_pool_run_turns(cpu->pool, count, turn > 1 ? turn : 1, task, user);
    omp_set_num_threads(outer);
}

void cask_cpu_parallel(struct cask_device *device, int64_t count, cask_task task, void *user)
{
    cask_cpu_for(cask_cpu_of(device), count, task, user);
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

enum cask_status cask_cpu_reserve(struct cask_cpu *cpu, struct cask_scratch *per_thread,
                                  size_t bytes, struct cask_error *err)
{
    for (int i = 0; i < cpu->threads && bytes > 0; i++) {
        if (cask_scratch_take(&per_thread[i], bytes) == NULL) {
            return cask_error_memory(err, bytes, "scratch of one thread");
        }
    }
    return CASK_OK;
}

struct cask_blocks cask_blocks_of(int64_t rows, int64_t row_elements, int64_t elements,
                                  int64_t most)
{
    int64_t per_block = elements / (row_elements > 0 ? row_elements : 1);
    if (per_block * most < rows) {
        per_block = (rows + most - 1) / most;
    }
    per_block = per_block < 1 ? 1 : per_block;
    return (struct cask_blocks){rows, per_block, (rows + per_block - 1) / per_block};
}
