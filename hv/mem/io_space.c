#include "hv/mem/view.h"

#include "hv/base/lock.h"
#include "hv/mem/backing.h"
#include "hv/mem/view_record.h"
#include "hv/mem/window.h"
#include "hv/x86/mtrr.h"

static const struct mtrr *mtrr; /* of every CPU alike; set once */

void io_space_init(const struct mtrr *machine)
{
    mtrr = machine;
}

/* One call's arguments, and what the checks make of them. */
struct request {
    hpa_t frame;
    uint64_t pages;
    uint16_t offset;
    struct view_protection want;
};

static uint64_t page_of(hpa_t frame)
{
    return frame.v >> PAGE_SHIFT;
}

/* ---- what the MTRRs say ---- */

/* Are the frames of the pages [page, page + *run) write-back? *run ends at `end` at the latest. */
static bool next_run(uint64_t page, uint64_t end, uint64_t *run)
{
    hpa_t frame = HPA(page << PAGE_SHIFT);

    *run = MIN(mtrr_run(mtrr, frame), end - page);
    return mtrr_type(mtrr, frame) == MEMTYPE_WB;
}

static enum memtype natural_type(const struct request *r)
{
    uint64_t page = page_of(r->frame), end = page + r->pages, run;

    for (; page < end; page += run) {
        if (!next_run(page, end, &run))
            return MEMTYPE_UC;
    }
    return MEMTYPE_WB;
}

/* Firmware has used its memory write-back. Where a type is in force this was done before. */
static void flush_stale(const struct request *r)
{
    struct ledger_part part = {.first = page_of(r->frame)};

    while (ledger_next_free(&hv_ledger, page_of(r->frame), r->pages, &part)) {
        uint64_t end = part.first + part.pages, run;

        for (uint64_t page = part.first; page < end; page += run) {
            if (next_run(page, end, &run))
                window_flush_lines(HPA(page << PAGE_SHIFT), run);
        }
    }
}

/* ---- map ---- */

static hv_status_t check_protection(uint32_t protect, struct view_protection *want)
{
    hv_status_t status = view_protection(protect, want);

    /* Neither of them means anything here, so they are no protection at all. */
    if (protect & (HV_PAGE_WRITECOPY | HV_PAGE_EXECUTE_WRITECOPY))
        return HV_E_INVALID_PROTECTION;
    return status == HV_OK && want->rights == 0 ? HV_E_INVALID_PROTECTION : status;
}

static hv_status_t check(hpa_t phys, uint64_t bytes, uint32_t protect, struct request *r)
{
    uint64_t limit = backing_physical_limit();
    hv_status_t status;

    if (bytes == 0)
        return HV_E_INVALID_PARAMETER_2;
    if (phys.v >= limit || bytes > limit - phys.v)
        return HV_E_INVALID_PARAMETER_1;
    status = check_protection(protect, &r->want);
    if (status != HV_OK)
        return status;
    r->frame = HPA(phys.v & ~PAGE_MASK);
    r->offset = (uint16_t)(phys.v & PAGE_MASK);
    r->pages = pages_of(r->offset + bytes);
    return backing_is_memory(r->frame, r->pages) ? HV_E_ACCESS_DENIED : HV_OK;
}

/* section_lock is held. */
static hv_status_t choose_type(struct request *r)
{
    struct ledger_wish *wish = &r->want.wish;

    if (!wish->fixed) {
        wish->memtype = natural_type(r);
        wish->fixed = true;
    }
    return ledger_check(&hv_ledger, page_of(r->frame), r->pages, wish);
}

/* A run of frames anywhere. section_lock is held. */
static hv_status_t map_run(enum view_kind kind, const struct request *r, struct view **out)
{
    struct area_spot spot;
    struct view *view;
    hv_status_t status = view_find(r->pages, 0, false, false, &spot);

    if (status != HV_OK)
        return status;
    view = view_take();
    if (view == NULL)
        return HV_E_NO_MEMORY;
    view->kind = kind;
    view->rights = r->want.rights;
    view->offset = r->offset;
    view->pages = r->pages;
    view->memtype = r->want.wish.memtype;
    view->frame = r->frame;
    if (view->memtype != MEMTYPE_WB)
        flush_stale(r);
    status = view_enter(view, &spot);
    if (status != HV_OK)
        view_drop(view);
    else
        *out = view;
    return status;
}

static hv_status_t map_locked(struct request *r, struct view **view)
{
    const struct ledger_wish *wish = &r->want.wish;
    hv_status_t status = map_run(VIEW_IO, r, view);

    if (status == HV_OK)
        ledger_add(&hv_ledger, &(*view)->mapping.types, page_of(r->frame), r->pages, wish->memtype,
                   &wish->place);
    return status;
}

hv_status_t hv_io_space_map(hpa_t phys, uint64_t bytes, uint32_t protect, void **va)
{
    struct request r;
    struct view *view;
    hv_status_t status = check(phys, bytes, protect, &r);

    if (status != HV_OK)
        return status;
    lock_acquire(&section_lock);
    status = choose_type(&r);
    if (status == HV_OK && va == NULL)
        status = HV_E_INVALID_PARAMETER_4;
    if (status == HV_OK)
        status = map_locked(&r, &view);
    if (status == HV_OK)
        *va = (void *)(uintptr_t)(view_base(view).v + r.offset);
    lock_release(&section_lock);
    return status;
}

/* ---- unmap ---- */

/* The one whose address was given out as `va`; NULL: none of this kind. */
static struct view *find(enum view_kind kind, const void *va)
{
    uint64_t address = (uint64_t)(uintptr_t)va;
    struct view *view = view_at(address);

    if (view == NULL || view->kind != kind || view_base(view).v + view->offset != address)
        return NULL;
    return view;
}

static bool has_pages(const struct view *view, uint64_t bytes)
{
    return bytes != 0 && bytes <= VIEW_BYTES && pages_of(view->offset + bytes) == view->pages;
}

hv_status_t hv_io_space_unmap(void *va, uint64_t bytes)
{
    hv_status_t status = HV_OK;
    struct view *view;

    lock_acquire(&section_lock);
    view = find(VIEW_IO, va);
    if (view == NULL) {
        status = HV_E_NOT_MAPPED;
    } else if (!has_pages(view, bytes)) {
        status = HV_E_INVALID_PARAMETER_2;
    } else {
        ledger_remove(&hv_ledger, &view->mapping.types);
        view_leave(view);
    }
    lock_release(&section_lock);
    return status;
}

/* ---- guest RAM ---- */

hv_status_t view_map_ram(hpa_t frame, uint64_t pages, bool read_only, void **va)
{
    struct request r = {
        .frame = frame,
        .pages = pages,
        .want = {.rights = read_only ? PT_R : PT_R | PT_W, .wish = {.memtype = MEMTYPE_WB}}};
    struct view *view;
    hv_status_t status;

    lock_acquire(&section_lock);
    status = map_run(VIEW_RAM, &r, &view);
    if (status == HV_OK)
        *va = (void *)(uintptr_t)view_base(view).v;
    lock_release(&section_lock);
    return status;
}

hv_status_t view_unmap_ram(void *va)
{
    struct view *view;

    lock_acquire(&section_lock);
    view = find(VIEW_RAM, va);
    if (view != NULL)
        view_leave(view);
    lock_release(&section_lock);
    return view != NULL ? HV_OK : HV_E_NOT_MAPPED;
}
