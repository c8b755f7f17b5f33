#include "hv/mem/view.h"

#include "hv/base/lock.h"
#include "hv/mem/handle.h"
#include "hv/mem/section_object.h"
#include "hv/mem/view_record.h"

#define MAX_ZERO_BITS 20u
#define LOW_BITS      32u

#define ALLOCATION_LEGAL \
    ((uint32_t)(HV_VIEW_TOP_DOWN | HV_VIEW_PAGE_GRANULAR | HV_VIEW_LARGE_PAGES))

/* One call's arguments, and what the checks make of them. */
struct request {
    hv_handle_t handle;
    uint64_t base; /* 0: anywhere */
    uint32_t zero_bits;
    uint64_t commit_bytes, offset, bytes;
    uint32_t inherit, allocation, protect;
    struct section *section;
    uint32_t granted;  /* to the handle */
    hv_status_t nulls; /* what is to be said about pointers */
    struct view_protection want;
    uint64_t section_page, pages;
    struct area_spot spot;
};

/* ---- checks ---- */

static hv_status_t find_section(struct request *r)
{
    const struct handle_entry *entry = handle_find(r->handle);

    if (entry == NULL)
        return HV_E_INVALID_HANDLE;
    if (entry->kind != HANDLE_SECTION)
        return HV_E_OBJECT_TYPE;
    r->section = entry->object;
    r->granted = entry->access;
    return HV_OK;
}

static hv_status_t check_numbers(const struct request *r)
{
    if (r->zero_bits > MAX_ZERO_BITS ||
        (r->zero_bits != 0 && r->base >> (LOW_BITS - r->zero_bits) != 0))
        return HV_E_INVALID_PARAMETER_4;
    if (r->inherit != HV_VIEW_SHARE && r->inherit != HV_VIEW_UNMAP)
        return HV_E_INVALID_PARAMETER_8;
    if ((r->allocation & ~ALLOCATION_LEGAL) != 0)
        return HV_E_INVALID_PARAMETER_9;
    return HV_OK;
}

/* What the section as such allows comes before what this handle may. */
static hv_status_t check_protection(struct request *r)
{
    hv_status_t status = view_protection(r->protect, &r->want);

    if (status != HV_OK)
        return status;
    if ((r->want.access & ~r->section->allowed) != 0)
        return HV_E_SECTION_PROTECTION;
    return (r->want.access & ~r->granted) != 0 ? HV_E_ACCESS_DENIED : HV_OK;
}

static hv_status_t check_window(struct request *r)
{
    uint64_t granularity = r->allocation & HV_VIEW_PAGE_GRANULAR ? PAGE_BYTES : HV_VIEW_GRANULARITY;
    uint64_t all = r->section->facts.pages, left;

    if (r->bytes > VIEW_BYTES)
        return HV_E_INVALID_PARAMETER_3;
    if (!IS_ALIGNED(r->base | r->offset, granularity))
        return HV_E_MAPPED_ALIGNMENT;
    r->section_page = r->offset >> PAGE_SHIFT;
    if (r->section_page >= all)
        return HV_E_INVALID_PARAMETER_6;
    left = all - r->section_page;
    r->pages = r->bytes == 0 ? left : pages_of(r->bytes);
    if (r->pages > left)
        return HV_E_INVALID_VIEW_SIZE;
    return pages_of(r->commit_bytes) > r->pages ? HV_E_INVALID_PARAMETER_5 : HV_OK;
}

/* A place of the caller's is compared before types are; whether there is any other is seen last. */
static hv_status_t check_target(struct request *r)
{
    hv_status_t status = HV_OK;

    if (r->base != 0)
        status =
            view_find_at(r->base, r->pages, !(r->allocation & HV_VIEW_PAGE_GRANULAR), &r->spot);
    if (status == HV_OK && r->want.rights != 0)
        status = mapping_choose_type(r->section, r->section_page, r->pages, &r->want.wish);
    return status;
}

/* ---- map ---- */

/* A view without rights holds the section and no type. */
static void unmap(struct view *view)
{
    if (view->rights != 0)
        mapping_remove(&view->mapping);
    view_leave(view);
}

static hv_status_t enter(struct request *r, struct view *view)
{
    enum memtype memtype = r->want.wish.memtype;
    hv_status_t status;

    view->kind = VIEW_SECTION;
    view->rights = r->want.rights;
    view->pages = r->pages;
    view->memtype = memtype;
    view->mapping.section = r->section;
    view->mapping.owner = &view_owner;
    view->mapping.section_page = r->section_page;
    view->mapping.pages = r->pages;
    view->mapping.memtype = memtype;
    if (view->rights != 0 && memtype != MEMTYPE_WB)
        mapping_flush_stale(r->section, r->section_page, r->pages);
    status = view_enter(view, &r->spot);
    if (status == HV_OK && view->rights != 0)
        mapping_add(&view->mapping, &r->want.wish.place);
    return status;
}

