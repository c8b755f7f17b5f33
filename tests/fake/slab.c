#include "tests/fake/slab.h"

#include <stdlib.h>
#include <string.h>

#include "hv/base/assert.h"

static uint64_t live;
static unsigned fail_in;

static void *take(struct slab *slab, int contents)
{
    void *record;

    if (fail_in != 0 && --fail_in == 0)
        return NULL;
    live++;
    slab->live++;
    record = malloc(slab->record_bytes);
    return record ? memset(record, contents, slab->record_bytes) : NULL;
}

void *slab_alloc(struct slab *slab)
{
    return take(slab, 0);
}

void *slab_take(struct slab *slab)
{
    return take(slab, 0xa5);
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
