#include "tests/unit/duel.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hv/base/lock.h"
#include "hv/mem/frames.h"
#include "hv/mem/mapping.h"
#include "hv/pci/bus.h"
#include "hv/pci/config.h"
#include "tests/fake/phys.h"
#include "tests/fake/ptwatch.h"
#include "tests/unit/pci_world.h"

#define ALL_ACCESS                                                              \
    ((uint32_t)(HV_SECTION_QUERY | HV_SECTION_MAP_WRITE | HV_SECTION_MAP_READ | \
                HV_SECTION_MAP_EXECUTE))
#define DEVICE_BASE  GIB(32ull)
#define MODULE_BASE  MIB(480)
#define MODULE_PAGES 37u
#define KEPT         40u
#define NO_DEVICE    ((struct hv_device *)(uintptr_t)0x1000)
#define UNTOUCHED    0x5a5a5a5aull
#define UNIT_BYTES   (PAGE_BYTES << duel.config.shift)

struct duel duel;

static struct {
    struct duel_op op[KEPT];
    hv_status_t want[KEPT], got[KEPT];
    uint64_t count;
    bool is_open;
} history;

/* ---- templates of sections ---- */

static const struct duel_template fine[] = {
    {1024, HV_PAGE_EXECUTE_READWRITE, HV_SEC_LARGE_PAGES, MODEL_ANONYMOUS, 0, MEMTYPE_WB},
    {1024, HV_PAGE_EXECUTE_READWRITE, 0, MODEL_ANONYMOUS, 0, MEMTYPE_WB},
    {300, HV_PAGE_READWRITE, 0, MODEL_ANONYMOUS, 0, MEMTYPE_WB},
    {64, HV_PAGE_EXECUTE_READWRITE, HV_SEC_WRITECOMBINE, MODEL_ANONYMOUS, 0, MEMTYPE_WC},
    {40, HV_PAGE_READONLY, 0, MODEL_ANONYMOUS, 0, MEMTYPE_WB},
    {520, HV_PAGE_READWRITE, HV_SEC_NOCACHE, MODEL_ANONYMOUS, 0, MEMTYPE_UC},
    {16, HV_PAGE_EXECUTE_READ, HV_SEC_CONTIGUOUS, MODEL_ANONYMOUS, 0, MEMTYPE_WB},
    {2048, HV_PAGE_READWRITE, 0, MODEL_DEVICE_MEMORY, 0, MEMTYPE_UC},
    {1024, HV_PAGE_EXECUTE_READWRITE, HV_SEC_WRITECOMBINE, MODEL_DEVICE_MEMORY, 1024, MEMTYPE_WC},
    {MODULE_PAGES, HV_PAGE_EXECUTE_READWRITE, 0, MODEL_MODULE, 0, MEMTYPE_WB},
    {1100, HV_PAGE_EXECUTE_READWRITE, HV_SEC_RESERVE, MODEL_ANONYMOUS, 0, MEMTYPE_WB},
    {200, HV_PAGE_READWRITE, HV_SEC_RESERVE, MODEL_ANONYMOUS, 0, MEMTYPE_WB},
};

/* Units of 2 MiB: 4 GiB and 2 GiB, on 1 GiB and not. */
static const struct duel_template coarse[] = {
    {2048 << 9, HV_PAGE_EXECUTE_READWRITE, 0, MODEL_DEVICE_MEMORY, 0, MEMTYPE_UC},
    {1024 << 9, HV_PAGE_READWRITE, HV_SEC_WRITECOMBINE, MODEL_DEVICE_MEMORY, 1024, MEMTYPE_WC},
    {1030 << 9, HV_PAGE_READWRITE, 0, MODEL_DEVICE_MEMORY, 515, MEMTYPE_UC},
    {3 << 9, HV_PAGE_EXECUTE_READWRITE, HV_SEC_LARGE_PAGES, MODEL_DEVICE_MEMORY, 7, MEMTYPE_UC},
};

unsigned duel_template_count(void)
{
    return duel.config.shift == 0 ? ARRAY_COUNT(fine) : ARRAY_COUNT(coarse);
}

const struct duel_template *duel_template(unsigned index)
{
    return duel.config.shift == 0 ? &fine[index] : &coarse[index];
}

hpa_t duel_device_frame(uint32_t cell)
{
    return HPA(DEVICE_BASE + cell * UNIT_BYTES);
}

