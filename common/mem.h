/* common/mem.h - the only place that touches the heap.
 *
 * Everything is zeroed and 64-byte aligned. NULL means out of memory or a count*size overflow:
 *     p = cask_alloc(n, sizeof *p);
 *     if (p == NULL) CASK_TRY(cask_error_memory(err, n * sizeof *p, "label table"));
 * Thread-safe. Memory from here is freed with cask_free() only.
 */
#ifndef CASK_COMMON_MEM_H
#define CASK_COMMON_MEM_H

#include <stdbool.h>
#include <stddef.h>

void *cask_alloc(size_t count, size_t size) __attribute__((warn_unused_result));
void cask_free(void *memory); /* accepts NULL */

/* Moves `memory` (may be NULL) from old_count to new_count elements; new ones are zero. On failure
 * returns NULL and `memory` is still valid. */
void *cask_grow(void *memory, size_t old_count, size_t new_count, size_t size)
    __attribute__((warn_unused_result));

char *cask_strdup(const char *text) __attribute__((warn_unused_result));
char *cask_format(const char *format, ...)
    __attribute__((format(printf, 1, 2), warn_unused_result));

/* Run arena: many small things with one lifetime. Allocates blocks on demand; nothing is freed
 * singly. Not thread-safe. */
struct cask_arena {
    struct cask_arena_block *blocks;
    size_t used_bytes;
};
void cask_arena_init(struct cask_arena *arena);
void *cask_arena_alloc(struct cask_arena *arena, size_t count, size_t size)
    __attribute__((warn_unused_result));
char *cask_arena_strdup(struct cask_arena *arena, const char *text)
    __attribute__((warn_unused_result));
void cask_arena_release(struct cask_arena *arena);

/* Test hook: the n-th allocation from now (1 = next) and all later ones fail; 0 turns it off. */
void cask_mem_fail_after(long nth);

/* Peak resident set of this process so far, in bytes. */
size_t cask_mem_peak_bytes(void);

#endif
