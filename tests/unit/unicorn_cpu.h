/*
 * Owns:     running a case in Unicorn, at CPL 0, without paging.
 * Promises: a page without rights gives the fault that a page table would give.
 * Needs:    libunicorn, tests/unit/diff_run.h.
 * Never:    judging.
 */
#ifndef TESTS_UNIT_UNICORN_CPU_H
#define TESTS_UNIT_UNICORN_CPU_H

#include "tests/unit/diff_run.h"

/* Two worlds: protected modes, and real-address mode. */
void unicorn_open(struct diff_world *protected_mode, struct diff_world *real_mode);
void unicorn_close(void);
void unicorn_run(const struct diff_case *c, struct diff_outcome *out);

#endif