/* ---- what was done last ---- */

void duel_print(void)
{
    static char text[2048];
    uint64_t first = history.count > KEPT ? history.count - KEPT : 0;

    if (!history.is_open)
        return;
    fprintf(stderr, "duel %s: the last operations\n", duel.config.name);
    for (uint64_t i = first; i < history.count; i++) {
        duel_describe(text, sizeof(text), &history.op[i % KEPT]);
        fprintf(stderr, "  #%llu %s\n      -> %s, model %s\n", (unsigned long long)i, text,
                i + 1 == history.count && history.got[i % KEPT] == 1
                    ? "(under way)"
                    : hv_status_name(history.got[i % KEPT]),
                hv_status_name(history.want[i % KEPT]));
    }
    fflush(stderr);
}

static void on_abort(int number)
{
    duel_print();
    signal(number, SIG_DFL);
    raise(number);
}

static void remember(const struct duel_op *op)
{
    history.op[history.count % KEPT] = *op;
    history.got[history.count % KEPT] = 1;
    history.want[history.count % KEPT] = 0;
    history.count++;
}

static void verdict(hv_status_t got, hv_status_t want)
{
    history.got[(history.count - 1) % KEPT] = got;
    history.want[(history.count - 1) % KEPT] = want;
    if (got != want)
        fail_msg("%s, and the model says %s", hv_status_name(got), hv_status_name(want));
    if (want == HV_OK)
        duel.calls_ok++;
    else
        duel.calls_failed++;
}

/* ---- frames ---- */

static uint8_t owned[MIB(512) / PAGE_BYTES];

/* A frame of memory is one section's only, comes zeroed, and is marked so that a guest's read tells it. */
static void own_frame(unsigned object, uint32_t unit, uint64_t frame)
{
    uint64_t *word = direct(HPA(frame));

    assert_true(frame != 0 && frame % PAGE_BYTES == 0 && frame < MIB(512));
    assert_int_equal(owned[frame / PAGE_BYTES], 0);
    owned[frame / PAGE_BYTES] = 1;
    assert_int_equal(word[0], 0);
    assert_int_equal(word[PAGE_BYTES / sizeof(*word) - 1], 0);
    word[0] = (uint64_t)duel.model.object[object].serial << 32 | unit;
}

static void learn_frames(unsigned object)
{
    struct model_object *o = &duel.model.object[object];

    for (uint32_t unit = 0; unit < o->units; unit++) {
        if (o->origin == MODEL_DEVICE_MEMORY) {
            o->frame[unit] = duel_device_frame(o->first + unit).v;
        } else if (o->origin == MODEL_MODULE) {
            o->frame[unit] = MODULE_BASE + unit * PAGE_BYTES;
        } else if (o->frame[unit] & MODEL_FRAME_SOON) {
            uint64_t run;

            o->frame[unit] = section_frame(duel.section[object], unit, &run).v;
            own_frame(object, unit, o->frame[unit]);
        }
    }
}

static void forget_dead(const bool was_live[MODEL_OBJECTS])
{
    for (unsigned i = 0; i < MODEL_OBJECTS; i++) {
        const struct model_object *o = &duel.model.object[i];

        if (!was_live[i] || o->live)
            continue;
        for (uint32_t unit = 0; o->origin == MODEL_ANONYMOUS && unit < o->units; unit++)
            if (o->frame[unit] != 0)
                owned[o->frame[unit] / PAGE_BYTES] = 0;
        duel.section[i] = NULL;
    }
}

bool duel_type(unsigned object, uint32_t unit, enum memtype *memtype)
{
    bool fixed;

    lock_acquire(&section_lock);
    fixed = mapping_type(duel.section[object], (uint64_t)unit << duel.config.shift, memtype);
    lock_release(&section_lock);
    return fixed;
}

/* ---- the real calls ---- */

static struct hv_device *device_of(unsigned device)
{
    return device < MODEL_DEVICES ? world.probe[device].device : NO_DEVICE;
}

static hv_handle_t real_handle(unsigned handle)
{
    if (handle < MODEL_HANDLES)
        return duel.model.handle[handle].live ? duel.handle[handle] : duel.stale;
    return handle == MODEL_HANDLE_ZERO ? 0 : handle == MODEL_HANDLE_EVENT ? duel.event : duel.stale;
}

