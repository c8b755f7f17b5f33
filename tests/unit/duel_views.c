/* Views and I/O space of a duel: the model is a handful of entries. */
#include "tests/unit/duel.h"

#include "hv/mem/view_record.h"
#include "tests/fake/ptwatch.h"
#include "tests/fake/space.h"
#include "tests/unit/pci_views.h"
#include "tests/unit/pci_world.h"

#define BLOCK HV_VIEW_GRANULARITY
#define CACHE ((uint32_t)(HV_PAGE_NOCACHE | HV_PAGE_WRITECOMBINE))

void duel_views_open(void)
{
    pci_views_open();
    duel.model.object[MODEL_DEVICE_OBJECT].live = true;
    duel.model.object[MODEL_DEVICE_OBJECT].origin = MODEL_DEVICE_MEMORY;
    duel.model.object[MODEL_DEVICE_OBJECT].default_type = MEMTYPE_UC;
}

/* ---- what a protection means ---- */

struct want {
    uint32_t access;
    uint8_t rights;
    int type; /* -1: open */
};

static hv_status_t check_protection(uint32_t protect, struct want *want)
{
    uint32_t base = protect & ~CACHE;
    bool is_write = base == HV_PAGE_READWRITE;
    bool is_code = base == HV_PAGE_EXECUTE || base == HV_PAGE_EXECUTE_READ;

    if ((protect & CACHE) == CACHE || base == 0 || (base & (base - 1)) != 0 || base > 0x80)
        return HV_E_INVALID_PROTECTION;
    if (base == HV_PAGE_WRITECOPY || base == HV_PAGE_EXECUTE_WRITECOPY ||
        base == HV_PAGE_EXECUTE_READWRITE)
        return HV_E_NOT_SUPPORTED;
    want->access = HV_SECTION_MAP_READ | (is_write ? (uint32_t)HV_SECTION_MAP_WRITE : 0) |
                   (is_code ? (uint32_t)HV_SECTION_MAP_EXECUTE : 0);
    want->rights = base == HV_PAGE_NOACCESS
                       ? 0
                       : (uint8_t)(PT_R | (is_write ? PT_W : 0) | (is_code ? PT_X : 0));
    want->type = protect & HV_PAGE_NOCACHE        ? MEMTYPE_UC
                 : protect & HV_PAGE_WRITECOMBINE ? MEMTYPE_WC
                                                  : -1;
    return HV_OK;
}

/* ---- places ---- */

static bool is_taken(uint64_t base, uint64_t end)
{
    for (unsigned i = 0; i < MODEL_VIEWS; i++) {
        const struct model_view *v = &duel.model.view[i];

        if (v->live && base < v->base + v->units * PAGE_BYTES && v->base < end)
            return true;
    }
    return false;
}

/* An address that was chosen for us: on its granularity, and nobody else's. */
static void check_place(uint64_t base, uint64_t bytes, uint64_t granularity)
{
    assert_int_equal(base % granularity, 0);
    assert_true(base >= VIEW_BASE && base + bytes <= VIEW_BASE + VIEW_BYTES);
    assert_false(is_taken(base, base + bytes));
}

/* ---- views ---- */

static hv_status_t check_window(const struct duel_op *op, uint64_t units, struct model_view *view)
{
    uint64_t granularity = op->flags & HV_VIEW_PAGE_GRANULAR ? PAGE_BYTES : BLOCK;
    uint64_t page = op->call[0].section_page, count = op->call[0].count;

    if (count > VIEW_BYTES / PAGE_BYTES)
        return HV_E_INVALID_PARAMETER_3;
    if (op->value % granularity != 0 || page * PAGE_BYTES % granularity != 0)
        return HV_E_MAPPED_ALIGNMENT;
    if (page >= units)
        return HV_E_INVALID_PARAMETER_6;
    count = count == 0 ? units - page : count;
    if (count > units - page)
        return HV_E_INVALID_VIEW_SIZE;
    if (pages_of(op->bytes) > count)
        return HV_E_INVALID_PARAMETER_5;
    view->unit = (uint32_t)page;
    view->units = (uint32_t)count;
    return HV_OK;
}

