/*
 * Owns:     counts of what was compared: by form, mode, width, and REP, LOCK or VEX, and direction.
 * Promises: every combination that the worlds can run is expected, whether the generator has made it or not.
 * Needs:    tests/unit/diff_gen.h.
 */
#ifndef TESTS_UNIT_DIFF_TALLY_H
#define TESTS_UNIT_DIFF_TALLY_H

#include "tests/unit/diff_gen.h"

void tally_clear(void);
void tally_compared(const struct diff_case *c);
void tally_skipped(const struct diff_case *c, const char *why);
/* Combinations compared fewer than `least` times, printed; and the skipped ones by reason. */
unsigned tally_judge(const struct diff_world *world, const struct diff_world *other,
                     unsigned long least);

#endif