static hv_status_t call_real(unsigned device, const struct model_call *call)
{
    struct hv_device *d = device_of(device);

    if (call->kind == HV_MMIO_OP_CREATE)
        return hv_mmio_range_create(d, call->bar, call->page, call->count, call->flags,
                                    real_handle(call->handle), call->section_page);
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
        ops[i].section = real_handle(call->handle);
    }
    return hv_mmio_range_batch(device_of(op->device), ops, op->calls, op->flags, done);
}

/* ---- steps ---- */

/* The model has done it: what must hold on the way. */
static void begin(bool may_gap)
{
    duel_expect(&duel.after);
    duel.may_gap = may_gap;
}

static void step_ranges(const struct duel_op *op)
{
    bool is_batch = op->kind == DUEL_BATCH;
    uint64_t done = UNTOUCHED, want_done = UNTOUCHED, stores = world.vm.tables.stores;
    uint64_t flushes = world.vm.stats.flushes;
    struct duel_op real =
        *op; /* handles are looked up before the model closes any: it closes none */
    hv_status_t want =
        is_batch ? model_batch(&duel.model, op->device, op->call, op->calls, op->flags, &want_done)
                 : model_call(&duel.model, op->device, &op->call[0]);
    hv_status_t got;

    model_reap(&duel.model);
    begin(false);
    got = is_batch ? batch_real(&real, &done) : call_real(op->device, &real.call[0]);
    verdict(got, want);
    assert_int_equal(done, want_done);
    assert_true(world.vm.stats.flushes - flushes <= 1);
    if (want != HV_OK && (!is_batch || want_done == 0 || want_done == UNTOUCHED)) {
        assert_int_equal(world.vm.tables.stores, stores);
        assert_int_equal(world.vm.stats.flushes, flushes);
    }
}

static void step_section(const struct duel_op *op)
{
    const struct duel_template *t = duel_template(op->object);
    struct hv_section_backing backing = {.kind = HV_BACKING_MODULE};
    unsigned object = 0;
    struct model_object *o;
    char name[16];
    hv_status_t status;

    while (object < MODEL_OBJECTS && duel.model.object[object].live)
        object++;
    if (object == MODEL_OBJECTS || duel.model.handle[op->handle].live)
        return;
    if (duel.config.no_reserved && (t->attributes & HV_SEC_RESERVE))
        return;
    o = &duel.model.object[object];
    snprintf(name, sizeof(name), "s%u", ++duel.model.serial);
    if (t->origin == MODEL_DEVICE_MEMORY)
        backing = (struct hv_section_backing){.kind = HV_BACKING_PHYSICAL,
                                              .base = duel_device_frame(t->first),
                                              .bytes = t->pages * PAGE_BYTES};
    status = hv_section_create(
        &duel.handle[op->handle], ALL_ACCESS, name, t->pages * PAGE_BYTES, t->protect,
        t->attributes | (t->attributes & HV_SEC_RESERVE ? 0 : (uint32_t)HV_SEC_COMMIT),
        t->origin == MODEL_ANONYMOUS ? NULL : &backing);
    /* Memory may be short, or in too small pieces. */
    if (status == HV_E_COMMITMENT_LIMIT && t->origin == MODEL_ANONYMOUS &&
        ((t->attributes & (HV_SEC_LARGE_PAGES | HV_SEC_CONTIGUOUS)) ||
         hv_frames.free_pages < t->pages)) {
        verdict(status, status);
        return;
    }
    verdict(status, HV_OK);
    memset(o, 0, sizeof(*o));
    *o = (struct model_object){.live = true,
                               .origin = (uint8_t)t->origin,
                               .default_type = t->default_type,
                               .allowed = ALL_ACCESS,
                               .handles = 1,
                               .first = t->first,
                               .units = (uint32_t)(t->pages >> duel.config.shift),
                               .serial = duel.model.serial};
    if (t->protect != HV_PAGE_READWRITE && t->protect != HV_PAGE_EXECUTE_READWRITE)
        o->allowed &= ~(uint32_t)HV_SECTION_MAP_WRITE;
    if (t->protect != HV_PAGE_EXECUTE_READ && t->protect != HV_PAGE_EXECUTE_READWRITE)
        o->allowed &= ~(uint32_t)HV_SECTION_MAP_EXECUTE;
    for (uint32_t i = 0; i < o->units && !(t->attributes & HV_SEC_RESERVE); i++)
        o->frame[i] = MODEL_FRAME_SOON;
    duel.model.handle[op->handle] = (struct model_handle){true, (uint8_t)object, ALL_ACCESS};
    assert_int_equal(section_ref(duel.handle[op->handle], HV_SECTION_MAP_READ, SECTION_USER_VIEW,
                                 &duel.section[object]),
                     HV_OK);
    section_unref(duel.section[object], SECTION_USER_VIEW);
    learn_frames(object);
}

