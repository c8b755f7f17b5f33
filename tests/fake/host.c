#include "tests/fake/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hv/base/assert.h"
#include "hv/base/log.h"

unsigned fake_log_lines;
char fake_log_last[256 + 1];

_Static_assert(sizeof(fake_log_last) == LOG_LINE_BYTES + 1, "fake_log_last holds one whole line");

void assert_fail(const char *expr, const char *file, int line)
{
    if (!global_expecting_assert) {
        fprintf(stderr, "%s:%d: ASSERT(%s)\n", file, line, expr);
        fflush(NULL);
        abort(); /* leaving by longjmp would keep locks that the next test waits for */
    }
    mock_assert(0, expr, file, line);
    abort(); /* mock_assert(0) has left by longjmp */
}

void log_sink(const char *text, size_t bytes)
{
    size_t kept = bytes < LOG_LINE_BYTES ? bytes : LOG_LINE_BYTES;

    fake_log_lines++;
    memcpy(fake_log_last, text, kept);
    fake_log_last[kept] = '\0';
    if (getenv("LOG"))
        fwrite(text, 1, bytes, stderr);
}