static hv_status_t predict_view(const struct duel_op *op, struct model_view *view)
{
    unsigned object = 0;
    struct want want = {0};
    hv_status_t status = model_handle(&duel.model, op->handle, 0, &object);

    if (status != HV_OK)
        return status;
    if (op->flags & ~(uint32_t)(HV_VIEW_TOP_DOWN | HV_VIEW_PAGE_GRANULAR | HV_VIEW_LARGE_PAGES))
        return HV_E_INVALID_PARAMETER_9;
    status = check_protection(op->access, &want);
    if (status != HV_OK)
        return status;
    if (want.access & ~duel.model.object[object].allowed)
        return HV_E_SECTION_PROTECTION;
    status = model_handle(&duel.model, op->handle, want.access, &object);
    if (status != HV_OK)
        return status;
    *view = (struct model_view){.live = true, .object = (uint8_t)object, .rights = want.rights};
    status = check_window(op, duel.model.object[object].units, view);
    if (status != HV_OK)
        return status;
    if (op->value != 0) {
        uint64_t bytes = view->units * PAGE_BYTES;

        if (!(op->flags & HV_VIEW_PAGE_GRANULAR))
            bytes = ALIGN_UP(bytes, BLOCK);
        if (op->value < VIEW_BASE || op->value + bytes > VIEW_BASE + VIEW_BYTES ||
            is_taken(op->value, op->value + bytes))
            return HV_E_CONFLICTING_ADDRESSES;
    }
    if (want.rights == 0)
        return HV_OK;
    return model_choose_type(&duel.model, object, view->unit, view->units, want.type, &view->type);
}

/* The pages that the call commits, in the model. */
static uint64_t commit_in_model(const struct duel_op *op, const struct model_view *view)
{
    struct model_object *o = &duel.model.object[view->object];
    uint64_t missing = 0;

    for (uint64_t i = 0; i < pages_of(op->bytes); i++)
        if (o->frame[view->unit + i] == 0) {
            o->frame[view->unit + i] = MODEL_FRAME_SOON;
            missing++;
        }
    return missing;
}

static void step_view(const struct duel_op *op)
{
    void *base = (void *)(uintptr_t)op->value;
    uint64_t offset = op->call[0].section_page * PAGE_BYTES;
    uint64_t bytes = op->call[0].count * PAGE_BYTES;
    struct model_view view = {0};
    hv_status_t want = predict_view(op, &view), got;

    if (duel.model.view[op->object].live)
        return;
    if (want == HV_OK)
        commit_in_model(op, &view);
    duel_begin(false);
    got = hv_section_map_view(duel_real_handle(op->handle), HV_SPACE_HYPERVISOR, &base, 0,
                              op->bytes, &offset, &bytes, HV_VIEW_UNMAP, op->flags, op->access);
    if (duel_gave_up(got))
        return;
    duel_verdict(got, want);
    assert_int_equal(offset, op->call[0].section_page * PAGE_BYTES);
    if (want != HV_OK) {
        assert_int_equal((uintptr_t)base, op->value);
        assert_int_equal(bytes, op->call[0].count * PAGE_BYTES);
        return;
    }
    assert_int_equal(bytes, view.units * PAGE_BYTES);
    view.base = (uintptr_t)base;
    if (op->value == 0)
        check_place(view.base, bytes, op->flags & HV_VIEW_LARGE_PAGES ? MIB(2) : BLOCK);
    else
        assert_int_equal(view.base, op->value);
    model_view_add(&duel.model, op->object, &view);
    duel_learn_frames(view.object);
}

/* Any address inside will do. */
static void step_unview(const struct duel_op *op)
{
    const struct model_view *v = &duel.model.view[op->object];
    uint64_t address = v->live ? v->base + op->value % (v->units * PAGE_BYTES) : VIEW_BASE;
    hv_status_t want = v->live && !v->is_io ? HV_OK : HV_E_NOT_MAPPED;

    if (!v->live && is_taken(address, address + 1))
        return;
    duel_begin(false);
    duel_verdict(hv_section_unmap_view(HV_SPACE_HYPERVISOR, (void *)(uintptr_t)address), want);
    if (want == HV_OK)
        model_view_remove(&duel.model, op->object);
}

/* ---- I/O space ---- */

static hv_status_t predict_io(const struct duel_op *op, struct model_view *view)
{
    uint64_t first = op->value / PAGE_BYTES, end = pages_of(op->value + op->bytes);
    const uint64_t device = DUEL_DEVICE_BASE / PAGE_BYTES;
    struct want want = {0};
    hv_status_t status;

    if (op->bytes == 0)
        return HV_E_INVALID_PARAMETER_2;
    status = check_protection(op->access, &want);
    if (op->access & (HV_PAGE_WRITECOPY | HV_PAGE_EXECUTE_WRITECOPY))
        status = HV_E_INVALID_PROTECTION;
    if (status != HV_OK)
        return status;
    if (want.rights == 0)
        return HV_E_INVALID_PROTECTION;
    if (first < device)
        return HV_E_ACCESS_DENIED; /* of device memory and our own we ask only */
    *view = (struct model_view){.live = true,
                                .is_io = true,
                                .object = MODEL_DEVICE_OBJECT,
                                .rights = want.rights,
                                .unit = (uint32_t)(first - device),
                                .units = (uint32_t)(end - first),
                                .bytes = op->bytes};
    return model_choose_type(&duel.model, MODEL_DEVICE_OBJECT, view->unit, view->units,
                             want.type < 0 ? MEMTYPE_UC : want.type, &view->type);
}