static void step_open(const struct duel_op *op)
{
    char name[16];
    hv_status_t want;

    if (duel.model.handle[op->handle].live || op->access == 0)
        return;
    snprintf(name, sizeof(name), "s%u", duel.model.object[op->object].serial);
    want = model_open(&duel.model, op->object, op->handle, op->access);
    verdict(hv_section_open(&duel.handle[op->handle], op->access, name), want);
}

static void step_close(const struct duel_op *op)
{
    hv_handle_t handle;
    hv_status_t want;

    if (op->handle == MODEL_HANDLE_EVENT)
        return;
    handle = real_handle(op->handle);
    want = model_close(&duel.model, op->handle);
    verdict(hv_handle_close(handle), want);
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
    begin(false);
    got = hv_section_commit(real_handle(op->handle), page, count);
    if (got == HV_E_COMMITMENT_LIMIT && want == HV_OK && missing > hv_frames.free_pages) {
        for (uint32_t i = 0; i < o->units; i++)
            if (o->frame[i] & MODEL_FRAME_SOON)
                o->frame[i] = 0;
        want = got;
    }
    verdict(got, want);
    if (want == HV_OK)
        learn_frames(object);
}

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
    if (bar->units == 0 || (key & ~PAGE_MASK) >= DEVICE_BASE)
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
    verdict(HV_OK, HV_OK);
}

static void step_config(const struct duel_op *op)
{
    struct probe *probe = &world.probe[op->device];
    uint32_t offset = op->bar == HV_BAR_ROM ? PCI_CFG_ROM : PCI_CFG_BAR0 + 4 * (uint32_t)op->bar;
    unsigned writes =
        op->kind == DUEL_MOVE && duel.model.device[op->device].bar[op->bar].is_64bit ? 2 : 1;

    if (op->kind == DUEL_COMMAND) {
        model_command_write(&duel.model, op->device, op->value != 0);
        begin(true);
        decode(probe, op->value != 0);
    }
    for (unsigned i = 0; op->kind != DUEL_COMMAND && i < writes; i++) {
        uint32_t dword = (uint32_t)(op->value >> (32 * i));

        duel_expect(&duel.before);
        model_bar_write(&duel.model, op->device, (enum hv_bar)(op->bar + i), dword);
        begin(true);
        config_write(probe->device->slot, offset + 4 * i, 4, dword);
    }
    verdict(HV_OK, HV_OK);
}

void duel_step(const struct duel_op *op)
{
    bool was_live[MODEL_OBJECTS];

    remember(op);
    for (unsigned i = 0; i < MODEL_OBJECTS; i++)
        was_live[i] = duel.model.object[i].live;
    duel_expect(&duel.before);
    switch (op->kind) {
    case DUEL_CALL:
    case DUEL_BATCH:
        if (op->kind == DUEL_CALL || !duel.config.no_batches)
            step_ranges(op);
        break;
    case DUEL_COMMAND:
    case DUEL_BAR_WRITE:
    case DUEL_MOVE:
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
    default:
        step_access(op);
    }
    forget_dead(was_live);
    duel_expect(&duel.after);
    assert_false(duel.config.watch && watch_duty());
    duel.steps++;
    if (duel.config.check_every <= 1 || duel.steps % duel.config.check_every == 0) {
        duel_check_all();
        duel_check_near(op);
    }
    if (duel.config.watch && duel.config.hardware != 0)
        watch_hardware(duel.config.hardware);
}

/* ---- the stage ---- */

/* Memory in pieces: runs of 2 MiB that do not touch, two longer ones, and many short ones. Once; it stays so. */
static void break_memory(void)
{
    static bool is_broken;
    uint64_t pages = hv_frames.free_pages, at;
    hpa_t all;

    if (is_broken)
        return;
    is_broken = true;
    assert_int_equal(frames_alloc(&hv_frames, pages, 1, &all), HV_OK);
    at = ALIGN_UP(all.v, MIB(2));
    for (unsigned i = 0; i < 16; i++, at += MIB(4))
        frames_free(&hv_frames, HPA(at), LARGE_PAGES);
    for (unsigned i = 0; i < 2; i++, at += MIB(16))
        frames_free(&hv_frames, HPA(at), 2048);
    for (unsigned i = 0; i < 60; i++, at += 201 * PAGE_BYTES)
        frames_free(&hv_frames, HPA(at), 100 + i);
    assert_true(at < all.v + pages * PAGE_BYTES);
}

