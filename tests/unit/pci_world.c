#include "tests/unit/pci_world.h"

#include <string.h>
#include <unistd.h>

#include "hv/mem/frames.h"
#include "hv/mem/mapping.h"
#include "hv/pci/config.h"
#include "hv/pci/inspect.h"
#include "tests/fake/blocks.h"
#include "tests/fake/phys.h"
#include "tests/fake/slab.h"
#include "tests/fake/view_ram.h"

#define PHYS_BYTES   MIB(512)
#define FRAMES_START MIB(2)
#define FRAMES_BYTES MIB(400)
#define OWN_DWORD    0x40u
#define TEST_SECONDS 120u /* a failed ASSERT leaves locks behind: end, do not spin */

struct world world;

/* ---- the probe's callbacks ---- */

static hv_status_t on_initialize(void *context)
{
    struct probe *probe = context;

    probe->initialized++;
    if (probe->in_initialize)
        probe->in_initialize(probe);
    return probe->initialize;
}

static hv_status_t on_configure(void *context, uint32_t count, const char *const *strings)
{
    struct probe *probe = context;

    (void)strings;
    probe->configured++;
    if (probe->in_configure)
        probe->in_configure(probe);
    probe->string_count = count;
    return probe->configure;
}

static hv_status_t on_details(void *context, struct hv_pnp_id *id, uint32_t bar_count,
                              uint32_t *probed_bars)
{
    struct probe *probe = context;

    assert_int_equal(bar_count, HV_BAR_COUNT);
    *id = (struct hv_pnp_id){0x1234, 0x5678, 0x9a, 0x01, 0x02, 0x05, 0xabcd, 0xef01};
    memcpy(probed_bars, probe->probed, sizeof(probe->probed));
    return probe->details;
}

static hv_status_t on_start(void *context)
{
    struct probe *probe = context;

    probe->started++;
    if (probe->in_start)
        probe->in_start(probe);
    return probe->start;
}

static void on_stop(void *context)
{
    struct probe *probe = context;

    probe->stopped++;
    if (probe->in_stop)
        probe->in_stop(probe);
}

static void on_teardown(void *context)
{
    struct probe *probe = context;

    probe->torn_down++;
    if (probe->in_teardown)
        probe->in_teardown(probe);
}

static hv_status_t on_config_read(void *context, uint32_t offset, uint32_t *value)
{
    struct probe *probe = context;

    probe->config_reads++;
    *value = 0;
    if (offset == PCI_CFG_CAPABILITY)
        *value = probe->caps_pointer;
    if (offset == OWN_DWORD)
        *value = probe->config_word;
    return HV_OK;
}

static hv_status_t on_config_write(void *context, uint32_t offset, uint32_t value)
{
    struct probe *probe = context;

    probe->config_writes++;
    probe->config_offset = offset;
    probe->config_value = value;
    if (offset == OWN_DWORD)
        probe->config_word = value;
    return HV_OK;
}

/* A callback runs with no lock held: it may call anything. */
static void see_access(struct probe *probe, enum hv_bar bar, uint64_t offset, uint64_t length)
{
    assert_false(lock_is_held(&probe->device->lock));
    assert_false(lock_is_held(&world.vm.tables_lock));
    assert_false(lock_is_held(&world.host->lock));
    probe->last_bar = bar;
    probe->last_offset = offset;
    probe->last_length = length;
}

static hv_status_t on_read(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                           uint8_t *buffer)
{
    struct probe *probe = context;

    see_access(probe, bar, offset, length);
    probe->reads++;
    for (uint64_t i = 0; i < length; i++)
        assert_int_equal(buffer[i], 0xff);
    memset(buffer, (int)probe->read_fill, length);
    return probe->access;
}

static hv_status_t on_write(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                            const uint8_t *buffer)
{
    struct probe *probe = context;

    see_access(probe, bar, offset, length);
    probe->writes++;
    probe->last_value = 0;
    memcpy(&probe->last_value, buffer, length < 8 ? length : 8);
    memcpy(probe->last_bytes, buffer, length);
    if (probe->in_write)
        probe->in_write(probe);
    return probe->access;
}

