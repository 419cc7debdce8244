#include "train/settings.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/text.h"

/* One line of a dump: "    weight: 1" below "  kd:" below "loss:" is key "loss.kd.weight", value
 * "1". */
enum { DEPTH = 8, NAME = 64 };
struct dump_line {
    char names[DEPTH][NAME]; /* of the sections around it */
    char key[DEPTH * NAME];
    const char *value; /* in the dump, not terminated */
    size_t length;
};

/* Takes the next line of *text; false at the end. Two spaces a level, as cask_config_dump writes.
 */
static bool next_line(const char **text, struct dump_line *line)
{
    line->key[0] = '\0';
    line->value = "";
    line->length = 0;
    if (**text == '\0') {
        return false;
    }
    const size_t length = strcspn(*text, "\n"), indent = strspn(*text, " ");
    const char *name = *text + indent;
    const size_t depth = indent / 2 < DEPTH ? indent / 2 : DEPTH - 1,
                 name_length = strcspn(name, ":\n");
    snprintf(line->names[depth], NAME, "%.*s", (int)name_length, name);
    size_t at = 0;
    for (size_t i = 0; i <= depth; i++) {
        at += (size_t)snprintf(line->key + at, sizeof line->key - at, "%s%s", i > 0 ? "." : "",
                               line->names[i]);
    }
    if (indent + name_length + 2 <= length) {
        line->value = name + name_length + 2;
        line->length = length - indent - name_length - 2;
    }
    *text += length + ((*text)[length] == '\n');
    return true;
}

static void tell(const struct dump_line *there, const struct dump_line *here,
                 cask_settings_difference found, void *user)
{
    struct cask_text before = {0}, now = {0};
    cask_text_add(&before, there->value, there->length);
    cask_text_add(&now, here->value, here->length);
    found(here->key, before.data != NULL ? before.data : "", now.data != NULL ? now.data : "",
          user);
    cask_text_release(&before);
    cask_text_release(&now);
}

void cask_settings_compare(const char *before, const char *now, cask_settings_difference found,
                           void *user)
{
    struct dump_line there = {0}, here = {0};
    while (next_line(&before, &there) & next_line(&now, &here)) {
        if (there.length != here.length || memcmp(there.value, here.value, here.length) != 0 ||
            strcmp(there.key, here.key) != 0) {
            tell(&there, &here, found, user);
        }
    }
}
