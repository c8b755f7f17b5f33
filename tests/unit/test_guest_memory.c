#define _GNU_SOURCE
/* Guest memory for devices: copies, and who may have them when. */
#include "tests/unit/ram_kit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "hv/mem/view.h"
#include "hv/pci/config.h"

#define BUS_MASTER 4u

static struct probe *const probe = &world.probe[0];
static struct probe *const other = &world.probe[1];

/* ---- copies ---- */

/* Both directions at gpa, with the bytes around what is copied left alone. */
static void expect_copied(uint64_t gpa, uint32_t bytes)
{
    enum { MAX = 80, GUARD = 8 };
    uint8_t buffer[MAX + GUARD], want[MAX + GUARD];
    uint8_t before = *ram(gpa - 1);

    assert_true(bytes <= MAX);
    fill_ram(gpa, bytes, 3);
    memset(buffer, 0xee, sizeof(buffer));
    memset(want, 0xee, sizeof(want));
    for (uint32_t i = 0; i < bytes; i++)
        want[i] = (uint8_t)(3 + i);
    assert_int_equal(read_at(gpa, bytes, buffer), HV_OK);
    assert_memory_equal(buffer, want, sizeof(buffer));
    for (uint32_t i = 0; i < bytes; i++)
        buffer[i] = (uint8_t)(0xc0 - i);
    assert_int_equal(write_at(gpa, bytes, buffer), HV_OK);
    for (uint32_t i = 0; i < bytes; i++)
        assert_int_equal(*ram(gpa + i), (uint8_t)(0xc0 - i));
    assert_int_equal(*ram(gpa - 1), before);
}

/* Neither direction, and not one byte of it. */
static void expect_fault(uint64_t gpa, uint32_t bytes)
{
    enum { MAX = 80 };
    uint8_t buffer[MAX], want[MAX];
    void *va = buffer;

    assert_true(bytes <= MAX);
    memset(buffer, 0xee, sizeof(buffer));
    memset(want, 0xee, sizeof(want));
    fill_ram(TOP - MAX, MAX, 9);
    fill_ram(HIGH, MAX, 9);
    assert_int_equal(read_at(gpa, bytes, buffer), HV_E_GUEST_FAULT);
    assert_memory_equal(buffer, want, sizeof(buffer));
    assert_int_equal(write_at(gpa, bytes, buffer), HV_E_GUEST_FAULT);
    for (uint32_t i = 0; i < MAX; i++) {
        assert_int_equal(*ram(TOP - MAX + i), (uint8_t)(9 + i));
        assert_int_equal(*ram(HIGH + i), (uint8_t)(9 + i));
    }
    assert_int_equal(aperture(gpa, bytes, &va), HV_E_GUEST_FAULT);
    assert_ptr_equal(va, buffer);
    assert_int_equal(view_live_count(), world.views);
}

static void test_sizes(void **state)
{
    (void)state;
    probe_create(probe);
    for (uint32_t bytes = 1; bytes <= 20; bytes++)
        for (uint64_t offset = 0; offset < 9; offset++) {
            expect_copied(LOW + PAGE_BYTES + offset, bytes);
            expect_copied(LOW + 2 * PAGE_BYTES - offset, bytes);
            expect_copied(SEAM - offset, bytes);
        }
    fill_ram(LOW + 16, 1, 0x5a);
    assert_int_equal(write_at(LOW + 16, 0, "x"), HV_OK);
    assert_int_equal(*ram(LOW + 16), 0x5a);
}

static void test_hole(void **state)
{
    (void)state;
    probe_create(probe);
    expect_copied(TOP - 64, 64);
    expect_copied(HIGH + 1, 64); /* the first byte of a run has none before it that is RAM */
    expect_copied(HIGH_END - 64, 64);
    expect_fault(TOP - 32, 64);
    expect_fault(TOP - 63, 64);
    expect_fault(TOP - 1, 2);
    expect_fault(TOP, 1);
    expect_fault(HIGH - 1, 1);
    expect_fault(HIGH - 32, 64);
    expect_fault(HIGH - 4, 8);
    expect_fault(HIGH_END - 32, 64);
    expect_fault(HIGH_END, 1);
    expect_fault(LOW - 1, 8);
    expect_fault(0, 1);
    expect_fault(BIT(52), 8);
}

static uint64_t word_at(uint64_t offset)
{
    return (offset ^ 0x5bd1e995) * 0x9e3779b97f4a7c15ull;
}

