#include "hv/mem/backing.h"

#include "hv/base/assert.h"
#include "hv/base/direct.h"
#include "hv/base/lock.h"
#include "hv/base/string.h"
#include "hv/mem/frames.h"
#include "hv/mem/space.h"
#include "hv/mem/window.h"

#define LARGE_BYTES         (LARGE_PAGES * PAGE_BYTES)
#define ARCHITECTURAL_LIMIT (1ull << 52)

struct span {
    hpa_t base;
    uint64_t pages;
};

static struct module {
    struct span span; /* pages 0: no such module */
    uint32_t
        users; /* sections over it; the first takes it out of the direct map. Lock: section_lock */
} modules[SECTION_MAX_MODULES];

static struct forbidden {
    struct span span;
    bool is_memory; /* else registers */
} forbidden[SECTION_MAX_FORBIDDEN];
static unsigned forbidden_count;
static uint64_t physical_limit = ARCHITECTURAL_LIMIT;

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

static void forbid(hpa_t base, uint64_t bytes, bool is_memory)
{
    hpa_t first = HPA(ALIGN_DOWN(base.v, PAGE_BYTES));
    struct forbidden *entry = &forbidden[forbidden_count];

    ASSERT(forbidden_count < SECTION_MAX_FORBIDDEN);
    entry->span.base = first;
    entry->span.pages = pages_of(base.v - first.v + bytes);
    entry->is_memory = is_memory;
    forbidden_count++;
}

void section_forbid(hpa_t base, uint64_t bytes)
{
    forbid(base, bytes, true);
}

void section_forbid_registers(hpa_t base, uint64_t bytes)
{
    forbid(base, bytes, false);
}

void section_set_physical_limit(uint64_t limit)
{
    physical_limit = limit;
}

uint64_t backing_physical_limit(void)
{
    return physical_limit;
}

/* ---- checks ---- */

static bool span_touches(const struct span *span, hpa_t base, uint64_t pages)
{
    uint64_t bytes = span->pages << PAGE_SHIFT;

    return base.v < span->base.v + bytes && span->base.v < base.v + (pages << PAGE_SHIFT);
}

static bool is_forbidden(hpa_t base, uint64_t pages, bool is_memory)
{
    for (unsigned i = 0; i < forbidden_count; i++) {
        if (forbidden[i].is_memory == is_memory && span_touches(&forbidden[i].span, base, pages))
            return true;
    }
    return false;
}

bool backing_is_memory(hpa_t base, uint64_t pages)
{
    if (frames_owns(&hv_frames, base, pages))
        return true;
    for (unsigned i = 0; i < SECTION_MAX_MODULES; i++) {
        if (span_touches(&modules[i].span, base, pages))
            return true;
    }
    return is_forbidden(base, pages, true);
}

static bool is_ours(hpa_t base, uint64_t pages)
{
    return backing_is_memory(base, pages) || is_forbidden(base, pages, false);
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

static hv_status_t create_named(struct backing *backing, const struct hv_section_backing *spec)
{
    hv_status_t status = extents_add(&backing->extents, 0, span_of(spec).base, backing->pages);

    if (status == HV_OK && backing->origin == BACKING_MODULE) {
        status = enter_module(&modules[backing->module]);
        if (status != HV_OK)
            extents_forget(&backing->extents);
    }
    return status;
}

hv_status_t backing_create(struct backing *backing, const struct hv_section_backing *spec,
                           uint64_t pages, uint32_t attributes)
{
    *backing = (struct backing){.pages = pages, .origin = BACKING_ANONYMOUS};
    if (spec != NULL) {
        backing->origin = spec->kind == HV_BACKING_MODULE ? BACKING_MODULE : BACKING_PHYSICAL;
        backing->module = spec->module;
        return create_named(backing, spec);
    }
    return attributes & HV_SEC_RESERVE ? HV_OK
                                       : extents_fill(&backing->extents, 0, pages, attributes);
}

void backing_destroy(struct backing *backing)
{
    if (backing->origin == BACKING_ANONYMOUS) {
        extents_release(&backing->extents);
        return;
    }
    if (backing->origin == BACKING_MODULE)
        leave_module(&modules[backing->module]);
    extents_forget(&backing->extents);
}

bool backing_frames(const struct backing *backing, uint64_t page, hpa_t *frame, uint64_t *run_pages)
{
    bool has_frame;

    ASSERT(page < backing->pages);
    has_frame = extents_find(&backing->extents, page, frame, run_pages);
    *run_pages = MIN(*run_pages, backing->pages - page);
    return has_frame;
}
