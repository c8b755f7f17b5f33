/*
 * Owns:     what the image's panic and console give to the rooms: assert_fail and log_sink.
 * Promises: a failed ASSERT satisfies expect_assert_failure(), or ends the program with its text on stderr;
 *           log lines go to stderr when the environment has LOG, else nowhere.
 * Needs:    cmocka.
 * Never:    linked into the image.
 */
#ifndef TESTS_FAKE_HOST_H
#define TESTS_FAKE_HOST_H

/* What cmocka.h wants before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Log lines seen so far, printed or not, and the newest one (NUL-terminated, newline included). */
extern unsigned fake_log_lines;
extern char fake_log_last[256 + 1];

#endif