/* 64 MiB up to the top, over the seam; from the bottom to above 4 GiB there is a hole, however much RAM there is. */
static void test_much(void **state)
{
    const uint32_t bytes = MIB(64);
    uint64_t *buffer = malloc(bytes);
    uint8_t last = 0;

    (void)state;
    assert_non_null(buffer);
    probe_create(probe);
    for (uint32_t i = 0; i < bytes / 8; i++)
        buffer[i] = word_at(i);
    assert_int_equal(write_at(TOP - bytes, bytes, buffer), HV_OK);
    for (uint32_t i = 0; i < bytes / 8; i++)
        assert_true(*(uint64_t *)(void *)ram(TOP - bytes + 8 * (uint64_t)i) == word_at(i));
    memset(buffer, 0, bytes);
    assert_int_equal(read_at(TOP - bytes, bytes, buffer), HV_OK);
    for (uint32_t i = 0; i < bytes / 8; i++)
        assert_true(buffer[i] == word_at(i));
    buffer[0] = 1;
    assert_int_equal(read_at(TOP - bytes + 1, bytes, buffer), HV_E_GUEST_FAULT);
    assert_true(buffer[0] == 1);
    /* Both ends in RAM, the hole between them. */
    assert_int_equal(read_at(TOP - 8, HIGH - TOP + 16, buffer), HV_E_GUEST_FAULT);
    assert_int_equal(read_at(LOW, UINT32_MAX, buffer), HV_E_GUEST_FAULT);
    assert_true(buffer[0] == 1);
    *ram(HIGH_END - 1) = 0x77;
    assert_int_equal(read_at(HIGH_END - 1, 1, &last), HV_OK);
    assert_int_equal(last, 0x77);
    free(buffer);
}

/* A BAR is no RAM, trapped or direct. */
static void test_bars(void **state)
{
    hv_handle_t section;
    uint64_t base;

    (void)state;
    probe_create(probe);
    section = make_section(4, HV_PAGE_READWRITE, 0);
    assert_int_equal(
        hv_mmio_range_create(probe->device, HV_BAR2, 0, 4, HV_MMIO_WRITEABLE, section, 0), HV_OK);
    assert_int_equal(hv_handle_close(section), HV_OK);
    decode(probe, true);
    base = bar_base(probe, HV_BAR2);
    (void)fake_vm_read(&world.vm, base, 8);
    assert_int_equal(fake_vm_way, FAKE_DIRECT);
    expect_fault(base, 8);
    expect_fault(base + 5 * PAGE_BYTES, 8);
    expect_fault(bar_base(probe, HV_BAR0), 4);
}

/*
 * How often a page is accessed: it is not there, so each access faults; it is let through for one instruction, after which
 * the page is gone again.
 */
#define TRAP_FLAG 0x100

static struct {
    uint8_t *page;
    unsigned accesses;
} watch;

static void on_access(int number, siginfo_t *info, void *context)
{
    greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
    bool fault = number == SIGSEGV;

    (void)info;
    watch.accesses += fault;
    mprotect(watch.page, PAGE_BYTES, fault ? PROT_READ | PROT_WRITE : PROT_NONE);
    *flags = fault ? *flags | TRAP_FLAG : *flags & ~(greg_t)TRAP_FLAG;
}

static void watch_page(uint8_t *page, bool on)
{
    static struct sigaction before[2];
    const struct sigaction action = {.sa_sigaction = on_access, .sa_flags = SA_SIGINFO};

    watch.page = page;
    sigaction(SIGSEGV, on ? &action : &before[0], on ? &before[0] : NULL);
    sigaction(SIGTRAP, on ? &action : &before[1], on ? &before[1] : NULL);
    mprotect(page, PAGE_BYTES, on ? PROT_NONE : PROT_READ | PROT_WRITE);
}

static void test_single_accesses(void **state)
{
    const uint64_t word = 0x1122334455667788ull;
    uint64_t back = 0;

    (void)state;
    probe_create(probe);
    for (uint32_t bytes = 1; bytes <= 8; bytes *= 2) {
        hv_status_t wrote, got;
        unsigned writes;

        watch.accesses = 0;
        watch_page(ram(LOW), true);
        wrote = write_at(LOW + 16 - bytes, bytes, &word);
        writes = watch.accesses;
        got = read_at(LOW + 16 - bytes, bytes, &back);
        watch_page(ram(LOW), false);
        assert_int_equal(wrote, HV_OK);
        assert_int_equal(got, HV_OK);
        assert_int_equal(writes, 1);
        assert_int_equal(watch.accesses, 2);
        assert_memory_equal(&back, &word, bytes);
    }
}

/* ---- the order of checks ---- */

