/* The operations of a duel, one by one: the model, the real call, and what they say. */
#include "tests/unit/duel.h"

#include <stdio.h>
#include <string.h>

#include "hv/mem/frames.h"
#include "hv/pci/bus.h"
#include "hv/pci/config.h"
#include "tests/unit/pci_world.h"

#define ALL_ACCESS                                                              \
    ((uint32_t)(HV_SECTION_QUERY | HV_SECTION_MAP_WRITE | HV_SECTION_MAP_READ | \
                HV_SECTION_MAP_EXECUTE))
#define NO_DEVICE  ((struct hv_device *)(uintptr_t)0x1000)
#define UNTOUCHED  0x5a5a5a5aull
#define UNIT_BYTES (PAGE_BYTES << duel.config.shift)

const struct duel_faults *duel_faults;
static struct model saved; /* before the operation under way, while allocations may fail */

/* ---- the real calls ---- */

static struct hv_device *device_of(unsigned device)
{
    return device < MODEL_DEVICES ? world.probe[device].device : NO_DEVICE;
}

static hv_status_t call_real(unsigned device, const struct model_call *call)
{
    struct hv_device *d = device_of(device);

    if (call->kind == HV_MMIO_OP_CREATE)
        return hv_mmio_range_create(d, call->bar, call->page, call->count, call->flags,
                                    duel_real_handle(call->handle), call->section_page);
    if (call->kind == HV_MMIO_OP_UNMAP)
        return hv_mmio_range_unmap(d, call->bar, call->page, call->count);
    return hv_mmio_range_destroy(d, call->bar, call->page);
}

static hv_status_t batch_real(const struct duel_op *op, uint64_t *done)
{
    static struct hv_mmio_op ops[MODEL_CALLS];

    memset(ops, 0xa5, sizeof(ops));
    for (unsigned i = 0; i < op->calls; i++) {
        const struct model_call *call = &op->call[i];

        ops[i].kind = call->kind;
        ops[i].bar = call->bar;
        ops[i].bar_page = call->page;
        ops[i].page_count = call->count;
        ops[i].section_page = call->section_page;
        ops[i].flags = call->flags;
        ops[i].section = duel_real_handle(call->handle);
    }
    return hv_mmio_range_batch(device_of(op->device), ops, op->calls, op->flags, done);
}

/* ---- around the real call ---- */

/* The model has done it: what must hold on the way. */
void duel_begin(bool may_gap)
{
    if (duel.config.watch)
        duel_expect(&duel.after);
    duel.may_gap = may_gap;
    duel_arm();
}

void duel_arm(void)
{
    if (duel_faults)
        duel_faults->arm();
}

/* True when an allocation failed and the call gave up: then nothing has happened, in the model neither. */
bool duel_gave_up(hv_status_t got)
{
    if (!duel_faults || !duel_faults->disarm() || got == HV_OK)
        return false;
    assert_true(duel_faults->allows(got));
    duel.model = saved;
    duel.gave_up = true;
    duel_verdict(got, got);
    return true;
}

/* ---- ranges ---- */

/* A batch that is not atomic stops at the operation that failed; those before it stay. */
static void keep_done(const struct duel_op *op, uint64_t done)
{
    assert_true(done < op->calls && (done == 0 || !(op->flags & HV_BATCH_ATOMIC)));
    for (uint64_t i = 0; i < done; i++)
        assert_int_equal(model_call(&duel.model, op->device, &op->call[i]), HV_OK);
    model_reap(&duel.model);
}

/* What a VP may see of a batch: any number of its operations done. */
static void expect_between(const struct duel_op *op)
{
    static struct model kept;

    if (op->kind != DUEL_BATCH || !duel.config.watch || op->device >= MODEL_DEVICES)
        return;
    kept = duel.model;
    for (unsigned i = 0; i < op->calls; i++) {
        if (model_call(&duel.model, op->device, &op->call[i]) != HV_OK)
            break;
        duel_expect(&duel.between[duel.between_count++]);
    }
    duel.model = kept;
}

