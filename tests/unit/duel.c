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

#define MODULE_PAGES 37u
#define KEPT         40u
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
    return HPA(DUEL_DEVICE_BASE + cell * UNIT_BYTES);
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

static void (*abort_before)(int number);

static void on_abort(int number)
{
    duel_print();
    signal(number, abort_before);
    raise(number);
}

/* A sanitizer ends the program without SIGABRT. A fuzzer has such a callback itself, and can play its input again. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "abort_on_error=1";
}
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) __attribute__((weak));

static void listen(void)
{
    abort_before = signal(SIGABRT, on_abort);
    if (__sanitizer_set_death_callback && !LLVMFuzzerTestOneInput)
        __sanitizer_set_death_callback(duel_print);
}

static void remember(const struct duel_op *op)
{
    history.op[history.count % KEPT] = *op;
    history.got[history.count % KEPT] = 1;
    history.want[history.count % KEPT] = 0;
    history.count++;
}

void duel_verdict(hv_status_t got, hv_status_t want)
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

void duel_learn_frames(unsigned object)
{
    struct model_object *o = &duel.model.object[object];

    for (uint32_t unit = 0; unit < o->units; unit++) {
        if (o->origin == MODEL_DEVICE_MEMORY) {
            o->frame[unit] = duel_device_frame(o->first + unit).v;
        } else if (o->origin == MODEL_MODULE) {
            o->frame[unit] = DUEL_MODULE_BASE + unit * PAGE_BYTES;
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

hv_handle_t duel_real_handle(unsigned handle)
{
    if (handle < MODEL_HANDLES)
        return duel.model.handle[handle].live ? duel.handle[handle] : duel.stale;
    return handle == MODEL_HANDLE_ZERO ? 0 : handle == MODEL_HANDLE_EVENT ? duel.event : duel.stale;
}

void duel_step(const struct duel_op *op)
{
    bool was_live[MODEL_OBJECTS], is_check;

    remember(op);
    for (unsigned i = 0; i < MODEL_OBJECTS; i++)
        was_live[i] = duel.model.object[i].live;
    if (duel.config.watch)
        duel.before = duel.after; /* as the last operation left it */
    duel_step_known(op);
    forget_dead(was_live);
    duel.steps++;
    is_check = duel.config.check_every <= 1 || duel.steps % duel.config.check_every == 0;
    if (duel.config.watch || is_check)
        duel_expect(&duel.after);
    if (is_check) {
        duel_check_all();
        duel_check_near(op);
    }
    if (!duel.config.watch)
        return;
    assert_false(watch_duty());
    if (duel.config.hardware != 0)
        watch_hardware(duel.config.hardware);
}

void duel_do(struct duel_op op)
{
    uint64_t failed = duel.calls_failed;

    duel_step(&op);
    assert_int_equal(duel.calls_failed, failed);
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

/* The first device's BAR2 has its largest size, and two smaller ones. */
static void make_resizable(void)
{
    struct model_bar *bar = &duel.model.device[0].bar[HV_BAR2];
    unsigned largest = (unsigned)__builtin_ctzll(bar->bytes) - 20;

    bar->sizes = 7u << (largest - 2);
    assert_int_equal(hv_bar_make_resizable(world.probe[0].device, HV_BAR2, bar->sizes), HV_OK);
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
    make_resizable();
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

    if (history.is_open)
        fail_msg("an earlier duel ended badly");
    memset(&duel, 0, sizeof(duel));
    memset(owned, 0, sizeof(owned));
    memset(&history, 0, sizeof(history));
    duel.config = *config;
    duel.random = 1;
    fake_vm_format = config->format;
    world_open(NULL);
    alarm(0);
    listen();
    break_memory();
    world.frames = hv_frames.free_pages + 1; /* the host has one */
    if (!has_module)
        section_add_module(0, HPA(DUEL_MODULE_BASE), MODULE_PAGES * PAGE_BYTES - 5);
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
    assert_true(world.vm.regions.count <= 1);
    if (world.vm.regions.count == 1) {
        duel.model.machine.taken.start = world.vm.regions.key[0].start;
        duel.model.machine.taken.end =
            world.vm.regions.key[0].start + world.vm.regions.key[0].bytes;
    }
    duel_views_open();
    make_devices();
    assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &duel.event), HV_OK);
    assert_int_equal(hv_event_create(HV_EVENT_AUTO_RESET, NULL, NULL, &duel.stale), HV_OK);
    assert_int_equal(hv_handle_close(duel.stale), HV_OK);
    if (config->watch) {
        watch_start_pages(&world.vm.tables, duel_check_run);
        fake_vm_on_flush = on_flush;
    }
    duel_expect(&duel.after);
    history.is_open = true;
}

void duel_close(void)
{
    duel_check_types();
    for (unsigned i = 0; i < MODEL_HANDLES; i++)
        if (duel.model.handle[i].live)
            assert_int_equal(hv_handle_close(duel.handle[i]), HV_OK);
    assert_int_equal(hv_handle_close(duel.event), HV_OK);
    for (unsigned i = 0; i < MODEL_VIEWS; i++)
        duel_views_drop(i);
    watch_stop();
    fake_vm_on_flush = NULL;
    history.is_open = false;
    signal(SIGABRT, abort_before);
    world_close(NULL);
    fake_vm_format = &pt_format_ept;
}
