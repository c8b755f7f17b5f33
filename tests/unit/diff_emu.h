/*
 * Owns:     running a case through the decoder and the emulator under test, on a copy of the arena.
 * Promises: the emulator sees translations, rights and faults as the arena has them; what it must not do with its
 *           memory (touch what it has not located, leave a lock held) ends the test.
 * Needs:    tests/unit/diff_run.h, hv/mmio/emulate.h.
 * Never:    judging results.
 */
#ifndef TESTS_UNIT_DIFF_EMU_H
#define TESTS_UNIT_DIFF_EMU_H

#include "tests/unit/diff_run.h"

/* Which of the arena's pages trap. */
enum emu_pages {
    EMU_TRAPPED, /* all: nothing is retried */
    EMU_DIRECT,  /* none: everything that can be done is retried */
    EMU_MIXED,   /* some; after a retry all, so that the instruction is finished */
};

struct emu_run {
    struct insn insn;
    const char *complaint; /* NULL, or what the decoder or emulator did that it must never do */
    bool emulated;         /* not EMU_UNSUPPORTED */
    unsigned retries;
};

void emu_run(const struct diff_case *c, enum emu_pages pages, struct emu_run *run,
             struct diff_outcome *out);

#endif
