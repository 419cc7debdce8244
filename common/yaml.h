/* common/yaml.h - the small part of YAML that Cask reads, as a tree.
 *
 * Maps, lists and scalars of one document. Anchors, aliases and tags are refused, so nothing in a
 * file can refer to anything; a key that comes twice in a map is refused too. Bounds: 1 MiB, nine
 * maps or lists inside one another, 10,000 values. Every error names file and line.
 *
 * What a value means is for the caller: all scalars are text here.
 */
#ifndef CASK_COMMON_YAML_H
#define CASK_COMMON_YAML_H

#include <stddef.h>

#include "common/mem.h"
#include "common/status.h"

enum cask_yaml_kind { CASK_YAML_TEXT, CASK_YAML_LIST, CASK_YAML_MAP };

struct cask_yaml_node {
    enum cask_yaml_kind kind;
    int line;                           /* from 1 */
    const char *key;                    /* in a map, else NULL */
    const char *text;                   /* TEXT */
    const struct cask_yaml_node *first; /* LIST, MAP: in the file's order */
    const struct cask_yaml_node *next;  /* its neighbour */
};

struct cask_yaml {
    const char *path;                  /* owned by the arena, as all below */
    const struct cask_yaml_node *root; /* a MAP; an empty file gives an empty one */
    struct cask_arena arena;
    int nodes;
};

/* CASK_ERR_USAGE for what is not such a file: settings are part of the command line. */
enum cask_status cask_yaml_open(const char *path, struct cask_yaml *file, struct cask_error *err);
/* `path` is only used in messages. */
enum cask_status cask_yaml_parse(const char *path, const char *text, size_t bytes,
                                 struct cask_yaml *file, struct cask_error *err);
void cask_yaml_close(struct cask_yaml *file); /* accepts a zeroed struct */

/* NULL if the map has no such key. */
const struct cask_yaml_node *cask_yaml_find(const struct cask_yaml_node *map, const char *key);

/* "FILE:LINE: PROBLEM" as CASK_ERR_USAGE. */
enum cask_status cask_yaml_complain(const struct cask_yaml *file, const struct cask_yaml_node *node,
                                    const char *problem, struct cask_error *err);

#endif
