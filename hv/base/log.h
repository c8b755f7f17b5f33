/*
 * Owns:     formatted lines: a small printf, one line sink, a rate limiter.
 * Promises: a line is handed over whole, at most LOG_LINE_BYTES with its newline; nothing is
 *           allocated. Every line reads "room: text", so that it can be found with grep.
 * Needs:    log_sink(): the image writes to the console, a host test to stderr or nowhere.
 * Never:    printed inside a timed region.
 */
#ifndef HV_BASE_LOG_H
#define HV_BASE_LOG_H

#include <stdarg.h>

#include "hv/base/types.h"

#define LOG_LINE_BYTES 256

/*
 * Formats like snprintf: %d %i %u %x %X %c %s %p %%, flags '-', '0' and '#' (0x before a hexadecimal that is
 * not 0), width and precision (also '*'), both at most 512; length hh h l ll z. No floating point. Returns
 * the length it would have needed; writes at most `bytes` with the NUL. A conversion that it does not know ends the formatting: the rest of
 * fmt is copied as text.
 */
int format(char *out, size_t bytes, const char *fmt, ...) PRINTF_LIKE(3, 4);
int vformat(char *out, size_t bytes, const char *fmt, va_list args) PRINTF_LIKE(3, 0);

/*
 * One line of the log. `room` is a short lower-case word ("ept", "pci", "vm"). fmt has no newline: control
 * characters come out as '?', so that no text of a guest's begins a line. A line too long ends in "...".
 */
void log_line(const char *room, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Where lines go; text ends with a newline and is not NUL-terminated. */
void log_sink(const char *text, size_t bytes);

/* Lets the first `burst` through, then none; `dropped` counts the rest. Owner: whoever embeds it. */
struct log_limit {
    uint32_t burst;
    uint32_t passed;
    uint64_t dropped;
};

static inline bool log_limit_pass(struct log_limit *limit)
{
    if (limit->passed < limit->burst) {
        limit->passed++;
        return true;
    }
    limit->dropped++;
    return false;
}

#endif
