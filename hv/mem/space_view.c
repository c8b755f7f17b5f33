#include "hv/mem/space.h"

#include "hv/mem/space_root.h"

#define MAX_LEVEL       (PT_LEVELS - 1) /* the root knows what the CPU has */
#define TABLES_PER_HOLD 64u             /* of the lock */

uint64_t space_view_tables(hva_t address, hpa_t frame, uint64_t pages, bool large)
{
    return pt_tables_needed(&hv_space.root, address.v, frame, pages, large ? MAX_LEVEL : 1);
}

hv_status_t space_view_reserve(uint64_t tables)
{
    hv_status_t status;

    lock_acquire(&hv_space.lock);
    status = pt_pool_reserve(&hv_space.pool, tables);
    lock_release(&hv_space.lock);
    return status;
}

void space_view_unreserve(uint64_t tables)
{
    lock_acquire(&hv_space.lock);
    pt_pool_unreserve(&hv_space.pool, tables);
    lock_release(&hv_space.lock);
}

/* The lock is held, but not all the time. */
static void map_steps(hva_t address, hpa_t frame, uint64_t pages, const struct pt_attr *attr,
                      struct pt_flush *flush)
{
    for (;;) {
        uint64_t done = pt_map_step(&hv_space.root, address.v, frame, pages, attr, flush);

        pages -= done;
        if (pages == 0)
            break;
        address.v += done << PAGE_SHIFT;
        frame.v += done << PAGE_SHIFT;
        lock_release(&hv_space.lock);
        lock_acquire(&hv_space.lock);
    }
}

/* Tables that fell out of the tree go back, when no CPU can be walking them any more. */
static void finish(hva_t address, uint64_t pages, struct pt_flush *flush)
{
    bool more = flush->dead.v != 0;

    if (flush->needed)
        space_flush(address.v, pages);
    if (more)
        pt_flush_clean(flush);
    while (more) {
        lock_acquire(&hv_space.lock);
        more = pt_flush_done_step(&hv_space.root, flush, TABLES_PER_HOLD);
        lock_release(&hv_space.lock);
    }
}

void space_view_map(hva_t address, hpa_t frame, uint64_t pages, uint8_t rights,
                    enum memtype memtype, uint64_t *tables)
{
    const struct pt_attr attr = {
        .rights = rights, .memtype = (uint8_t)memtype, .max_level = MAX_LEVEL};
    struct pt_flush flush = {0};

    lock_acquire(&hv_space.lock);
    map_steps(address, frame, pages, &attr, &flush);
    lock_release(&hv_space.lock);
    *tables -= flush.taken;
    finish(address, pages, &flush); /* of single pages that became a large leaf */
}

hv_status_t space_view_map_run(hva_t address, hpa_t frame, uint64_t pages, uint8_t rights,
                               enum memtype memtype)
{
    const struct pt_attr attr = {
        .rights = rights, .memtype = (uint8_t)memtype, .max_level = MAX_LEVEL};
    uint64_t tables = space_view_tables(address, frame, pages, true);
    struct pt_flush flush = {0};
    hv_status_t status;

    lock_acquire(&hv_space.lock);
    status = pt_pool_reserve(&hv_space.pool, tables);
    if (status == HV_OK) {
        map_steps(address, frame, pages, &attr, &flush);
        ASSERT(!flush.needed);
        pt_pool_unreserve(&hv_space.pool, tables - flush.taken);
    }
    lock_release(&hv_space.lock);
    return status;
}

void space_view_unmap(hva_t address, uint64_t pages)
{
    struct pt_flush flush = {0};
    uint64_t done;

    for (uint64_t page = 0; page < pages; page += done) {
        lock_acquire(&hv_space.lock);
        done =
            pt_unmap_step(&hv_space.root, address.v + (page << PAGE_SHIFT), pages - page, &flush);
        lock_release(&hv_space.lock);
    }
    finish(address, pages, &flush);
}

void space_view_trim(void)
{
    lock_acquire(&hv_space.lock);
    pt_pool_drain(&hv_space.pool);
    lock_release(&hv_space.lock);
}

bool space_lookup(hva_t address, struct pt_leaf *leaf)
{
    bool present;

    lock_acquire(&hv_space.lock);
    present = pt_lookup(&hv_space.root, address.v, leaf);
    lock_release(&hv_space.lock);
    return present;
}
