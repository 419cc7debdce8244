#include "eval/largest.h"

#include "common/mem.h"

enum cask_status cask_largest_open(struct cask_largest *largest, int64_t capacity,
                                   struct cask_error *err)
{
    *largest = (struct cask_largest){NULL, 0, capacity, -INFINITY};
    largest->kept = cask_alloc((size_t)capacity, sizeof *largest->kept);
    return largest->kept != NULL ? CASK_OK
                                 : cask_error_memory(err, (size_t)capacity * sizeof *largest->kept,
                                                     "the largest scores");
}

void cask_largest_close(struct cask_largest *largest)
{
    cask_free(largest->kept);
    *largest = (struct cask_largest){0};
}

static void sift_up(struct cask_kept *heap, int64_t at)
{
    struct cask_kept one = heap[at];
    while (at > 0 && heap[(at - 1) / 2].value > one.value) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = one;
}

static void sift_down(struct cask_kept *heap, int64_t count)
{
    struct cask_kept one = heap[0];
    int64_t at = 0;
    for (;;) {
        int64_t child = 2 * at + 1;
        if (child >= count) {
            break;
        }
        child += child + 1 < count && heap[child + 1].value < heap[child].value;
        if (!(heap[child].value < one.value)) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = one;
}

void cask_largest_insert(struct cask_largest *largest, float value, uint32_t tag)
{
    if (largest->count < largest->capacity) {
        largest->kept[largest->count] = (struct cask_kept){value, tag};
        sift_up(largest->kept, largest->count++);
    } else if (value > largest->kept[0].value) {
        largest->kept[0] = (struct cask_kept){value, tag};
        sift_down(largest->kept, largest->count);
    }
    if (largest->count == largest->capacity) {
        largest->least = largest->kept[0].value;
    }
}

float cask_largest_smallest(const struct cask_largest *largest)
{
    return largest->kept[0].value;
}
