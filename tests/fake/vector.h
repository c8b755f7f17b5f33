/*
 * Owns:     vector registers for the tests of hv/vm, where the real ones are the program's own.
 * Promises: vector_get() and vector_set() as hv/x86/vector.h has them.
 * Needs:    nothing.
 * Never:    the CPU's registers.
 */
#ifndef TESTS_FAKE_VECTOR_H
#define TESTS_FAKE_VECTOR_H

#include "hv/x86/vector.h"

struct fake_vector {
    uint8_t byte[32];
};
extern struct fake_vector fake_vectors[16];

#endif
