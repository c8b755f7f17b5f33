/*
 * Owns:     running a case on the CPU that the test runs on: pages, registers, segments, signals.
 * Promises: after a run the process is as before, whatever the instruction did inside the arena.
 * Needs:    Linux on x86-64, tests/unit/diff_run.h.
 * Never:    judging.
 */
#ifndef TESTS_UNIT_NATIVE_CPU_H
#define TESTS_UNIT_NATIVE_CPU_H

#include "tests/unit/diff_run.h"

/* Lay out pages and handlers, find out what this CPU has. */
void native_open(struct diff_world *world);
void native_close(void);
void native_run(const struct diff_case *c, struct diff_outcome *out);

/* What the CPU lacks of the instructions here, in words: "" when nothing. */
const char *native_missing(const struct diff_world *world);

#endif