static void step_ranges(const struct duel_op *op)
{
    bool is_batch = op->kind == DUEL_BATCH;
    uint64_t done = UNTOUCHED, want_done = UNTOUCHED, stores = world.vm.tables.stores;
    uint64_t flushes = world.vm.stats.flushes;
    hv_status_t want, got;

    expect_between(op);
    want = is_batch
               ? model_batch(&duel.model, op->device, op->call, op->calls, op->flags, &want_done)
               : model_call(&duel.model, op->device, &op->call[0]);
    model_reap(&duel.model);
    duel_begin(false);
    got = is_batch ? batch_real(op, &done) : call_real(op->device, &op->call[0]);
    if (duel_gave_up(got)) {
        if (is_batch)
            keep_done(op, done);
        return;
    }
    duel_verdict(got, want);
    assert_int_equal(done, want_done);
    assert_true(world.vm.stats.flushes - flushes <= 1);
    if (want != HV_OK && (!is_batch || want_done == 0 || want_done == UNTOUCHED)) {
        assert_int_equal(world.vm.tables.stores, stores);
        assert_int_equal(world.vm.stats.flushes, flushes);
    }
}

/* ---- sections ---- */

static hv_status_t create_real(const struct duel_template *t, uint32_t serial, hv_handle_t *handle)
{
    struct hv_section_backing backing = {.kind = HV_BACKING_MODULE};
    uint32_t attributes = t->attributes;
    char name[16];

    snprintf(name, sizeof(name), "s%u", serial);
    if (!(attributes & HV_SEC_RESERVE))
        attributes |= HV_SEC_COMMIT;
    if (t->origin == MODEL_DEVICE_MEMORY)
        backing = (struct hv_section_backing){.kind = HV_BACKING_PHYSICAL,
                                              .base = duel_device_frame(t->first),
                                              .bytes = t->pages * PAGE_BYTES};
    return hv_section_create(handle, ALL_ACCESS, name, t->pages * PAGE_BYTES, t->protect,
                             attributes, t->origin == MODEL_ANONYMOUS ? NULL : &backing);
}

static void fill_object(const struct duel_template *t, struct model_object *o)
{
    memset(o, 0, sizeof(*o));
    o->live = true;
    o->origin = (uint8_t)t->origin;
    o->default_type = t->default_type;
    o->allowed = ALL_ACCESS;
    o->handles = 1;
    o->first = t->first;
    o->units = (uint32_t)(t->pages >> duel.config.shift);
    o->serial = duel.model.serial;
    if (t->protect != HV_PAGE_READWRITE && t->protect != HV_PAGE_EXECUTE_READWRITE)
        o->allowed &= ~(uint32_t)HV_SECTION_MAP_WRITE;
    if (t->protect != HV_PAGE_EXECUTE_READ && t->protect != HV_PAGE_EXECUTE_READWRITE)
        o->allowed &= ~(uint32_t)HV_SECTION_MAP_EXECUTE;
    for (uint32_t i = 0; i < o->units && !(t->attributes & HV_SEC_RESERVE); i++)
        o->frame[i] = MODEL_FRAME_SOON;
}

/* Memory may be short, or in too small pieces. */
static bool is_short_of_memory(const struct duel_template *t)
{
    return t->origin == MODEL_ANONYMOUS &&
           ((t->attributes & (HV_SEC_LARGE_PAGES | HV_SEC_CONTIGUOUS)) ||
            hv_frames.free_pages < t->pages);
}

static void step_section(const struct duel_op *op)
{
    const struct duel_template *t = duel_template(op->object);
    unsigned object = 0;
    hv_status_t status;

    while (object < MODEL_OBJECTS && duel.model.object[object].live)
        object++;
    if (object == MODEL_OBJECTS || duel.model.handle[op->handle].live)
        return;
    duel_arm();
    status = create_real(t, ++duel.model.serial, &duel.handle[op->handle]);
    if (duel_gave_up(status))
        return;
    if (status == HV_E_COMMITMENT_LIMIT && is_short_of_memory(t)) {
        duel_verdict(status, status);
        return;
    }
    duel_verdict(status, HV_OK);
    fill_object(t, &duel.model.object[object]);
    duel.model.handle[op->handle] = (struct model_handle){true, (uint8_t)object, ALL_ACCESS};
    assert_int_equal(section_ref(duel.handle[op->handle], HV_SECTION_MAP_READ, SECTION_USER_VIEW,
                                 &duel.section[object]),
                     HV_OK);
    section_unref(duel.section[object], SECTION_USER_VIEW);
    duel_learn_frames(object);
}

static void step_open(const struct duel_op *op)
{
    char name[16];
    hv_status_t want, got;

    if (duel.model.handle[op->handle].live || op->access == 0)
        return;
    snprintf(name, sizeof(name), "s%u", duel.model.object[op->object].serial);
    want = model_open(&duel.model, op->object, op->handle, op->access);
    duel_arm();
    got = hv_section_open(&duel.handle[op->handle], op->access, name);
    if (!duel_gave_up(got))
        duel_verdict(got, want);
}

