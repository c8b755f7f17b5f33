#include "hv/mem/backing.h"

#include "hv/base/assert.h"
#include "hv/base/direct.h"
#include "hv/base/lock.h"
#include "hv/base/string.h"
#include "hv/mem/frames.h"
#include "hv/mem/slab.h"
#include "hv/mem/space.h"
#include "hv/mem/window.h"

#define LARGE_BYTES         (LARGE_PAGES * PAGE_BYTES)
#define ARCHITECTURAL_LIMIT (1ull << 52)

struct backing_extent {
    struct tree_node node; /* key: first section page */
    hpa_t base;
    uint64_t pages;
};

struct span {
    hpa_t base;
    uint64_t pages;
};

static struct module {
    struct span span; /* pages 0: no such module */
    uint32_t
        users; /* sections over it; the first takes it out of the direct map. Lock: section_lock */
} modules[SECTION_MAX_MODULES];

static struct span forbidden[SECTION_MAX_FORBIDDEN];
static unsigned forbidden_count;
static uint64_t physical_limit = ARCHITECTURAL_LIMIT;
static uint64_t ram_pages; /* of anonymous backings now; atomic */

static struct slab extent_slab = SLAB_INIT("extents", struct backing_extent);

static struct backing_extent *extent_of(struct tree_node *node)
{
    return node != NULL ? CONTAINER_OF(node, struct backing_extent, node) : NULL;
}

static struct backing_extent *first_extent(const struct backing *backing)
{
    return extent_of(tree_first(&backing->extents));
}

static struct backing_extent *next_extent(const struct backing_extent *extent)
{
    return extent_of(tree_next(&extent->node));
}

/* ---- what boot tells ---- */

void section_add_module(uint32_t index, hpa_t base, uint64_t bytes)
{
    uint64_t tail = -bytes & PAGE_MASK;

    ASSERT(index < SECTION_MAX_MODULES && modules[index].span.pages == 0 && bytes != 0);
    ASSERT(IS_ALIGNED(base.v, PAGE_BYTES) && !frames_owns(&hv_frames, base, pages_of(bytes)));
    modules[index].span.base = base;
    modules[index].span.pages = pages_of(bytes);
    memset((uint8_t *)direct(base) + bytes, 0, tail);
}

void section_forbid(hpa_t base, uint64_t bytes)
{
    hpa_t first = HPA(ALIGN_DOWN(base.v, PAGE_BYTES));

    ASSERT(forbidden_count < SECTION_MAX_FORBIDDEN);
    forbidden[forbidden_count].base = first;
    forbidden[forbidden_count].pages = pages_of(base.v - first.v + bytes);
    forbidden_count++;
}

void section_set_physical_limit(uint64_t limit)
{
    physical_limit = limit;
}

/* ---- checks ---- */

static bool span_touches(const struct span *span, hpa_t base, uint64_t pages)
{
    uint64_t bytes = span->pages << PAGE_SHIFT;

    return base.v < span->base.v + bytes && span->base.v < base.v + (pages << PAGE_SHIFT);
}

static bool is_ours(hpa_t base, uint64_t pages)
{
    if (frames_owns(&hv_frames, base, pages))
        return true;
    for (unsigned i = 0; i < SECTION_MAX_MODULES; i++) {
        if (span_touches(&modules[i].span, base, pages))
            return true;
    }
    for (unsigned i = 0; i < forbidden_count; i++) {
        if (span_touches(&forbidden[i], base, pages))
            return true;
    }
    return false;
}

static hv_status_t check_physical(const struct hv_section_backing *spec)
{
    if (spec->bytes == 0)
        return HV_E_INVALID_PARAMETER_7;
    if (!IS_ALIGNED(spec->base.v | spec->bytes, PAGE_BYTES))
        return HV_E_MAPPED_ALIGNMENT;
    if (spec->base.v >= physical_limit || spec->bytes > physical_limit - spec->base.v ||
        is_ours(spec->base, pages_of(spec->bytes)))
        return HV_E_ACCESS_DENIED;
    return HV_OK;
}

static bool module_exists(uint32_t index)
{
    return index < SECTION_MAX_MODULES && modules[index].span.pages != 0;
}

static struct span span_of(const struct hv_section_backing *spec)
{
    if (spec->kind == HV_BACKING_MODULE)
        return modules[spec->module].span;
    return (struct span){.base = spec->base, .pages = pages_of(spec->bytes)};
}

