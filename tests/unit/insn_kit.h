/*
 * Owns:     what the tests of the decoder share: decoding from exactly so many bytes, comparing results.
 * Promises: a read past the bytes given is caught by ASan.
 * Needs:    cmocka, hv/mmio/insn.h.
 * Never:    linked into the image.
 */
#ifndef TESTS_UNIT_INSN_KIT_H
#define TESTS_UNIT_INSN_KIT_H

#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#include "hv/mmio/insn.h"

#define NONE          INSN_NO_REG
#define CODE(literal) (literal), sizeof(literal) - 1

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum { ES = INSN_ES, CS, SS, DS, FS, GS };

/* `mode` is 16, 32 or 64. *insn is filled with rubbish before. */
enum insn_result decode_exact(unsigned mode, const void *code, unsigned have, struct insn *insn);

void check_same(const char *text, const struct insn *got, const struct insn *want);

/* With exactly its bytes and with more of any kind, and INSN_SHORT with fewer. */
void check_row(const char *text, unsigned mode, const char *code, unsigned length,
               const struct insn *want);

#endif
