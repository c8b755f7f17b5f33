#include "tests/unit/fault_kit.h"

#include "hv/mem/frames.h"
#include "hv/mem/slab.h"
#include "hv/mem/space.h"
#include "hv/mem/space_root.h"
#include "tests/unit/pci_world.h"

/* The names are the linker's: __wrap_x() is called in place of x(), which is __real_x(). */
void *__real_slab_alloc(struct slab *slab);
void *__real_slab_take(struct slab *slab);
hv_status_t __real_frames_alloc(struct frames *f, uint64_t pages, uint64_t align_pages,
                                hpa_t *base);
hv_status_t __real_frames_alloc_extent(struct frames *f, uint64_t pages, hpa_t *base,
                                       uint64_t *got);
hv_status_t __real_pt_block_alloc(hpa_t *block);
hv_status_t __real_pt_pool_grow(struct pt_pool *pool, uint64_t tables);
hv_status_t __real_space_direct_remove(hpa_t base, uint64_t pages);
void *__wrap_slab_alloc(struct slab *slab);
void *__wrap_slab_take(struct slab *slab);
hv_status_t __wrap_frames_alloc(struct frames *f, uint64_t pages, uint64_t align_pages,
                                hpa_t *base);
hv_status_t __wrap_frames_alloc_extent(struct frames *f, uint64_t pages, hpa_t *base,
                                       uint64_t *got);
hv_status_t __wrap_pt_block_alloc(hpa_t *block);
hv_status_t __wrap_pt_pool_grow(struct pt_pool *pool, uint64_t tables);
hv_status_t __wrap_space_direct_remove(hpa_t base, uint64_t pages);

struct fault fault;
static uint64_t held[2]; /* tables kept out of reach: of the VM's pool and of the hypervisor's */

static bool fails(bool is_frame)
{
    if (!fault.is_armed || ++fault.asked != fault.nth)
        return false;
    fault.fired = true;
    fault.is_frame = is_frame;
    return true;
}

void *__wrap_slab_alloc(struct slab *slab)
{
    return fails(false) ? NULL : __real_slab_alloc(slab);
}

void *__wrap_slab_take(struct slab *slab)
{
    return fails(false) ? NULL : __real_slab_take(slab);
}

hv_status_t __wrap_frames_alloc(struct frames *f, uint64_t pages, uint64_t align_pages, hpa_t *base)
{
    return fails(true) ? HV_E_NO_MEMORY : __real_frames_alloc(f, pages, align_pages, base);
}

hv_status_t __wrap_frames_alloc_extent(struct frames *f, uint64_t pages, hpa_t *base, uint64_t *got)
{
    return fails(true) ? HV_E_NO_MEMORY : __real_frames_alloc_extent(f, pages, base, got);
}

hv_status_t __wrap_pt_block_alloc(hpa_t *block)
{
    return fails(false) ? HV_E_NO_MEMORY : __real_pt_block_alloc(block);
}

hv_status_t __wrap_space_direct_remove(hpa_t base, uint64_t pages)
{
    return fails(false) ? HV_E_NO_MEMORY : __real_space_direct_remove(base, pages);
}

static uint64_t *held_of(const struct pt_pool *pool)
{
    return &held[pool == &hv_space.pool];
}

/* A pool never has more than was asked for: each reservation is an allocation. */
hv_status_t __wrap_pt_pool_grow(struct pt_pool *pool, uint64_t tables)
{
    hv_status_t status = __real_pt_pool_grow(pool, tables);
    uint64_t spare = pool->free_tables - pool->reserved;

    if (status == HV_OK && fault.is_armed && spare > tables) {
        pool->reserved += spare - tables;
        *held_of(pool) += spare - tables;
    }
    return status;
}

static void dry(struct pt_pool *pool)
{
    uint64_t spare = pool->free_tables - pool->reserved;

    pool->reserved += spare;
    *held_of(pool) += spare;
}

static void wet(struct pt_pool *pool)
{
    pt_pool_unreserve(pool, *held_of(pool));
    *held_of(pool) = 0;
}

void fault_arm(void)
{
    dry(&world.vm.pool);
    dry(&hv_space.pool);
    fault.is_armed = true;
}

bool fault_disarm(void)
{
    fault.is_armed = false;
    wet(&world.vm.pool);
    wet(&hv_space.pool);
    return fault.fired;
}