static void on_reset(void *context)
{
    struct probe *probe = context;

    see_access(probe, probe->last_bar, probe->last_offset, probe->last_length);
    probe->resets++;
    if (probe->in_reset)
        probe->in_reset(probe);
}

const struct hv_device_ops probe_ops = {
    .version = HV_DEVICE_OPS_VERSION,
    .initialize = on_initialize,
    .set_configuration = on_configure,
    .get_details = on_details,
    .start = on_start,
    .stop = on_stop,
    .teardown = on_teardown,
    .read_config_space = on_config_read,
    .write_config_space = on_config_write,
    .read_intercepted_memory = on_read,
    .write_intercepted_memory = on_write,
    .reset = on_reset,
};

/* ---- the world ---- */

int world_open(void **state)
{
    static bool has_memory;

    (void)state;
    alarm(TEST_SECONDS);
    if (!has_memory) {
        fake_phys_init(PHYS_BYTES);
        assert_int_equal(frames_add(&hv_frames, HPA(FRAMES_START), FRAMES_BYTES / PAGE_BYTES),
                         HV_OK);
        has_memory = true;
    }
    fake_slab_fail(0);
    fake_view_fail(0);
    fake_blocks_fail(0);
    fake_blocks_exhaust(false);
    memset(world.probe, 0, sizeof(world.probe));
    section_trim();
    world.slabs = fake_slab_live();
    world.views = view_live_count();
    world.frames = hv_frames.free_pages;
    world.blocks = fake_blocks_live();
    fake_vm_create(&world.vm);
    assert_int_equal(hv_device_host_create(&world.vm, 0, &world.host), HV_OK);
    return 0;
}

int world_close(void **state)
{
    (void)state;
    hv_device_host_destroy(world.host);
    fake_vm_destroy(&world.vm);
    section_trim();
    assert_int_equal(mapping_live_count(), 0);
    assert_null(hv_ledger.edges.root);
    assert_int_equal(section_live_count(), 0);
    assert_int_equal(view_live_count(), world.views);
    assert_int_equal(fake_slab_live(), world.slabs);
    assert_int_equal(hv_frames.free_pages, world.frames);
    return 0;
}

struct world_state world_state(void)
{
    return (struct world_state){
        .hash = inspect_hash(world.probe[0].device),
        .mappings = mapping_live_count(),
        .tables = world.vm.pool.used_tables + world.vm.pool.reserved,
        .records = fake_slab_live(),
        .sections = section_live_count(),
        .views = view_live_count(),
        .stores = world.vm.tables.stores,
        .flushes = world.vm.stats.flushes,
    };
}

/* ---- devices ---- */

void probe_bar64(struct probe *probe, enum hv_bar bar, uint64_t bytes)
{
    probe->probed[bar] = (uint32_t)(0 - bytes) | 0xc;
    probe->probed[bar + 1] = (uint32_t)((0 - bytes) >> 32);
}

void probe_bar32(struct probe *probe, enum hv_bar bar, uint32_t bytes)
{
    probe->probed[bar] = 0u - bytes;
}

hv_status_t probe_create_at(struct probe *probe, unsigned slot, unsigned function)
{
    const struct hv_device_place place = {(uint8_t)slot, (uint8_t)function};
    static const struct hv_guid class_id = {{1, 2, 3}};
    static const char *const strings[] = {"a=1", "b"};
    struct hv_guid instance = {{0x10, (uint8_t)(probe - world.probe)}};

    return hv_device_create_at(world.host, place, &class_id, &instance, &probe_ops, probe, 2,
                               strings, &probe->device);
}

hv_status_t probe_try_create(struct probe *probe)
{
    return probe_create_at(probe, HV_SLOT_ANY, 0);
}

struct hv_device *probe_create(struct probe *probe)
{
    bool chosen = false;