/* What the three calls answer for one set of arguments that are wrong in several ways. */
static void expect_all(hv_status_t wanted_copy, hv_status_t wanted_aperture, uint64_t gpa,
                       uint32_t bytes, void *buffer)
{
    void *va = NULL;

    assert_int_equal(read_at(gpa, bytes, buffer), wanted_copy);
    assert_int_equal(write_at(gpa, bytes, buffer), wanted_copy);
    assert_int_equal(aperture(gpa, bytes, buffer ? &va : NULL), wanted_aperture);
    assert_null(va);
    assert_false(lock_is_held(&probe->device->lock));
}

static void test_order(void **state)
{
    uint64_t word = 0;
    struct world_state before;
    char nobody;
    void *va = NULL;

    (void)state;
    probe_create(probe);
    before = world_state();
    expect_all(HV_E_INVALID_PARAMETER_2, HV_E_INVALID_PARAMETER_2, ~0ull - 7, 9, NULL);
    expect_all(HV_E_INVALID_PARAMETER_2, HV_E_INVALID_PARAMETER_2, ~0ull - 7, 8, &word);
    expect_all(HV_E_INVALID_PARAMETER_4, HV_E_INVALID_PARAMETER_5, ~0ull - 7, 7, NULL);
    expect_all(HV_E_GUEST_FAULT, HV_E_GUEST_FAULT, ~0ull - 7, 7, &word);
    expect_all(HV_OK, HV_E_INVALID_PARAMETER_3, ~0ull, 0, NULL);
    expect_all(HV_OK, HV_E_INVALID_PARAMETER_3, TOP, 0, &word);
    expect_all(HV_E_INVALID_PARAMETER_4, HV_E_INVALID_PARAMETER_5, LOW, 8, NULL);
    assert_unchanged(before);

    assert_int_equal(hv_guest_memory_read((struct hv_device *)(void *)&nobody, GPA(LOW), 0, &word),
                     HV_E_INVALID_HANDLE);
    assert_int_equal(hv_guest_memory_write(NULL, GPA(LOW), 8, &word), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_guest_aperture_create(NULL, GPA(LOW), 8, false, &va), HV_E_INVALID_HANDLE);
    assert_int_equal(hv_guest_aperture_destroy(NULL, &word), HV_E_INVALID_HANDLE);
}

/* ---- flags of the host ---- */

static void new_host(uint32_t flags)
{
    hv_device_host_destroy(world.host);
    assert_int_equal(hv_device_host_create(&world.vm, flags, &world.host), HV_OK);
}

static void test_unknown_flags(void **state)
{
    struct hv_device_host *none = NULL;
    struct vm vm = {0};

    (void)state;
    for (unsigned bit = 3; bit < 32; bit++)
        assert_int_equal(hv_device_host_create(&vm, 1u << bit | 1, &none),
                         HV_E_INVALID_PARAMETER_2);
    assert_null(none);
}

static void test_restricted(void **state)
{
    uint64_t word = 5;

    (void)state;
    new_host(HV_HOST_RESTRICTED);
    probe_create(probe);
    config_write(probe->device->slot, PCI_CFG_COMMAND, 2, BUS_MASTER);
    expect_all(HV_E_ACCESS_DENIED, HV_E_ACCESS_DENIED, LOW, 8, &word);
    expect_all(HV_E_ACCESS_DENIED, HV_E_ACCESS_DENIED, TOP, 8,
               &word); /* it learns nothing of RAM */
    expect_all(HV_E_INVALID_PARAMETER_4, HV_E_INVALID_PARAMETER_5, TOP, 8, NULL);
    expect_all(HV_OK, HV_E_INVALID_PARAMETER_3, LOW, 0, &word);
    assert_int_equal(hv_guest_aperture_destroy(probe->device, &word), HV_E_NOT_MAPPED);
    assert_true(word == 5);
}

static void set_bus_master(bool on)
{
    config_write(probe->device->slot, PCI_CFG_COMMAND, 2, on ? BUS_MASTER : 0);
}

/* Through the last word that a device may write: in `stop`, while the guest let it. */
static hv_status_t stop_status;

static void write_in_stop(struct probe *of)
{
    const uint8_t byte = 0x42;

    stop_status = hv_guest_memory_write(of->device, GPA(LOW), 1, &byte);
}

