#include "eval/largest.h"

#include "common/mem.h"

enum cask_status cask_largest_open(struct cask_largest *largest, int64_t capacity,
                                   struct cask_error *err)
{
    *largest = (struct cask_largest){NULL, 0, capacity, -INFINITY};
    largest->values = cask_alloc((size_t)capacity, sizeof *largest->values);
    return largest->values != NULL
               ? CASK_OK
               : cask_error_memory(err, (size_t)capacity * sizeof *largest->values,
                                   "the largest scores");
}

void cask_largest_close(struct cask_largest *largest)
{
    cask_free(largest->values);
    *largest = (struct cask_largest){0};
}

static void sift_up(float *heap, int64_t at)
{
    float value = heap[at];
    while (at > 0 && heap[(at - 1) / 2] > value) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = value;
}

static void sift_down(float *heap, int64_t count)
{
    float value = heap[0];
    int64_t at = 0;
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= count) {
            break;
        }
        child += child + 1 < count && heap[child + 1] < heap[child];
        if (!(heap[child] < value)) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = value;
}

void cask_largest_insert(struct cask_largest *largest, float value)
{
    if (largest->count < largest->capacity) {
        largest->values[largest->count] = value;
        sift_up(largest->values, largest->count++);
    } else if (value > largest->values[0]) {
        largest->values[0] = value;
        sift_down(largest->values, largest->count);
    }
    if (largest->count == largest->capacity) {
        largest->least = largest->values[0];
    }
}

float cask_largest_smallest(const struct cask_largest *largest)
{
    return largest->values[0];
}