static void step_close(const struct duel_op *op)
{
    hv_handle_t handle;
    hv_status_t want;

    if (op->handle == MODEL_HANDLE_EVENT)
        return;
    handle = duel_real_handle(op->handle);
    want = model_close(&duel.model, op->handle);
    duel_verdict(hv_handle_close(handle), want);
    if (want == HV_OK)
        duel.stale = handle;
}

static void step_commit(const struct duel_op *op)
{
    uint64_t page = op->call[0].section_page, count = op->call[0].count, missing = 0;
    hv_status_t want = model_commit(&duel.model, op->handle, page, count), got;
    unsigned object = op->handle < MODEL_HANDLES ? duel.model.handle[op->handle].object : 0;
    struct model_object *o = &duel.model.object[object];

    for (uint64_t i = page; want == HV_OK && i < page + count; i++)
        if (o->frame[i >> duel.config.shift] == 0) {
            o->frame[i >> duel.config.shift] = MODEL_FRAME_SOON;
            missing++;
        }
    duel_begin(false);
    got = hv_section_commit(duel_real_handle(op->handle), page, count);
    if (duel_gave_up(got))
        return;
    if (got == HV_E_COMMITMENT_LIMIT && want == HV_OK && missing > hv_frames.free_pages) {
        for (uint32_t i = 0; i < o->units; i++)
            if (o->frame[i] & MODEL_FRAME_SOON)
                o->frame[i] = 0;
        want = got;
    }
    duel_verdict(got, want);
    if (want == HV_OK)
        duel_learn_frames(object);
}

/* ---- guests ---- */

/* What a guest's access meets; *page: the page of a section, when it is direct. */
static enum fake_way way_of(uint64_t gpa, bool is_write, uint64_t *key,
                            const struct model_page **page)
{
    const struct model_bar *at = model_bar_at(&duel.model, gpa);
    uint64_t unit;

    *key = 0;
    if (!at)
        return FAKE_NOBODY;
    unit = (gpa - at->live_base) / UNIT_BYTES;
    if (unit >= at->units)
        return FAKE_TRAPPED;
    *page = &at->page[unit];
    *key = model_key(&duel.model, at, (uint32_t)unit);
    return *key != 0 && (!is_write || (*key & PT_W)) ? FAKE_DIRECT : FAKE_TRAPPED;
}

static void step_access(const struct duel_op *op)
{
    const struct model_bar *bar = &duel.model.device[op->device].bar[op->bar];
    uint64_t gpa = bar->base + op->call[0].page * PAGE_BYTES, key;
    const struct model_page *page = NULL;
    enum fake_way want = way_of(gpa, op->value != 0, &key, &page);

    /* Nothing stands behind device memory here. */
    if (bar->units == 0 || (key & ~PAGE_MASK) >= DUEL_DEVICE_BASE)
        return;
    duel.way[want]++;
    if (op->value != 0) {
        fake_vm_write(&world.vm, gpa + 8, 8, gpa);
        assert_int_equal(fake_vm_way, want);
        if (want == FAKE_DIRECT)
            assert_int_equal(fake_vm_read(&world.vm, gpa + 8, 8), gpa);
    } else {
        uint64_t value = fake_vm_read(&world.vm, gpa, 8);

        assert_int_equal(fake_vm_way, want);
        if (want == FAKE_DIRECT && duel.model.object[page->object - 1].origin == MODEL_ANONYMOUS)
            assert_int_equal(value, (uint64_t)duel.model.object[page->object - 1].serial << 32 |
                                        page->section_unit);
    }
    duel_verdict(HV_OK, HV_OK);
}

/* Write a register, or half of one, or COMMAND. */
static void write_model(const struct duel_op *op, unsigned half)
{
    if (op->kind == DUEL_COMMAND)
        model_command_write(&duel.model, op->device, op->value != 0);
    else if (op->kind == DUEL_RESIZE)
        model_resize(&duel.model, 0, HV_BAR2, (unsigned)op->value);
    else
        model_bar_write(&duel.model, op->device, (enum hv_bar)((unsigned)op->bar + half),
                        (uint32_t)(op->value >> (32 * half)));
}

