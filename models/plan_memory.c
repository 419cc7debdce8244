/* models/plan_memory.c - buffers with lifetimes become offsets in one allocation.
 *
 * Greedy: the largest buffer first, each at the lowest place that is free for its whole life. For
 * chains of layers this comes within a few percent of the most that is alive at any moment.
 */
#include <stdlib.h>

#include "models/plan.h"

enum { ALIGNMENT = 64 };

enum cask_status cask_memory_add(struct cask_memory *memory, size_t bytes, int first, int last,
                                 int *buffer, struct cask_error *err)
{
    if (memory->count == memory->room) {
        int wider = memory->room == 0 ? 64 : 2 * memory->room;
        struct cask_plan_buffer *moved = cask_grow(memory->buffers, (size_t)memory->room,
                                                   (size_t)wider, sizeof *memory->buffers);
        if (moved == NULL) {
            return cask_error_memory(err, (size_t)wider * sizeof *moved, "plan");
        }
        memory->buffers = moved;
        memory->room = wider;
    }
    *buffer = memory->count;
    memory->buffers[memory->count++] = (struct cask_plan_buffer){
        .bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, .first = first, .last = last};
    return CASK_OK;
}

static int larger_first(const void *a, const void *b)
{
    const struct cask_plan_buffer *x = *(struct cask_plan_buffer *const *)a;
    const struct cask_plan_buffer *y = *(struct cask_plan_buffer *const *)b;
    if (x->bytes != y->bytes) {
        return x->bytes < y->bytes ? 1 : -1;
    }
    return x < y ? -1 : x > y; /* the array's order, so that a plan is always the same */
}

static bool alive_together(const struct cask_plan_buffer *a, const struct cask_plan_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* `placed` is sorted by offset: walk the gaps between those alive together with `buffer`. */
static size_t lowest_gap(const struct cask_plan_buffer *buffer,
                         struct cask_plan_buffer *const *placed, int count)
{
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        if (!alive_together(buffer, placed[i])) {
            continue;
        }
        if (at + buffer->bytes <= placed[i]->offset) {
            return at;
        }
        size_t end = placed[i]->offset + placed[i]->bytes;
        at = end > at ? end : at;
    }
    return at;
}

enum cask_status cask_memory_place(struct cask_memory *memory, struct cask_error *err)
{
    const size_t count = (size_t)memory->count;
    struct cask_plan_buffer **order = cask_alloc(2 * count + 1, sizeof *order);
    if (order == NULL) {
        return cask_error_memory(err, 2 * count * sizeof *order, "plan");
    }
    struct cask_plan_buffer **placed = order + count;
    for (size_t i = 0; i < count; i++) {
        order[i] = &memory->buffers[i];
    }
    qsort(order, count, sizeof *order, larger_first);
    for (size_t i = 0; i < count; i++) {
        struct cask_plan_buffer *buffer = order[i];
        buffer->offset = lowest_gap(buffer, placed, (int)i);
        size_t place = i;
        while (place > 0 && placed[place - 1]->offset > buffer->offset) {
            placed[place] = placed[place - 1];
            place--;
        }
        placed[place] = buffer;
        size_t end = buffer->offset + buffer->bytes;
        memory->bytes = end > memory->bytes ? end : memory->bytes;
    }
    cask_free(order);
    return CASK_OK;
}

void cask_memory_release(struct cask_memory *memory)
{
    cask_free(memory->buffers);
    *memory = (struct cask_memory){0};
}
