#include "common/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { ALIGNMENT = 64, BLOCK_BYTES = 64 * 1024 };

static atomic_long allocations_left; /* test hook: 0 off, else counts down to 1 and stays there */

static bool allocation_fails(void)
{
    long left = atomic_load_explicit(&allocations_left, memory_order_relaxed);
    if (left == 0) {
        return false;
    }
    if (left == 1) {
        return true;
    }
    atomic_fetch_sub(&allocations_left, 1);
    return false;
}

void cask_mem_fail_after(long nth)
{
    atomic_store(&allocations_left, nth);
}

/* Large memory is streamed through; with 4 KB pages the hardware's prefetching starts anew on each,
 * which cost half of the bandwidth of one core where it was measured (Zen 5). */
enum { HUGE_PAGE = 2 * 1024 * 1024, LARGE = 4 * HUGE_PAGE };

void *cask_alloc(size_t count, size_t size)
{
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - ALIGNMENT ||
        allocation_fails()) {
        return NULL;
    }
    size_t alignment = bytes >= LARGE ? HUGE_PAGE : ALIGNMENT;
    size_t rounded =
        bytes <= SIZE_MAX - alignment ? (bytes + alignment - 1) / alignment * alignment : bytes;
    rounded = rounded > 0 ? rounded : ALIGNMENT;
    void *memory = aligned_alloc(alignment, rounded);
    if (memory != NULL) {
        if (alignment == HUGE_PAGE) {
            (void)madvise(memory, rounded, MADV_HUGEPAGE); /* a wish; it may be refused */
        }
        memset(memory, 0, rounded);
    }
    return memory;
}

void cask_free(void *memory)
{
    free(memory);
}

void *cask_grow(void *memory, size_t old_count, size_t new_count, size_t size)
{
    void *larger = cask_alloc(new_count, size);
    if (larger != NULL && memory != NULL) {
        memcpy(larger, memory, (old_count < new_count ? old_count : new_count) * size);
        cask_free(memory);
    }
    return larger;
}

char *cask_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = cask_alloc(bytes, 1);
    return copy != NULL ? memcpy(copy, text, bytes) : NULL;
}

char *cask_format(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length >= 0 ? cask_alloc((size_t)length + 1, 1) : NULL;
    if (text != NULL) {
        va_start(args, format);
        vsnprintf(text, (size_t)length + 1, format, args);
        va_end(args);
    }
    return text;
}

/* The header takes one whole alignment unit, so that what follows it is aligned too. */
struct cask_arena_block {
    struct cask_arena_block *next;
    size_t capacity, used;
    char padding[ALIGNMENT - sizeof(void *) - 2 * sizeof(size_t)];
    unsigned char data[];
};

void cask_arena_init(struct cask_arena *arena)
{
    *arena = (struct cask_arena){0};
}

void *cask_arena_alloc(struct cask_arena *arena, size_t count, size_t size)
{
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        return NULL;
    }
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct cask_arena_block *block = arena->blocks;
    if (block == NULL || block->capacity - block->used < bytes) {
        size_t capacity = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block = cask_alloc(1, sizeof *block + capacity);
        if (block == NULL) {
            return NULL;
        }
        block->capacity = capacity;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *memory = block->data + block->used;
    block->used += bytes;
    arena->used_bytes += bytes;
    return memory;
}

char *cask_arena_strdup(struct cask_arena *arena, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = cask_arena_alloc(arena, bytes, 1);
    return copy != NULL ? memcpy(copy, text, bytes) : NULL;
}

void cask_arena_release(struct cask_arena *arena)
{
    while (arena->blocks != NULL) {
        struct cask_arena_block *next = arena->blocks->next;
        cask_free(arena->blocks);
        arena->blocks = next;
    }
    arena->used_bytes = 0;
}

size_t cask_mem_peak_bytes(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (size_t)usage.ru_maxrss * 1024 : 0;
}