/* What max_size, LARGE_PAGES and an existing span must have in common. */
static hv_status_t check_fit(const struct span *span, uint64_t max_size, uint32_t attributes,
                             uint64_t *bytes)
{
    uint64_t all = span->pages << PAGE_SHIFT;

    if (max_size > all)
        return HV_E_INVALID_PARAMETER;
    if (max_size == 0)
        max_size = all;
    if (max_size > HV_SECTION_MAX_BYTES)
        return HV_E_SECTION_TOO_BIG;
    if (attributes & HV_SEC_LARGE_PAGES) {
        if (!IS_ALIGNED(max_size, LARGE_BYTES))
            return HV_E_INVALID_PARAMETER_4;
        if (!IS_ALIGNED(span->base.v, LARGE_BYTES))
            return HV_E_MAPPED_ALIGNMENT;
    }
    *bytes = max_size;
    return HV_OK;
}

hv_status_t backing_check(const struct hv_section_backing *spec, uint64_t max_size,
                          uint32_t attributes, uint64_t *bytes)
{
    hv_status_t status = HV_OK;
    struct span span;

    if (spec == NULL) {
        *bytes = max_size;
        return HV_OK;
    }
    if (spec->kind == HV_BACKING_PHYSICAL)
        status = check_physical(spec);
    else if (spec->kind != HV_BACKING_MODULE)
        status = HV_E_INVALID_PARAMETER_7;
    else if (!module_exists(spec->module))
        status = HV_E_NOT_FOUND;
    if (status != HV_OK)
        return status;
    span = span_of(spec);
    return check_fit(&span, max_size, attributes, bytes);
}

/* ---- extents ---- */

/* Add a run behind the last extent, `last`, or make that longer. */
static hv_status_t append(struct backing *backing, struct backing_extent **last, hpa_t base,
                          uint64_t pages)
{
    struct backing_extent *extent = *last;

    if (extent != NULL && extent->base.v + (extent->pages << PAGE_SHIFT) == base.v) {
        extent->pages += pages;
    } else {
        extent = slab_alloc(&extent_slab);
        if (extent == NULL)
            return HV_E_NO_MEMORY;
        extent->node.key = backing->pages;
        extent->base = base;
        extent->pages = pages;
        tree_insert(&backing->extents, &extent->node);
        *last = extent;
    }
    backing->pages += pages;
    return HV_OK;
}

static void drop_extents(struct backing *backing)
{
    struct backing_extent *extent;

    while ((extent = first_extent(backing)) != NULL) {
        tree_remove(&backing->extents, &extent->node);
        if (backing->origin == BACKING_ANONYMOUS)
            frames_free(&hv_frames, extent->base, extent->pages);
        slab_free(&extent_slab, extent);
    }
    backing->pages = 0;
}

static void restore_before(const struct backing *backing, const struct backing_extent *end)
{
    for (struct backing_extent *e = first_extent(backing); e != end; e = next_extent(e))
        space_direct_restore(e->base, e->pages);
}

/* Out of the direct map, all or nothing, and with no line of it left in a cache. */
static hv_status_t remove_direct(const struct backing *backing)
{
    for (struct backing_extent *e = first_extent(backing); e != NULL; e = next_extent(e)) {
        hv_status_t status = space_direct_remove(e->base, e->pages);

        if (status != HV_OK) {
            restore_before(backing, e);
            return status;
        }
    }
    for (struct backing_extent *e = first_extent(backing); e != NULL; e = next_extent(e))
        window_flush_lines(e->base, e->pages);
    return HV_OK;
}

/* ---- anonymous frames ---- */

/* A run for the next `pages` or fewer pages, aligned for the largest leaf that it can fill. */
static hv_status_t take_run(uint64_t pages, uint32_t attributes, hpa_t *base, uint64_t *got)
{
    *got = pages;
    if (pages >= HUGE_PAGES && frames_alloc(&hv_frames, pages, HUGE_PAGES, base) == HV_OK)
        return HV_OK;
    if (attributes & HV_SEC_CONTIGUOUS) {
        if (pages >= LARGE_PAGES && frames_alloc(&hv_frames, pages, LARGE_PAGES, base) == HV_OK)
            return HV_OK;
        if (attributes & HV_SEC_LARGE_PAGES)
            return HV_E_COMMITMENT_LIMIT;
        return frames_alloc(&hv_frames, pages, 1, base) == HV_OK ? HV_OK : HV_E_COMMITMENT_LIMIT;
    }
    if (frames_alloc_extent(&hv_frames, pages, base, got) != HV_OK)
        return HV_E_COMMITMENT_LIMIT;
    if ((attributes & HV_SEC_LARGE_PAGES) && *got < LARGE_PAGES) {
        frames_free(&hv_frames, *base, *got);
        return HV_E_COMMITMENT_LIMIT;
    }
    return HV_OK;
}

