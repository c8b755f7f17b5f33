#include "hv/mem/view_record.h"

#include "hv/base/lock.h"
#include "hv/mem/slab.h"
#include "hv/mem/space.h"
#include "hv/x86/cpu.h"

#define LARGE_BYTES (LARGE_PAGES * PAGE_BYTES)
#define LOW_BITS    32u

#define CACHE_BITS  ((uint32_t)(HV_PAGE_NOCACHE | HV_PAGE_WRITECOMBINE))

static struct area high, low;
static struct area_slot image; /* where nothing else can be in `low` */
static struct slab view_slab = SLAB_INIT("views", struct view);
static uint64_t live;

static uint64_t bytes_of(uint64_t pages)
{
    return pages << PAGE_SHIFT;
}

/* ---- protection ---- */

static void ask(struct view_protection *out, uint8_t rights, uint32_t access)
{
    out->rights = rights;
    out->access = HV_SECTION_MAP_READ | access;
    out->wish.fixed = false;
    out->wish.memtype = MEMTYPE_WB;
}

/* Rights and access of a base value. */
static hv_status_t decode_base(uint32_t base, struct view_protection *out)
{
    switch (base) {
    case HV_PAGE_NOACCESS:
        ask(out, 0, 0);
        return HV_OK;
    case HV_PAGE_READONLY:
        ask(out, PT_R, 0);
        return HV_OK;
    case HV_PAGE_READWRITE:
        ask(out, PT_R | PT_W, HV_SECTION_MAP_WRITE);
        return HV_OK;
    case HV_PAGE_EXECUTE: /* the format has no execute-only */
    case HV_PAGE_EXECUTE_READ:
        ask(out, PT_R | PT_X, HV_SECTION_MAP_EXECUTE);
        return HV_OK;
    case HV_PAGE_WRITECOPY:
    case HV_PAGE_EXECUTE_READWRITE:
    case HV_PAGE_EXECUTE_WRITECOPY:
        return HV_E_NOT_SUPPORTED;
    default:
        return HV_E_INVALID_PROTECTION;
    }
}

hv_status_t view_protection(uint32_t protect, struct view_protection *out)
{
    uint32_t cache = protect & CACHE_BITS;
    hv_status_t status;

    if (cache == CACHE_BITS)
        return HV_E_INVALID_PROTECTION;
    status = decode_base(protect & ~CACHE_BITS, out);
    if (status == HV_OK && cache != 0) {
        out->wish.fixed = true;
        out->wish.memtype = cache == HV_PAGE_NOCACHE ? MEMTYPE_UC : MEMTYPE_WC;
    }
    return status;
}

/* ---- places ---- */

static struct area *area_of(uint64_t address)
{
    return address < VIEW_LOW_LIMIT ? &low : &high;
}

struct view *view_at(uint64_t address)
{
    struct area_slot *slot = area_at(area_of(address), address);

    return slot != NULL && slot != &image ? CONTAINER_OF(slot, struct view, slot) : NULL;
}

hv_status_t view_find_at(uint64_t base, uint64_t pages, bool whole_blocks, struct area_spot *spot)
{
    uint64_t bytes = bytes_of(pages);

    if (whole_blocks)
        bytes = ALIGN_UP(bytes, AREA_BLOCK);
    return area_find_at(area_of(base), base, bytes, spot) ? HV_OK : HV_E_CONFLICTING_ADDRESSES;
}

hv_status_t view_find(uint64_t pages, uint32_t zero_bits, bool large, bool top_down,
                      struct area_spot *spot)
{
    struct area *area = zero_bits != 0 ? &low : &high;
    struct area_want want = {.bytes = bytes_of(pages),
                             .align = large || pages >= LARGE_PAGES ? LARGE_BYTES : AREA_BLOCK,
                             .limit = zero_bits != 0 ? 1ull << (LOW_BITS - zero_bits) : ~0ull,
                             .top_down = top_down};

    if (area_find(area, &want, spot))
        return HV_OK;
    want.align = AREA_BLOCK;
    return !large && area_find(area, &want, spot) ? HV_OK : HV_E_NO_MEMORY;
}

/* ---- leaves ---- */

static hva_t address_of(const struct view *view, uint64_t page)
{
    return HVA(view_base(view).v + bytes_of(page));
}

/* A run of frames that begins at `page` of the view, or of pages without any: false. */
static bool frames_of(const struct view *view, uint64_t page, hpa_t *frame, uint64_t *run)
{
    if (view->kind == VIEW_SECTION)
        return mapping_frames(&view->mapping, page, frame, run);
    *frame = HPA(view->frame.v + bytes_of(page));
    *run = view->pages - page;
    return true;
}