/* The section has been checked, and section_lock is held. */
static hv_status_t map(struct request *r)
{
    struct view *view;
    hv_status_t status = HV_OK;

    if (r->base == 0)
        status = view_find(r->pages, r->zero_bits, r->allocation & HV_VIEW_LARGE_PAGES,
                           r->allocation & HV_VIEW_TOP_DOWN, &r->spot);
    if (status != HV_OK)
        return status;
    view = view_take();
    if (view == NULL)
        return HV_E_NO_MEMORY;
    status = enter(r, view);
    if (status != HV_OK)
        view_drop(view);
    return status;
}

/* All of it, with section_lock held. The view has a reference of its own then, and so has a commit to come. */
static hv_status_t map_locked(struct request *r)
{
    hv_status_t status = find_section(r);

    if (status != HV_OK)
        return status;
    status = r->nulls;
    if (status == HV_OK)
        status = check_numbers(r);
    if (status == HV_OK)
        status = check_protection(r);
    if (status == HV_OK)
        status = check_window(r);
    if (status == HV_OK)
        status = check_target(r);
    if (status == HV_OK)
        status = map(r);
    if (status == HV_OK)
        r->section->views += r->commit_bytes != 0 ? 2 : 1;
    return status;
}

/*
 * The first pages of a reserved section's view get frames last: the view is entered, so it gets its leaves like any
 * other of the section. The caller has taken a reference for this; no lock is held.
 */
static hv_status_t commit(const struct request *r)
{
    void *base = (void *)(uintptr_t)r->spot.base;
    hv_status_t status = section_commit(r->section, r->section_page, pages_of(r->commit_bytes));

    if (status != HV_OK)
        (void)hv_section_unmap_view(HV_SPACE_HYPERVISOR, base);
    section_unref(r->section, SECTION_USER_VIEW);
    return status;
}

hv_status_t hv_section_map_view(hv_handle_t section, hv_handle_t space, void **base,
                                uint32_t zero_bits, uint64_t commit_size, uint64_t *section_offset,
                                uint64_t *view_size, uint32_t inherit, uint32_t allocation_type,
                                uint32_t protect)
{
    struct request r; /* the rest of it is set by the checks */
    hv_status_t status;

    r.handle = section;
    r.base = base != NULL ? (uint64_t)(uintptr_t)*base : 0;
    r.zero_bits = zero_bits;
    r.commit_bytes = commit_size;
    r.offset = section_offset != NULL ? *section_offset : 0;
    r.bytes = view_size != NULL ? *view_size : 0;
    r.inherit = inherit;
    r.allocation = allocation_type;
    r.protect = protect;
    r.nulls = base == NULL        ? HV_E_INVALID_PARAMETER_3
              : view_size == NULL ? HV_E_INVALID_PARAMETER_7
                                  : HV_OK;
    if (space != HV_SPACE_HYPERVISOR)
        return HV_E_INVALID_HANDLE;
    lock_acquire(&section_lock);
    status = map_locked(&r);
    lock_release(&section_lock);
    if (status == HV_OK && commit_size != 0)
        status = commit(&r);
    if (status != HV_OK)
        return status;
    ASSERT(base != NULL && view_size != NULL); /* r.nulls */
    *base = (void *)(uintptr_t)r.spot.base;
    *view_size = r.pages << PAGE_SHIFT;
    if (section_offset != NULL)
        *section_offset = r.offset;
    return HV_OK;
}

/* ---- unmap ---- */

hv_status_t hv_section_unmap_view(hv_handle_t space, void *base)
{
    struct section *section, *dead = NULL;
    struct view *view;

    if (space != HV_SPACE_HYPERVISOR)
        return HV_E_INVALID_HANDLE;
    lock_acquire(&section_lock);
    view = view_at((uint64_t)(uintptr_t)base);
    if (view == NULL || view->kind != VIEW_SECTION) {
        lock_release(&section_lock);
        return HV_E_NOT_MAPPED;
    }
    section = view->mapping.section;
    unmap(view);
    section_unref_locked(section, SECTION_USER_VIEW, 1, &dead);
    lock_release(&section_lock);
    section_destroy(dead);
    return HV_OK;
}
