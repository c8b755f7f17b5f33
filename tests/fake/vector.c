#include "tests/fake/vector.h"

#include <string.h>

struct fake_vector fake_vectors[16];

void vector_get(unsigned reg, unsigned bytes, void *to)
{
    memcpy(to, fake_vectors[reg].byte, bytes);
}

void vector_set(unsigned reg, unsigned bytes, bool zero, const void *from)
{
    if (zero)
        memset(fake_vectors[reg].byte, 0, sizeof(fake_vectors[reg].byte));
    memcpy(fake_vectors[reg].byte, from, bytes);
}