    for (unsigned i = 0; i < HV_BAR_COUNT; i++)
        chosen |= probe->probed[i] != 0;
    if (!chosen) {
        probe_bar32(probe, HV_BAR0, 256);
        probe_bar64(probe, HV_BAR2, MIB(8));
    }
    assert_int_equal(probe_try_create(probe), HV_OK);
    return probe->device;
}

/* ---- config space ---- */

static uint16_t select_dword(unsigned slot, uint32_t offset)
{
    fake_vm_out(&world.vm, 0xcf8, 4, 0x80000000u | slot << 11 | (offset & 0xfc));
    return (uint16_t)(0xcfc + offset % 4);
}

uint32_t config_read(unsigned slot, uint32_t offset, unsigned bytes)
{
    return fake_vm_in(&world.vm, select_dword(slot, offset), bytes);
}

void config_write(unsigned slot, uint32_t offset, unsigned bytes, uint32_t value)
{
    fake_vm_out(&world.vm, select_dword(slot, offset), bytes, value);
}

void decode(struct probe *probe, bool on)
{
    config_write(probe->device->slot, PCI_CFG_COMMAND, 2, on ? PCI_COMMAND_MEMORY : 0);
}

static uint32_t bar_offset(enum hv_bar bar)
{
    return bar == HV_BAR_ROM ? PCI_CFG_ROM : PCI_CFG_BAR0 + 4 * (uint32_t)bar;
}

void move_bar(struct probe *probe, enum hv_bar bar, uint64_t base)
{
    unsigned slot = probe->device->slot;

    config_write(slot, bar_offset(bar), 4, (uint32_t)base);
    if (bar < HV_BAR5 && probe->device->bar[bar + 1].upper)
        config_write(slot, bar_offset(bar) + 4, 4, (uint32_t)(base >> 32));
}

uint64_t bar_base(const struct probe *probe, enum hv_bar bar)
{
    return probe->device->bar[bar].base;
}

/* ---- sections ---- */

uint64_t section_word(uint64_t page, uint64_t offset)
{
    return page << 32 | offset;
}

hv_handle_t make_section(uint64_t pages, uint32_t protect, uint32_t attributes)
{
    const uint64_t offsets[] = {0, PAGE_BYTES - sizeof(uint64_t)};
    struct section *section;
    hv_handle_t handle;

    assert_int_equal(hv_section_create(&handle,
                                       HV_SECTION_QUERY | HV_SECTION_MAP_READ |
                                           HV_SECTION_MAP_WRITE | HV_SECTION_MAP_EXECUTE,
                                       NULL, pages * PAGE_BYTES, protect,
                                       HV_SEC_COMMIT | attributes, NULL),
                     HV_OK);
    assert_int_equal(section_ref(handle, HV_SECTION_MAP_READ, SECTION_USER_VIEW, &section), HV_OK);
    for (uint64_t page = 0; page < pages; page++)
        for (unsigned i = 0; i < ARRAY_COUNT(offsets); i++) {
            uint64_t word = section_word(page, offsets[i]);

            assert_int_equal(
                section_write(section, page * PAGE_BYTES + offsets[i], &word, sizeof(word)), HV_OK);
        }
    section_unref(section, SECTION_USER_VIEW);
    return handle;
}

hv_handle_t make_window(hpa_t base, uint64_t pages)
{
    struct hv_section_backing backing = {
        .kind = HV_BACKING_PHYSICAL, .base = base, .bytes = pages * PAGE_BYTES};
    hv_handle_t handle;

    assert_int_equal(hv_section_create(&handle, HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE, NULL, 0,
                                       HV_PAGE_READWRITE, HV_SEC_COMMIT, &backing),
                     HV_OK);
    return handle;
}

struct probe *who_answers(uint64_t gpa)
{
    unsigned before[WORLD_PROBES];

    for (unsigned i = 0; i < WORLD_PROBES; i++)
        before[i] = world.probe[i].reads;
    fake_vm_read(&world.vm, gpa, 4);
    for (unsigned i = 0; i < WORLD_PROBES; i++)
        if (world.probe[i].reads != before[i])
            return &world.probe[i];
    return NULL;
}