static void write_real(const struct duel_op *op, unsigned half)
{
    struct probe *probe = &world.probe[op->device];
    uint32_t offset = op->bar == HV_BAR_ROM ? PCI_CFG_ROM : PCI_CFG_BAR0 + 4 * (uint32_t)op->bar;

    if (op->kind == DUEL_COMMAND)
        decode(probe, op->value != 0);
    else if (op->kind == DUEL_RESIZE)
        pci_config_write(world.host, world.probe[0].device->slot, 0,
                         PCI_EXT_FIRST + PCI_RESIZE_HEADER_BYTES + PCI_RESIZE_CONTROL,
                         (uint32_t)FIELD_PREP(PCI_RESIZE_CURRENT, op->value), 0xf);
    else
        config_write(probe->device->slot, offset + 4 * half, 4,
                     (uint32_t)(op->value >> (32 * half)));
}

static void step_config(const struct duel_op *op)
{
    bool is_pair = op->kind == DUEL_MOVE && duel.model.device[op->device].bar[op->bar].is_64bit;

    for (unsigned half = 0; half < (is_pair ? 2u : 1u); half++) {
        struct model *m = &duel.model;

        if (half != 0)
            duel.before = duel.after;
        if (duel_faults)
            saved = *m;
        write_model(op, half);
        duel_begin(true);
        write_real(op, half);
        if (duel_faults && duel_faults->disarm()) {
            /* Who found no memory for its leaves waits. */
            *m = saved;
            m->denied = true;
            write_model(op, half);
            m->denied = false;
            duel.gave_up = true;
        }
    }
    duel_verdict(HV_OK, HV_OK);
}

/* ---- doorbells ---- */

#define BELL_OFFSET 0x808u /* in its page; other writes of the duel go elsewhere */
#define BELL_VALUE  0x600dbe11u

static hv_status_t bell_real(const struct duel_op *op)
{
    struct hv_device *d = device_of(op->device);
    uint64_t offset = op->call[0].page * PAGE_BYTES + BELL_OFFSET;

    if (!op->value)
        return hv_doorbell_unregister(d, op->bar, offset, BELL_VALUE, HV_DOORBELL_DWORD);
    return hv_doorbell_register(d, op->bar, offset, BELL_VALUE, HV_DOORBELL_DWORD, duel.event);
}

/* What is registered rings, if the guest can reach it; what is not goes to the device. */
static void ring(const struct duel_op *op)
{
    const struct model_bar *bar = &duel.model.device[op->device].bar[op->bar];
    uint64_t count, page = op->call[0].page;

    if (!bar->live || page >= bar->bytes >> PAGE_SHIFT ||
        (bar->page[page >> duel.config.shift].flags & HV_MMIO_WRITEABLE))
        return;
    fake_vm_write(&world.vm, bar->live_base + page * PAGE_BYTES + BELL_OFFSET, 4, BELL_VALUE);
    assert_int_equal(hv_event_take(duel.event, &count), HV_OK);
    assert_int_equal(count, bar->bell[page >> duel.config.shift]);
    assert_int_equal(fake_vm_way, count != 0 ? FAKE_RANG : FAKE_TRAPPED);
}

static void step_bell(const struct duel_op *op)
{
    hv_status_t got, want, undo;

    want = model_bell(&duel.model, op->device, op->bar, op->call[0].page, op->value != 0);
    duel_begin(false);
    got = bell_real(op);
    if (duel_gave_up(got))
        return;
    if (got == HV_E_NO_MEMORY && want == HV_OK && hv_frames.free_pages == 0) {
        undo = model_bell(&duel.model, op->device, op->bar, op->call[0].page, false);
        assert_int_equal(undo, HV_OK);
        want = got;
    }
    duel_verdict(got, want);
    if (got != HV_E_NO_SUCH_BAR)
        ring(op);
}

void duel_step_known(const struct duel_op *op)
{
    if (duel_faults)
        saved = duel.model;
    duel.gave_up = false;
    duel.between_count = 0;
    duel.is_atomic = op->kind == DUEL_BATCH && (op->flags & HV_BATCH_ATOMIC);
    switch (op->kind) {
    case DUEL_CALL:
    case DUEL_BATCH:
        step_ranges(op);
        break;
    case DUEL_COMMAND:
    case DUEL_BAR_WRITE:
    case DUEL_MOVE:
    case DUEL_RESIZE:
        step_config(op);
        break;
    case DUEL_SECTION:
        step_section(op);
        break;
    case DUEL_OPEN:
        step_open(op);
        break;
    case DUEL_CLOSE:
        step_close(op);
        break;
    case DUEL_COMMIT:
        step_commit(op);
        break;
    case DUEL_ACCESS:
        step_access(op);
        break;
    case DUEL_BELL:
        step_bell(op);
        break;
    case DUEL_VIEW:
    case DUEL_UNVIEW:
    case DUEL_IO:
    case DUEL_UNIO:
    default:
        duel_step_view(op);
    }
}
