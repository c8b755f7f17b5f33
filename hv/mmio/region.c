#include "hv/mmio/region.h"

/* How many regions start at or below the address: its region, if any, is the one before that place. */
static unsigned upper_bound(const struct mmio_map *map, uint64_t address)
{
    unsigned low = 0, high = map->count;

    while (low < high) {
        unsigned middle = (low + high) / 2;

        if (map->key[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

hv_status_t mmio_region_add(struct mmio_map *map, gpa_t start, uint64_t bytes,
                            const struct mmio_handler *handler)
{
    unsigned at;

    /* The last byte, not the end, must not wrap: the end of the topmost region is 2^64. */
    if (bytes == 0 || start.v + (bytes - 1) < start.v)
        return HV_E_INVALID_PARAMETER;

    at = upper_bound(map, start.v);
    if (at > 0 && start.v - map->key[at - 1].start < map->key[at - 1].bytes)
        return HV_E_CONFLICTING_ADDRESSES;
    if (at < map->count && map->key[at].start - start.v < bytes)
        return HV_E_CONFLICTING_ADDRESSES;
    if (map->count == MMIO_MAX_REGIONS)
        return HV_E_QUOTA;

    for (unsigned i = map->count; i > at; i--) {
        map->key[i] = map->key[i - 1];
        map->handler[i] = map->handler[i - 1];
    }
    map->key[at] = (struct mmio_key){.start = start.v, .bytes = bytes};
    map->handler[at] = *handler;
    map->count++;
    return HV_OK;
}

hv_status_t mmio_region_remove(struct mmio_map *map, gpa_t start)
{
    unsigned at = upper_bound(map, start.v);

    if (at == 0 || map->key[at - 1].start != start.v)
        return HV_E_NOT_FOUND;

    map->count--;
    for (unsigned i = at - 1; i < map->count; i++) {
        map->key[i] = map->key[i + 1];
        map->handler[i] = map->handler[i + 1];
    }
    return HV_OK;
}

unsigned mmio_region_search(const struct mmio_map *map, gpa_t gpa, unsigned *last)
{
    unsigned at = upper_bound(map, gpa.v);

    if (at == 0 || !mmio_region_holds(map, at - 1, gpa))
        return MMIO_NONE;
    *last = at - 1;
    return at - 1;
}