static void test_bus_master(void **state)
{
    uint64_t word = 0;
    void *va = NULL;

    (void)state;
    new_host(HV_HOST_ENFORCE_BUS_MASTER);
    probe_create(probe);
    expect_all(HV_E_ACCESS_DENIED, HV_E_ACCESS_DENIED, LOW, 8, &word);
    config_write(probe->device->slot, PCI_CFG_COMMAND, 2, (uint16_t)~BUS_MASTER);
    expect_all(HV_E_ACCESS_DENIED, HV_E_ACCESS_DENIED, LOW, 8, &word);
    set_bus_master(true);
    assert_int_equal(read_at(LOW, 8, &word), HV_OK);
    assert_int_equal(write_at(LOW, 8, &word), HV_OK);
    assert_int_equal(aperture(LOW, 8, &va), HV_OK);
    set_bus_master(false);
    assert_int_equal(read_at(LOW, 8, &word), HV_E_ACCESS_DENIED);
    destroy(va);

    probe->in_stop = write_in_stop;
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    set_bus_master(true);
    *ram(LOW) = 0;
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
    assert_int_equal(stop_status, HV_OK);
    assert_int_equal(*ram(LOW), 0x42);

    memset(probe, 0, sizeof(*probe));
    probe->in_stop = write_in_stop;
    probe_create(probe); /* started at once */
    assert_int_equal(hv_device_destroy(probe->device), HV_OK);
    assert_int_equal(stop_status, HV_E_ACCESS_DENIED);
}

static void test_no_flags(void **state)
{
    uint64_t word = 0;

    (void)state;
    probe_create(probe);
    set_bus_master(false);
    assert_int_equal(read_at(LOW, 8, &word), HV_OK);
}

/* ---- phases ---- */

/* What each call answers in each callback; and in teardown a destroy. */
static hv_status_t in_phase[4];
static void *kept;

static void use(struct probe *of)
{
    uint64_t word = 0;
    void *va = NULL;

    in_phase[0] = hv_guest_memory_read(of->device, GPA(LOW), 8, &word);
    in_phase[1] = hv_guest_memory_write(of->device, GPA(LOW), 8, &word);
    in_phase[2] = hv_guest_aperture_create(of->device, GPA(LOW), 8, false, &va);
    in_phase[3] = va ? hv_guest_aperture_destroy(of->device, va) : HV_OK;
    assert_false(lock_is_held(&of->device->lock));
}

static void expect_phase(hv_status_t wanted)
{
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(in_phase[i], wanted);
    assert_int_equal(in_phase[3], HV_OK);
    memset(in_phase, 0xa5, sizeof(in_phase));
}

static void use_in_initialize(struct probe *of)
{
    use(of);
    expect_phase(HV_E_INVALID_STATE);
}

static void use_legally(struct probe *of)
{
    use(of);
    expect_phase(HV_OK);
}

static void use_in_teardown(struct probe *of)
{
    uint64_t byte;

    use(of);
    expect_phase(HV_E_INVALID_STATE);
    assert_int_equal(hv_guest_memory_read(of->device, GPA(LOW), 0, &byte), HV_E_INVALID_STATE);
    assert_int_equal(hv_guest_aperture_destroy(of->device, kept), HV_OK);
    assert_int_equal(hv_guest_aperture_destroy(of->device, kept), HV_E_NOT_MAPPED);
    assert_int_equal(hv_device_destroy(of->device), HV_E_INVALID_STATE);
}

static void test_phases(void **state)
{
    struct hv_device *device;
    uint64_t word;

    (void)state;
    probe->in_initialize = use_in_initialize;
    probe->in_configure = use_legally;
    probe->in_start = use_legally;
    probe->in_stop = use_legally;
    probe->in_teardown = use_in_teardown;
    probe->in_write = use_legally;
    device = probe_create(probe);
    use_legally(probe);
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    use_legally(probe);
    decode(probe, true);
    fake_vm_write(&world.vm, bar_base(probe, HV_BAR0), 4, 1);
    assert_int_equal(probe->writes, 1);
    assert_int_equal(aperture(LOW, 1, &kept), HV_OK);
    assert_int_equal(hv_device_destroy(device), HV_OK);
    assert_int_equal(probe->stopped, 1);
    assert_int_equal(probe->torn_down, 1);
    assert_int_equal(view_live_count(), world.views);
    assert_int_equal(hv_guest_memory_read(device, GPA(LOW), 8, &word), HV_E_INVALID_HANDLE);
}

/* A start that another device's failure takes back: STOPPED is a phase like CONFIGURED. */
static void test_stopped(void **state)
{
    (void)state;
    probe_create(probe);
    other->start = HV_E_NOT_SUPPORTED;
    probe_create(other);
    assert_int_equal(hv_device_host_start(world.host), HV_E_NOT_SUPPORTED);
    assert_int_equal(probe->device->state, HV_DEVICE_STOPPED);
    use_legally(probe);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ram_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sizes),
        TEST(test_hole),
        TEST(test_much),
        TEST(test_bars),
        TEST(test_single_accesses),
        TEST(test_order),
        TEST(test_unknown_flags),
        TEST(test_restricted),
        TEST(test_bus_master),
        TEST(test_no_flags),
        TEST(test_phases),
        TEST(test_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
