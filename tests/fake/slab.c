#include "tests/fake/slab.h"

#include <stdlib.h>

#include "hv/base/assert.h"

static uint64_t live;
static unsigned fail_in;

void *slab_alloc(struct slab *slab)
{
    if (fail_in != 0 && --fail_in == 0)
        return NULL;
    live++;
    slab->live++;
    return calloc(1, slab->record_bytes);
}

void slab_free(struct slab *slab, void *record)
{
    if (!record)
        return;
    ASSERT(slab->live != 0);
    live--;
    slab->live--;
    free(record);
}

void slab_trim(struct slab *slab)
{
    (void)slab;
}

void fake_slab_fail(unsigned nth)
{
    fail_in = nth;
}

uint64_t fake_slab_live(void)
{
    return live;
}
