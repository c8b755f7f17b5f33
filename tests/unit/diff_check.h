/*
 * Owns:     comparing a run on a CPU with a run in the emulator, telling what differs, counting what was compared.
 * Promises: flags that the manuals leave undefined are not compared, and nothing else is left out but what a
 *           deviation of the judge, named with its reason, covers.
 * Needs:    tests/unit/diff_emu.h.
 * Never:    running.
 */
#ifndef TESTS_UNIT_DIFF_CHECK_H
#define TESTS_UNIT_DIFF_CHECK_H

#include "tests/unit/diff_emu.h"

/* What can differ. */
enum {
    DIFF_FAULT = 1,
    DIFF_ERROR = 2,   /* the error code */
    DIFF_ADDRESS = 4, /* CR2 */
    DIFF_GPR = 8,
    DIFF_FLAGS = 16,
    DIFF_MEMORY = 32,
    DIFF_VECTORS = 64,
    DIFF_RIP = 128,
    DIFF_ALL = 255,
};

/* What the judge does otherwise than the manuals say. */
struct deviation {
    const char *reason;
    unsigned hides; /* what is not compared then */
    bool (*applies)(const struct diff_case *c, const struct diff_outcome *judge,
                    const struct diff_outcome *emu);
    unsigned long seen;
};

struct diff_session {
    const char *judge_name;
    const struct diff_world *worlds[2]; /* the second or NULL */
    void (*judge)(const struct diff_case *c, struct diff_outcome *out);
    struct deviation *deviations;
    unsigned deviation_count;
    unsigned long cases; /* to be compared */

    unsigned long compared, skipped, retried, hidden;
    unsigned long faults[32];
    unsigned failures;
};

/* Run the session's cases; prints what differs, what was skipped and why, and what was seen too seldom. */
void diff_session_run(struct diff_session *session, uint64_t seed);

/* A number out of the environment. */
unsigned long diff_setting(const char *name, unsigned long otherwise);

#endif