static void step_io(const struct duel_op *op)
{
    void *va = (void *)(uintptr_t)0x5a5a;
    struct model_view view = {0};
    hv_status_t want = predict_io(op, &view), got;

    if (duel.model.view[op->object].live)
        return;
    duel_begin(false);
    got = hv_io_space_map(HPA(op->value), op->bytes, op->access, &va);
    if (duel_gave_up(got))
        return;
    duel_verdict(got, want);
    if (want != HV_OK) {
        assert_int_equal((uintptr_t)va, 0x5a5a);
        return;
    }
    assert_int_equal((uintptr_t)va % PAGE_BYTES, op->value % PAGE_BYTES);
    view.base = (uintptr_t)va & ~PAGE_MASK;
    check_place(view.base, view.units * PAGE_BYTES, BLOCK);
    view.base = (uintptr_t)va & ~PAGE_MASK;
    duel.io_offset[op->object] = (uint16_t)(op->value & PAGE_MASK);
    model_view_add(&duel.model, op->object, &view);
}

/* The exact address, and a number of bytes that touches as many pages. */
static void step_unio(const struct duel_op *op)
{
    const struct model_view *v = &duel.model.view[op->object];
    uint64_t address, bytes;
    hv_status_t want = HV_OK;

    if (!v->live)
        return;
    address = v->base + duel.io_offset[op->object] + op->value;
    bytes = op->bytes != 0 ? op->bytes : v->bytes;
    if (!v->is_io || op->value != 0)
        want = HV_E_NOT_MAPPED;
    else if (pages_of(duel.io_offset[op->object] + bytes) != v->units)
        want = HV_E_INVALID_PARAMETER_2;
    duel_begin(false);
    duel_verdict(hv_io_space_unmap((void *)(uintptr_t)address, bytes), want);
    if (want == HV_OK)
        model_view_remove(&duel.model, op->object);
}

void duel_step_view(const struct duel_op *op)
{
    if (duel.config.shift != 0)
        return;
    if (op->kind == DUEL_VIEW)
        step_view(op);
    else if (op->kind == DUEL_UNVIEW)
        step_unview(op);
    else if (op->kind == DUEL_IO)
        step_io(op);
    else
        step_unio(op);
}

void duel_views_drop(unsigned index)
{
    struct model_view *v = &duel.model.view[index];
    void *va = (void *)(uintptr_t)(v->base + (v->is_io ? duel.io_offset[index] : 0));

    if (!v->live)
        return;
    if (v->is_io)
        assert_int_equal(hv_io_space_unmap(va, v->bytes), HV_OK);
    else
        assert_int_equal(hv_section_unmap_view(HV_SPACE_HYPERVISOR, va), HV_OK);
    v->live = false;
}

/* ---- compare ---- */

static uint64_t key_of(const struct model_view *v, uint32_t page)
{
    uint64_t frame = v->is_io ? duel_device_frame(v->unit + page).v
                              : duel.model.object[v->object].frame[v->unit + page];

    if (frame == 0 || v->rights == 0)
        return 0;
    return frame | 0x80 | (uint64_t)v->type << 3 | v->rights;
}

void duel_check_views(void)
{
    uint64_t pages = 0, live = 0;

    for (unsigned i = 0; i < MODEL_VIEWS; i++) {
        const struct model_view *v = &duel.model.view[i];

        if (!v->live)
            continue;
        live++;
        for (uint32_t page = 0; page < v->units; page++) {
            uint64_t key = key_of(v, page);

            assert_int_equal(watch_walk(&hv_space.root, v->base + page * PAGE_BYTES), key);
            pages += key != 0;
        }
    }
    assert_int_equal(view_live_count(), live);
    assert_int_equal(hv_space.root.leaves[1] + LARGE_PAGES * hv_space.root.leaves[2] +
                         HUGE_PAGES * hv_space.root.leaves[3],
                     pages);
    assert_int_equal(hv_space.pool.reserved, 0);
}