static hv_status_t take_frames(struct backing *backing, uint64_t pages, uint32_t attributes)
{
    struct backing_extent *last = NULL;

    while (backing->pages < pages) {
        hpa_t base;
        uint64_t got;
        hv_status_t status = take_run(pages - backing->pages, attributes, &base, &got);

        if (status != HV_OK)
            return status;
        status = append(backing, &last, base, got);
        if (status != HV_OK) {
            frames_free(&hv_frames, base, got);
            return status;
        }
    }
    return HV_OK;
}

static hv_status_t create_anonymous(struct backing *backing, uint64_t pages, uint32_t attributes)
{
    hv_status_t status;

    /* Before the records, which need frames too: without frames it is the frames that are lacking. */
    if (__atomic_load_n(&hv_frames.free_pages, __ATOMIC_RELAXED) < pages)
        return HV_E_COMMITMENT_LIMIT;
    status = take_frames(backing, pages, attributes);
    if (status != HV_OK)
        return status;
    for (struct backing_extent *e = first_extent(backing); e != NULL; e = next_extent(e))
        memset(direct(e->base), 0, e->pages << PAGE_SHIFT);
    return remove_direct(backing);
}

/* ---- modules ---- */

static hv_status_t enter_module(struct module *module)
{
    hv_status_t status = HV_OK;

    lock_acquire(&section_lock);
    if (module->users == 0)
        status = space_direct_remove(module->span.base, module->span.pages);
    if (status == HV_OK && module->users++ == 0)
        window_flush_lines(module->span.base, module->span.pages);
    lock_release(&section_lock);
    return status;
}

static void leave_module(struct module *module)
{
    lock_acquire(&section_lock);
    ASSERT(module->users != 0);
    if (--module->users == 0)
        space_direct_restore(module->span.base, module->span.pages);
    lock_release(&section_lock);
}

/* ---- all kinds ---- */

static hv_status_t create_named(struct backing *backing, const struct hv_section_backing *spec,
                                uint64_t pages)
{
    struct backing_extent *last = NULL;
    struct span span = span_of(spec);
    hv_status_t status = append(backing, &last, span.base, pages);

    if (status == HV_OK && backing->origin == BACKING_MODULE)
        status = enter_module(&modules[backing->module]);
    return status;
}

hv_status_t backing_create(struct backing *backing, const struct hv_section_backing *spec,
                           uint64_t pages, uint32_t attributes)
{
    hv_status_t status;

    *backing = (struct backing){.origin = BACKING_ANONYMOUS};
    if (spec == NULL) {
        status = create_anonymous(backing, pages, attributes);
    } else {
        backing->origin = spec->kind == HV_BACKING_MODULE ? BACKING_MODULE : BACKING_PHYSICAL;
        backing->module = spec->module;
        status = create_named(backing, spec, pages);
    }
    if (status != HV_OK)
        drop_extents(backing);
    else if (backing->origin == BACKING_ANONYMOUS)
        __atomic_add_fetch(&ram_pages, backing->pages, __ATOMIC_RELAXED);
    return status;
}

void backing_destroy(struct backing *backing)
{
    if (backing->origin == BACKING_ANONYMOUS) {
        __atomic_sub_fetch(&ram_pages, backing->pages, __ATOMIC_RELAXED);
        restore_before(backing, NULL);
    } else if (backing->origin == BACKING_MODULE) {
        leave_module(&modules[backing->module]);
    }
    drop_extents(backing);
}

uint64_t section_ram_pages(void)
{
    return __atomic_load_n(&ram_pages, __ATOMIC_RELAXED);
}

hpa_t backing_frame(const struct backing *backing, uint64_t page, uint64_t *run_pages)
{
    const struct backing_extent *extent = extent_of(tree_find_le(&backing->extents, page));
    uint64_t skip;

    ASSERT(extent != NULL && page < backing->pages);
    skip = page - extent->node.key;
    *run_pages = extent->pages - skip;
    return HPA(extent->base.v + (skip << PAGE_SHIFT));
}

void backing_trim(void)
{
    slab_trim(&extent_slab);
}
