/* pt_store for tests that do not look at each store: as the image does it. */
#include "ept/ept.h"

uint64_t pt_store(uint64_t *entry, uint64_t value, bool live)
{
    if (live)
        return __atomic_exchange_n(entry, value, __ATOMIC_ACQ_REL);
    __atomic_store_n(entry, value, __ATOMIC_RELEASE);
    return 0;
}