static void copy_bars(unsigned device)
{
    for (unsigned i = 0; i < HV_BAR_COUNT; i++) {
        const struct hv_bar_state *real = &world.probe[device].device->bar[i];
        struct model_bar *bar = &duel.model.device[device].bar[i];

        bar->device = (uint8_t)device;
        bar->index = (uint8_t)i;
        bar->bytes = real->bytes;
        bar->io = real->io;
        bar->upper = real->upper;
        bar->base = real->base;
        bar->is_64bit = i < HV_BAR5 && world.probe[device].device->bar[i + 1].upper;
        bar->units = real->io ? 0 : (uint32_t)(real->bytes / UNIT_BYTES);
        assert_true(bar->units <= MODEL_UNITS);
    }
}

static void make_devices(void)
{
    bool is_fine = duel.config.shift == 0;

    probe_bar32(&world.probe[0], HV_BAR0, (uint32_t)KIB(64));
    probe_bar64(&world.probe[0], HV_BAR2, is_fine ? MIB(8) : GIB(4ull));
    probe_bar64(&world.probe[0], HV_BAR4, MIB(2));
    world.probe[0].probed[HV_BAR_ROM] = 0u - (uint32_t)KIB(64);
    probe_bar32(&world.probe[1], HV_BAR0, (uint32_t)KIB(128));
    probe_bar64(&world.probe[1], HV_BAR2, is_fine ? MIB(4) : GIB(2ull));
    world.probe[1].probed[HV_BAR5] = 0xffffffe1;
    for (unsigned i = 0; i < MODEL_DEVICES; i++) {
        probe_create(&world.probe[i]);
        copy_bars(i);
    }
}

static void on_flush(const struct pt_flush *flush, bool done)
{
    if (done) {
        watch_flushed();
        return;
    }
    if (watch_duty())
        assert_true(flush->needed);
}

void duel_open(const struct duel_config *config)
{
    static bool has_module;

    memset(&duel, 0, sizeof(duel));
    memset(owned, 0, sizeof(owned));
    memset(&history, 0, sizeof(history));
    duel.config = *config;
    duel.random = 1;
    fake_vm_format = config->format;
    world_open(NULL);
    alarm(0);
    signal(SIGABRT, on_abort);
    break_memory();
    world.frames = hv_frames.free_pages;
    if (!has_module)
        section_add_module(0, HPA(MODULE_BASE), MODULE_PAGES * PAGE_BYTES - 5);
    has_module = true;
    hv_caps.large_executable = config->large_executable;
    hv_caps.large_1g = !config->no_huge;
    duel.free_frames = hv_frames.free_pages;
    duel.model.machine = (struct model_machine){
        .shift = config->shift,
        .ignore_pat = hv_caps.ignore_pat,
        .physical_bits = hv_caps.physical_bits,
        .ram = {{0, FAKE_VM_LOW_BYTES},
                {FAKE_VM_HIGH_START, FAKE_VM_HIGH_START + FAKE_VM_HIGH_BYTES}}};
    make_devices();
    assert_int_equal(handle_create_event(&duel.event), HV_OK);
    assert_int_equal(handle_create_event(&duel.stale), HV_OK);
    assert_int_equal(hv_handle_close(duel.stale), HV_OK);
    if (config->watch) {
        watch_start_pages(&world.vm.tables, duel_check_run);
        fake_vm_on_flush = on_flush;
    }
    history.is_open = true;
}

void duel_close(void)
{
    for (unsigned i = 0; i < MODEL_HANDLES; i++)
        if (duel.model.handle[i].live)
            assert_int_equal(hv_handle_close(duel.handle[i]), HV_OK);
    assert_int_equal(hv_handle_close(duel.event), HV_OK);
    watch_stop();
    fake_vm_on_flush = NULL;
    history.is_open = false;
    signal(SIGABRT, SIG_DFL);
    world_close(NULL);
    fake_vm_format = &pt_format_ept;
}
