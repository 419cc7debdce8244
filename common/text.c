#include "common/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "common/mem.h"

/* Room for `more` bytes and the NUL. */
static bool reserve(struct cask_text *text, size_t more)
{
    if (text->failed || more > SIZE_MAX / 4 - text->length) {
        text->failed = true;
        return false;
    }
    const size_t wanted = text->length + more + 1;
    if (wanted > text->capacity) {
        const size_t capacity = wanted > 2 * text->capacity ? wanted + 240 : 2 * text->capacity;
        char *larger = cask_grow(text->data, text->capacity, capacity, 1);
        if (larger == NULL) {
            text->failed = true;
            return false;
        }
        text->data = larger;
        text->capacity = capacity;
    }
    return true;
}

void cask_text_add(struct cask_text *text, const char *bytes, size_t count)
{
    if (reserve(text, count) && count > 0) {
        memcpy(text->data + text->length, bytes, count);
        text->length += count;
        text->data[text->length] = 0;
    }
}

void cask_text_put(struct cask_text *text, const char *string)
{
    cask_text_add(text, string, strlen(string));
}

void cask_text_format(struct cask_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) {
        text->failed = true;
    } else if (reserve(text, (size_t)length)) {
        va_start(args, format);
        vsnprintf(text->data + text->length, (size_t)length + 1, format, args);
        va_end(args);
        text->length += (size_t)length;
    }
}

/* RFC 3629, section 4: the first two bytes decide what is overlong or out of range. */
size_t cask_utf8_length(const char *string)
{
    const unsigned char *s = (const unsigned char *)string;
    const size_t length = s[0] < 0x80                    ? 1
                          : s[0] >= 0xC2 && s[0] <= 0xDF ? 2
                          : s[0] >= 0xE0 && s[0] <= 0xEF ? 3
                          : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4
                                                         : 0;
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    const bool bad = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
                     (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F);
    return bad ? 0 : length;
}

void cask_text_escaped(struct cask_text *text, const char *string)
{
    while (*string != 0) {
        const size_t length = cask_utf8_length(string);
        const unsigned char c = (unsigned char)*string;
        const char *entity = c == '&'    ? "&amp;"
                             : c == '<'  ? "&lt;"
                             : c == '>'  ? "&gt;"
                             : c == '"'  ? "&quot;"
                             : c == '\'' ? "&#39;"
                             : length == 0 || c == 0x7F || (c < 0x20 && c != '\n' && c != '\t')
                                 ? "?"
                                 : NULL;
        if (entity != NULL) {
            cask_text_put(text, entity);
        } else {
            cask_text_add(text, string, length);
        }
        string += length > 0 ? length : 1;
    }
}

enum cask_status cask_text_check(struct cask_text *text, const char *what, struct cask_error *err)
{
    return reserve(text, 0) ? CASK_OK : cask_error_memory(err, text->length, what);
}

void cask_text_release(struct cask_text *text)
{
    cask_free(text->data);
    *text = (struct cask_text){0};
}

bool cask_ends_with(const char *string, const char *end)
{
    const size_t length = strlen(string), tail = strlen(end);
    return length >= tail && strcmp(string + length - tail, end) == 0;
}
