#include "hv/mem/extents.h"

#include "hv/base/assert.h"
#include "hv/base/direct.h"
#include "hv/base/string.h"
#include "hv/mem/frames.h"
#include "hv/mem/section.h"
#include "hv/mem/slab.h"
#include "hv/mem/space.h"
#include "hv/mem/window.h"

struct extent {
    struct tree_node node; /* key: first section page */
    hpa_t base;
    uint64_t pages;
};

static uint64_t ram_pages; /* of extents_fill(), now; atomic */

static struct slab extent_slab = SLAB_INIT("extents", struct extent);

static struct extent *extent_of(struct tree_node *node)
{
    return node != NULL ? CONTAINER_OF(node, struct extent, node) : NULL;
}

static struct extent *first_of(const struct extents *extents)
{
    return extent_of(tree_first(&extents->runs));
}

static struct extent *next_of(const struct extent *extent)
{
    return extent_of(tree_next(&extent->node));
}

/* ---- looking up ---- */

bool extents_find(const struct extents *extents, uint64_t page, hpa_t *frame, uint64_t *run_pages)
{
    const struct extent *run = extent_of(tree_find_le(&extents->runs, page));
    const struct tree_node *next;

    if (run != NULL && page - run->node.key < run->pages) {
        uint64_t skip = page - run->node.key;

        *frame = HPA(run->base.v + (skip << PAGE_SHIFT));
        *run_pages = run->pages - skip;
        return true;
    }
    next = tree_find_ge(&extents->runs, page);
    *run_pages = (next != NULL ? next->key : UINT64_MAX) - page;
    return false;
}

/* ---- records ---- */

static bool continues(const struct extent *a, const struct extent *b)
{
    return a->node.key + a->pages == b->node.key &&
           a->base.v + (a->pages << PAGE_SHIFT) == b->base.v;
}

/* Into the tree, or into the neighbours that it continues. */
static void insert(struct extents *extents, struct extent *extent)
{
    struct extent *before = extent_of(tree_find_le(&extents->runs, extent->node.key));
    struct extent *after = extent_of(tree_find_ge(&extents->runs, extent->node.key));

    ASSERT(before == NULL || extent->node.key - before->node.key >= before->pages);
    ASSERT(after == NULL || after->node.key - extent->node.key >= extent->pages);
    extents->pages += extent->pages;
    if (after != NULL && continues(extent, after)) {
        extent->pages += after->pages;
        tree_remove(&extents->runs, &after->node);
        slab_free(&extent_slab, after);
    }
    if (before != NULL && continues(before, extent)) {
        before->pages += extent->pages;
        slab_free(&extent_slab, extent);
    } else {
        tree_insert(&extents->runs, &extent->node);
    }
}

/* The first run leaves the tree and is the caller's; NULL when there is none. */
static struct extent *take_first(struct extents *extents)
{
    struct extent *extent = first_of(extents);

    if (extent != NULL) {
        tree_remove(&extents->runs, &extent->node);
        extents->pages -= extent->pages;
    }
    return extent;
}

hv_status_t extents_add(struct extents *extents, uint64_t page, hpa_t base, uint64_t pages)
{
    struct extent *extent = slab_alloc(&extent_slab);

    if (extent == NULL)
        return HV_E_NO_MEMORY;
    extent->node.key = page;
    extent->base = base;
    extent->pages = pages;
    insert(extents, extent);
    return HV_OK;
}

void extents_join(struct extents *to, struct extents *from)
{
    struct extent *extent;

    while ((extent = take_first(from)) != NULL)
        insert(to, extent);
}

void extents_forget(struct extents *extents)
{
    struct extent *extent;

    while ((extent = take_first(extents)) != NULL)
        slab_free(&extent_slab, extent);
}

static void free_frames(struct extents *extents)
{
    struct extent *extent;

    while ((extent = take_first(extents)) != NULL) {
        frames_free(&hv_frames, extent->base, extent->pages);
        slab_free(&extent_slab, extent);
    }
}

/* ---- the direct map ---- */

static void restore_before(const struct extents *extents, const struct extent *end)
{
    for (struct extent *e = first_of(extents); e != end; e = next_of(e))
        space_direct_restore(e->base, e->pages);
}

/* Out of the direct map, all or nothing, and with no line of it left in a cache. */
static hv_status_t hide(const struct extents *extents)
{
    for (struct extent *e = first_of(extents); e != NULL; e = next_of(e)) {
        hv_status_t status = space_direct_remove(e->base, e->pages);

        if (status != HV_OK) {
            restore_before(extents, e);
            return status;
        }
    }
    for (struct extent *e = first_of(extents); e != NULL; e = next_of(e))
        window_flush_lines(e->base, e->pages);
    return HV_OK;
}

/* ---- frames of our own ---- */

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

/*
 * How many pages to ask for at once: when whole 2 MiB of the section follow, what lies before the first of them
 * comes apart, so that aligned memory comes to lie where large leaves can use it.
 */
static uint64_t next_piece(uint64_t page, uint64_t pages, uint32_t attributes)
{
    uint64_t head = -page & (LARGE_PAGES - 1);

    if ((attributes & HV_SEC_CONTIGUOUS) || head == 0 || pages < head + LARGE_PAGES)
        return pages;
    return head;
}

static hv_status_t take_frames(struct extents *extents, uint64_t page, uint64_t pages,
                               uint32_t attributes)
{
    /* Before the records, which need frames too: without frames it is the frames that are lacking. */
    if (__atomic_load_n(&hv_frames.free_pages, __ATOMIC_RELAXED) < pages)
        return HV_E_COMMITMENT_LIMIT;
    while (pages != 0) {
        hpa_t base;
        uint64_t got;
        hv_status_t status = take_run(next_piece(page, pages, attributes), attributes, &base, &got);

        if (status != HV_OK)
            return status;
        status = extents_add(extents, page, base, got);
        if (status != HV_OK) {
            frames_free(&hv_frames, base, got);
            return status;
        }
        page += got;
        pages -= got;
    }
    return HV_OK;
}

hv_status_t extents_fill(struct extents *extents, uint64_t page, uint64_t pages,
                         uint32_t attributes)
{
    struct extents taken = {.pages = 0};
    hv_status_t status = take_frames(&taken, page, pages, attributes);

    if (status == HV_OK) {
        for (struct extent *e = first_of(&taken); e != NULL; e = next_of(e))
            memset(direct(e->base), 0, e->pages << PAGE_SHIFT);
        status = hide(&taken);
    }
    if (status != HV_OK) {
        free_frames(&taken);
        return status;
    }
    __atomic_add_fetch(&ram_pages, pages, __ATOMIC_RELAXED);
    extents_join(extents, &taken);
    return HV_OK;
}

void extents_release(struct extents *extents)
{
    __atomic_sub_fetch(&ram_pages, extents->pages, __ATOMIC_RELAXED);
    restore_before(extents, NULL);
    free_frames(extents);
}

uint64_t section_ram_pages(void)
{
    return __atomic_load_n(&ram_pages, __ATOMIC_RELAXED);
}

void extents_trim(void)
{
    slab_trim(&extent_slab);
}