/* Tables that these pages can take whatever their frames are. */
static uint64_t most_tables(const struct view *view, uint64_t page, uint64_t pages)
{
    return space_view_tables(address_of(view, page), HPA(0), pages, false);
}

/* Tables for the whole view with the frames that it has now. */
static uint64_t tables_of(const struct view *view)
{
    uint64_t most = most_tables(view, 0, view->pages), sum = 0, run;

    for (uint64_t page = 0; page < view->pages && sum < most; page += run) {
        hpa_t frame;

        if (frames_of(view, page, &frame, &run))
            sum += space_view_tables(address_of(view, page), frame, run, true);
    }
    return MIN(sum, most);
}

/* Fill in the pages that have frames, from a promise of tables, and give back what that leaves. */
static void fill(const struct view *view, uint64_t page, uint64_t pages, uint64_t tables)
{
    uint64_t end = page + pages, run;

    for (; page < end; page += run) {
        hpa_t frame;

        if (frames_of(view, page, &frame, &run))
            space_view_map(address_of(view, page), frame, MIN(run, end - page), view->rights,
                           view->memtype, &tables);
    }
    space_view_unreserve(tables);
}

static struct view *view_of(struct mapping *mapping)
{
    return CONTAINER_OF(mapping, struct view, mapping);
}

static hv_status_t prepare_pages(struct mapping *mapping, uint64_t page, uint64_t pages)
{
    return space_view_reserve(most_tables(view_of(mapping), page, pages));
}

static void commit_pages(struct mapping *mapping, uint64_t page, uint64_t pages)
{
    const struct view *view = view_of(mapping);

    fill(view, page, pages, most_tables(view, page, pages));
}

static void cancel_pages(struct mapping *mapping, uint64_t page, uint64_t pages)
{
    space_view_unreserve(most_tables(view_of(mapping), page, pages));
}

const struct mapping_owner view_owner = {
    .user = SECTION_USER_VIEW,
    .prepare = prepare_pages,
    .commit = commit_pages,
    .cancel = cancel_pages,
};

/* ---- life ---- */

struct view *view_take(void)
{
    return slab_take(&view_slab);
}

void view_drop(struct view *view)
{
    slab_free(&view_slab, view);
}

/* Leaves for all frames that the view has now. */
static hv_status_t fill_new(const struct view *view)
{
    uint64_t tables, run;
    hv_status_t status;
    hpa_t frame;

    if (frames_of(view, 0, &frame, &run) && run == view->pages) /* mostly */
        return space_view_map_run(view_base(view), frame, run, view->rights, view->memtype);
    tables = tables_of(view);
    status = space_view_reserve(tables);
    if (status == HV_OK)
        fill(view, 0, view->pages, tables);
    return status;
}

hv_status_t view_enter(struct view *view, const struct area_spot *spot)
{
    hv_status_t status = HV_OK;

    area_take(spot, &view->slot, bytes_of(view->pages));
    if (view->rights != 0)
        status = fill_new(view);
    if (status != HV_OK)
        area_release(spot->area, &view->slot);
    else
        __atomic_fetch_add(&live, 1, __ATOMIC_RELAXED);
    return status;
}

void view_leave(struct view *view)
{
    if (view->rights != 0) {
        /* Stores that wait in write-combining buffers, or for the device, go before the addresses do. */
        if (view->memtype != MEMTYPE_WB)
            mfence();
        space_view_unmap(view_base(view), view->pages);
    }
    area_release(area_of(view_base(view).v), &view->slot);
    slab_free(&view_slab, view);
    __atomic_fetch_sub(&live, 1, __ATOMIC_RELAXED);
}

uint64_t view_live_count(void)
{
    return __atomic_load_n(&live, __ATOMIC_RELAXED);
}

void view_trim(void)
{
    lock_acquire(&section_lock);
    slab_trim(&view_slab);
    space_view_trim();
    lock_release(&section_lock);
}

/* Other addresses below 4 GiB are nobody's: the direct map and the windows lie far above. */
static void keep_image(void)
{
    struct area_spot spot;
    hva_t start, end;
    uint64_t base;

    space_image(&start, &end);
    base = MAX(start.v, VIEW_LOW_BASE);
    end.v = MIN(end.v, VIEW_LOW_LIMIT);
    if (base < end.v && area_find_at(&low, base, end.v - base, &spot))
        area_take(&spot, &image, end.v - base);
}

void view_init(void)
{
    area_init(&high, VIEW_BASE, VIEW_BASE + VIEW_BYTES);
    area_init(&low, VIEW_LOW_BASE, VIEW_LOW_LIMIT);
    keep_image();
}
