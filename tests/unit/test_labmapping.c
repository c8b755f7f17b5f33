/* drivers/virtual/lab_mapping.c: views, I/O space, apertures and guest memory, as a guest drives them. */
#include "tests/unit/lab_kit.h"

#include <string.h>

#include "hv/base/direct.h"
#include "hv/mem/view.h"
#include "tests/fake/view_calls.h"

/* Guest RAM lies behind these addresses of the fake machine; a device's registers at that one. */
#define RAM_GPA    MIB(1ull)
#define RAM_BYTES  MIB(1ull)
#define RAM_HOST   MIB(404ull)
#define DEVICE     (MIB(410ull) + 0xa10)
#define ALLOCATION HV_VIEW_TOP_DOWN
#define ANY        0ull
#define SHARE      HV_VIEW_SHARE

static int open_with_ram(void **state)
{
    int failed = world_open(state);

    world.vm.ram_count = 1;
    world.vm.ram[0] = (struct vm_ram){GPA(RAM_GPA), RAM_BYTES, direct(HPA(RAM_HOST))};
    memset(direct(HPA(RAM_HOST)), 0, RAM_BYTES);
    fake_view_answer = HV_OK;
    return failed;
}

static uint64_t *ram(uint64_t gpa)
{
    return direct(HPA(RAM_HOST + (gpa - RAM_GPA)));
}

/* A view of a window of section alt. */
static hv_status_t map_alt(uint64_t offset, uint64_t bytes, uint32_t protect)
{
    return RUN(LAB_CMD_VIEW_MAP, handle_of(LAB_SECTION_ALT), 0, ANY, 0, 0, offset, bytes, SHARE, 0,
               protect);
}

/* ---- views ---- */

static void test_view_arguments(void **state)
{
    const struct fake_view_args want = {.section = (hv_handle_t)NO_HANDLE,
                                        .space = 77,
                                        .base = 0x123450000,
                                        .zero_bits = 3,
                                        .commit_size = 0x5000,
                                        .section_offset = 0x10000,
                                        .view_size = 0x9000,
                                        .inherit = HV_VIEW_UNMAP,
                                        .allocation_type = ALLOCATION,
                                        .protect = HV_PAGE_READONLY | HV_PAGE_NOCACHE};

    (void)state;
    lab_up(0, NULL);
    fake_view_answer = HV_E_MAPPED_ALIGNMENT;
    assert_int_equal(RUN(LAB_CMD_VIEW_MAP, want.section, want.space, want.base, want.zero_bits,
                         want.commit_size, want.section_offset, want.view_size, want.inherit,
                         want.allocation_type, want.protect),
                     HV_E_MAPPED_ALIGNMENT);
    assert_memory_equal(&fake_view_args, &want, sizeof(want));
    /* Each that has 32 bits, with more: never a legal one. */
    fake_view_answer = HV_E_TIMEOUT;
    assert_int_equal(RUN(LAB_CMD_VIEW_MAP, BIT(32) + 1, BIT(32) + HV_SPACE_HYPERVISOR, 0,
                         BIT(32) + 1, 0, 0, 0, BIT(32) + SHARE, BIT(32),
                         BIT(32) + HV_PAGE_READONLY),
                     HV_E_TIMEOUT);
    assert_int_equal(fake_view_args.section, 0);
    assert_int_equal(fake_view_args.space, 0);
    assert_int_equal(fake_view_args.zero_bits, UINT32_MAX);
    assert_int_equal(fake_view_args.inherit, UINT32_MAX);
    assert_int_equal(fake_view_args.allocation_type, UINT32_MAX);
    assert_int_equal(fake_view_args.protect, UINT32_MAX);
    assert_int_equal(map_alt(0, 0, HV_PAGE_READONLY), HV_OK);
    assert_int_equal(fake_view_args.space, HV_SPACE_HYPERVISOR);
}

static void test_views(void **state)
{
    uint64_t alt, address;

    (void)state;
    lab_up(0, NULL);
    alt = handle_of(LAB_SECTION_ALT);
    assert_int_equal(map_alt(0x10000, 0x1001, HV_PAGE_READWRITE), HV_OK);
    assert_int_equal(result(0), 0);
    address = result(1);
    assert_int_equal(address % PAGE_BYTES, 0);
    assert_int_equal(result(2), 0x10000);
    assert_int_equal(result(3), 0x2000);
    assert_int_equal(RUN(LAB_CMD_TOTALS, 0), HV_OK);
    assert_int_equal(result(5), 1);
    assert_int_equal(result(6), 0);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 8, 8), HV_OK);
    assert_int_equal(result(0), LAB_PATTERN(2, 0x10008));
    assert_int_equal(RUN(LAB_CMD_MAPPING_WRITE, 0, 0x1402, 2, 0x123456), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, 0x11400), HV_OK);
    assert_int_equal(result(0), 0x34560000);
    for (uint64_t width = 1; width <= 8; width *= 2) {
        assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 0x2000 - width, width), HV_OK);
        assert_int_equal(result(0), LAB_PATTERN(2, 0x11ff8) >> (64 - 8 * width));
        if (width > 1)
            assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, width / 2, width), HV_E_MAPPED_ALIGNMENT);
    }
    assert_int_equal(RUN(LAB_CMD_MAPPING_LEAF, 0, 0x1fff), HV_OK);
    assert_int_equal(result(0), 1);
    assert_int_equal(result(1), PT_R | PT_W);
    assert_int_equal(result(2), MEMTYPE_WB);
    assert_int_equal(result(3), 1);

    /* Not a byte outside. */
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 0x2000, 1), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 0x1ff9, 8), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_MAPPING_WRITE, 0, ~7ull, 8, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_MAPPING_LEAF, 0, 0x2000), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_MAPPING_FILL, 0, 8, 0x2000, 1), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_MAPPING_CHECKSUM, 0, 8, ~7ull), HV_E_OUT_OF_RANGE);
    for (uint64_t width = 0; width < 20; width++)
        if (width != 1 && width != 2 && width != 4 && width != 8)
            assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 0, width), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(RUN(LAB_CMD_MAPPING_WRITE, 0, 0, 3, 0), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 1, 0, 8), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, LAB_MAPPINGS, 0, 8), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, BIT(32), 0, 8), HV_E_NOT_FOUND);

    /* Any address inside means the whole view; the place is free again. */
    assert_int_equal(RUN(LAB_CMD_VIEW_UNMAP, 0, 0x2000), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_VIEW_UNMAP, 0, 0x1fff), HV_OK);
    assert_int_equal(RUN(LAB_CMD_VIEW_UNMAP, 0, 0), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 0, 8), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_TOTALS, 0), HV_OK);
    assert_int_equal(result(5), 0);
    assert_int_equal(map_alt(0, 0, HV_PAGE_READONLY), HV_OK);
    assert_int_equal(result(0), 0);
    assert_int_equal(result(3), LAB_BAR2_PAGES * PAGE_BYTES);
}

static void test_fill_and_checksum(void **state)
{
    uint64_t alt, sum;

    (void)state;
    lab_up(0, NULL);
    alt = handle_of(LAB_SECTION_ALT);
    assert_int_equal(map_alt(0x10000, 0x3000, HV_PAGE_READWRITE), HV_OK);
    assert_int_equal(RUN(LAB_CMD_MAPPING_CHECKSUM, 0, 0, 0x3000), HV_OK);
    sum = result(0);
    assert_int_equal(RUN(LAB_CMD_SECTION_CHECKSUM, alt, 0x10000, 0x3000), HV_OK);
    assert_int_equal(result(0), sum);
    assert_int_equal(RUN(LAB_CMD_MAPPING_FILL, 0, 0xff8, 0x1010, 9), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, 0x12000), HV_OK);
    assert_int_equal(result(0), LAB_PATTERN(9, 0x2000));
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, alt, 0x12008), HV_OK);
    assert_int_equal(result(0), LAB_PATTERN(2, 0x12008));
    assert_int_equal(RUN(LAB_CMD_MAPPING_FILL, 0, 4, 8, 1), HV_E_MAPPED_ALIGNMENT);
    assert_int_equal(RUN(LAB_CMD_MAPPING_CHECKSUM, 0, 0, 12), HV_E_MAPPED_ALIGNMENT);
    assert_int_equal(RUN(LAB_CMD_MAPPING_CHECKSUM, 0, 0, 0), HV_OK);
    assert_int_equal(result(0), 0xcbf29ce484222325ull);
}

/* What would make the hypervisor fault is refused: rights, NOACCESS, pages without frames. */
static void test_denied_accesses(void **state)
{
    uint64_t reserved;

    (void)state;
    lab_up(0, NULL);
    assert_int_equal(map_alt(0, PAGE_BYTES, HV_PAGE_READONLY), HV_OK);
    assert_int_equal(map_alt(0, PAGE_BYTES, HV_PAGE_NOACCESS), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_CREATE, ALL_RIGHTS, 4 * PAGE_BYTES, HV_PAGE_READWRITE,
                         HV_SEC_RESERVE, 0),
                     HV_OK);
    reserved = result(0);
    assert_int_equal(RUN(LAB_CMD_SECTION_COMMIT, reserved, 0, 2), HV_OK);
    assert_int_equal(
        RUN(LAB_CMD_VIEW_MAP, reserved, 0, ANY, 0, 0, 0, 0, SHARE, 0, HV_PAGE_READWRITE), HV_OK);
    assert_int_equal(result(0), 2);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 0, 8), HV_OK);
    assert_int_equal(RUN(LAB_CMD_MAPPING_WRITE, 0, 0, 8, 1), HV_E_ACCESS_DENIED);
    assert_int_equal(RUN(LAB_CMD_MAPPING_FILL, 0, 0, 8, 1), HV_E_ACCESS_DENIED);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 1, 0, 8), HV_E_ACCESS_DENIED);
    assert_int_equal(RUN(LAB_CMD_MAPPING_CHECKSUM, 1, 0, 8), HV_E_ACCESS_DENIED);
    assert_int_equal(RUN(LAB_CMD_MAPPING_LEAF, 1, 0), HV_OK);
    assert_int_equal(result(0), 0);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 2, 2 * PAGE_BYTES, 8), HV_E_ACCESS_DENIED);
    assert_int_equal(RUN(LAB_CMD_MAPPING_FILL, 2, PAGE_BYTES, 2 * PAGE_BYTES, 1),
                     HV_E_ACCESS_DENIED);
    assert_int_equal(RUN(LAB_CMD_MAPPING_FILL, 2, 0, 2 * PAGE_BYTES, 1), HV_OK);
    assert_int_equal(RUN(LAB_CMD_SECTION_READ, reserved, 2 * PAGE_BYTES - 8), HV_OK);
    assert_int_equal(result(0), LAB_PATTERN(1, 2 * PAGE_BYTES - 8));
}

/* ---- I/O space ---- */

static void test_io_space(void **state)
{
    uint32_t *reg = direct(HPA(DEVICE));

    (void)state;
    lab_up(0, NULL);
    *reg = 0x11223344;
    assert_int_equal(RUN(LAB_CMD_IO_MAP, DEVICE, 4, HV_PAGE_READWRITE | HV_PAGE_NOCACHE), HV_OK);
    assert_int_equal(fake_view_args.phys, DEVICE);
    assert_int_equal(fake_view_args.bytes, 4);
    assert_int_equal(fake_view_args.protect, HV_PAGE_READWRITE | HV_PAGE_NOCACHE);
    assert_int_equal(result(0), 0);
    assert_int_equal(result(1), 0xa10); /* and no more of the address */
    assert_int_equal(RUN(LAB_CMD_IO_MAP, DEVICE, 0x1000, HV_PAGE_READONLY), HV_OK);
    assert_int_equal(result(0), 1);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 0, 4), HV_OK);
    assert_int_equal(result(0), 0x11223344);
    assert_int_equal(RUN(LAB_CMD_MAPPING_WRITE, 0, 2, 1, 0x99), HV_OK);
    assert_int_equal(*reg, 0x11993344);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 0, 8), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_MAPPING_WRITE, 1, 0, 4, 0), HV_E_ACCESS_DENIED);
    fake_view_answer = HV_E_CACHE_CONFLICT;
    assert_int_equal(RUN(LAB_CMD_IO_MAP, DEVICE, 4, HV_PAGE_READWRITE | HV_PAGE_WRITECOMBINE),
                     HV_E_CACHE_CONFLICT);
    /* Calls of the wrong kind are made, and answered. */
    assert_int_equal(RUN(LAB_CMD_VIEW_UNMAP, 0, 0), HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_APERTURE_DESTROY, SELF, 0, 0), HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_IO_UNMAP, 1, 0x1000, 1), HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_IO_UNMAP, 1, 4, 0), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(RUN(LAB_CMD_IO_UNMAP, 1, 0x1000, 0x1000), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_IO_UNMAP, 1, 0x1000, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_IO_UNMAP, 1, 0x1000, 0), HV_E_NOT_FOUND);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 0, 4), HV_OK);
}

/* ---- guest memory ---- */

static void test_apertures(void **state)
{
    (void)state;
    lab_up(0, NULL);
    assert_int_equal(RUN(LAB_CMD_APERTURE_CREATE, SELF, RAM_GPA + 0x123, 0x2000, 0), HV_OK);
    assert_int_equal(result(0), 0);
    assert_int_equal(result(1), 0x123);
    assert_int_equal(RUN(LAB_CMD_APERTURE_CREATE, SELF, RAM_GPA, 8, 1), HV_OK);
    assert_int_equal(RUN(LAB_CMD_TOTALS, 0), HV_OK);
    assert_int_equal(result(5), 2);
    assert_int_equal(result(6), 2);
    *ram(RAM_GPA + 0x1ff8) = 0x0807060504030201;
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 0x1ff8 - 0x123, 1), HV_OK);
    assert_int_equal(result(0), 1);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 0, 2), HV_E_MAPPED_ALIGNMENT);
    assert_int_equal(RUN(LAB_CMD_MAPPING_WRITE, 0, 5, 8, 77), HV_OK);
    assert_int_equal(*ram(RAM_GPA + 0x128), 77);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 0x1fff, 1), HV_OK);
    assert_int_equal(RUN(LAB_CMD_MAPPING_READ, 0, 0x2000, 1), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_MAPPING_WRITE, 1, 0, 8, 1), HV_E_ACCESS_DENIED);
    assert_int_equal(RUN(LAB_CMD_APERTURE_CREATE, UNKNOWN, RAM_GPA, 8, 0), HV_E_INVALID_HANDLE);
    assert_int_equal(RUN(LAB_CMD_APERTURE_CREATE, SELF, RAM_GPA, 0, 0), HV_E_INVALID_PARAMETER_3);
    assert_int_equal(RUN(LAB_CMD_APERTURE_CREATE, SELF, bar2, 8, 0), HV_E_GUEST_FAULT);
    assert_int_equal(RUN(LAB_CMD_APERTURE_CREATE, SELF, RAM_GPA, BIT(32) + 8, 0), HV_E_GUEST_FAULT);
    assert_int_equal(RUN(LAB_CMD_APERTURE_DESTROY, SELF, 0, 1), HV_E_NOT_MAPPED);
    assert_int_equal(RUN(LAB_CMD_APERTURE_DESTROY, UNKNOWN, 0, 0), HV_E_INVALID_HANDLE);
    assert_int_equal(RUN(LAB_CMD_APERTURE_DESTROY, SELF, 0, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_APERTURE_DESTROY, SELF, 0, 0), HV_E_NOT_FOUND);
}

static void test_aperture_benchmark(void **state)
{
    (void)state;
    lab_up(0, NULL);
    assert_int_equal(RUN(LAB_CMD_BENCH, LAB_BENCH_APERTURE_CREATE, 3), HV_OK);
    assert_int_equal(view_live_count(), 0);
    world.vm.ram_count = 0;
    assert_int_equal(RUN(LAB_CMD_BENCH, LAB_BENCH_APERTURE_CREATE, 3), HV_E_GUEST_FAULT);
}

/* The device's limit shows before the table is full. */
static void test_aperture_quota(void **state)
{
    (void)state;
    lab_up(0, NULL);
    for (unsigned i = 0; i < HV_APERTURES_PER_DEVICE; i++)
        assert_int_equal(RUN(LAB_CMD_APERTURE_CREATE, SELF, RAM_GPA + i, 1, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_APERTURE_CREATE, SELF, RAM_GPA, 1, 0), HV_E_QUOTA);
    for (unsigned i = HV_APERTURES_PER_DEVICE; i < LAB_MAPPINGS; i++)
        assert_int_equal(RUN(LAB_CMD_IO_MAP, DEVICE, 1, HV_PAGE_READONLY), HV_OK);
    assert_int_equal(RUN(LAB_CMD_IO_MAP, DEVICE, 1, HV_PAGE_READONLY), HV_E_QUOTA);
    assert_int_equal(map_alt(0, PAGE_BYTES, HV_PAGE_READONLY), HV_E_QUOTA);
    assert_int_equal(RUN(LAB_CMD_APERTURE_CREATE, SELF, RAM_GPA, 1, 0), HV_E_QUOTA);
    assert_int_equal(RUN(LAB_CMD_APERTURE_DESTROY, SELF, 500, 0), HV_OK);
    assert_int_equal(RUN(LAB_CMD_APERTURE_CREATE, SELF, RAM_GPA, 1, 0), HV_OK);
    assert_int_equal(result(0), 500);
}

static void test_guest_memory(void **state)
{
    uint64_t sum;

    (void)state;
    lab_up(0, NULL);
    *ram(RAM_GPA + 0x1008) = 0x1122334455667788;
    assert_int_equal(RUN(LAB_CMD_GUEST_READ, SELF, RAM_GPA + 0x1009, 3), HV_OK);
    assert_int_equal(result(0), 0x556677);
    sum = lab_checksum("\x77\x66\x55", 3);
    assert_int_equal(result(1), sum);
    assert_int_equal(RUN(LAB_CMD_GUEST_READ, SELF, RAM_GPA, 0), HV_OK);
    assert_int_equal(result(0), 0);
    assert_int_equal(RUN(LAB_CMD_GUEST_WRITE, SELF, RAM_GPA + 0x100a, 2, 0xaabbccdd), HV_OK);
    assert_int_equal(*ram(RAM_GPA + 0x1008), 0x11223344ccdd7788);
    assert_int_equal(RUN(LAB_CMD_GUEST_WRITE, SELF, RAM_GPA + 0x2000, 8, ~0ull), HV_OK);
    assert_int_equal(*ram(RAM_GPA + 0x2000), ~0ull);
    assert_int_equal(*ram(RAM_GPA + 0x2008), 0);

    assert_int_equal(RUN(LAB_CMD_GUEST_WRITE, SELF, RAM_GPA + 0x3000, LAB_BUFFER_BYTES, 5), HV_OK);
    for (uint64_t i = 0; i < LAB_BUFFER_BYTES; i += 8)
        assert_int_equal(*ram(RAM_GPA + 0x3000 + i), LAB_PATTERN(5, i));
    assert_int_equal(*ram(RAM_GPA + 0x3000 + LAB_BUFFER_BYTES), 0);
    assert_int_equal(RUN(LAB_CMD_GUEST_READ, SELF, RAM_GPA + 0x3000, LAB_BUFFER_BYTES), HV_OK);
    assert_int_equal(result(0), LAB_PATTERN(5, 0));
    assert_int_equal(result(1), lab_checksum(ram(RAM_GPA + 0x3000), LAB_BUFFER_BYTES));

    assert_int_equal(RUN(LAB_CMD_GUEST_READ, SELF, RAM_GPA, LAB_BUFFER_BYTES + 1),
                     HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_GUEST_WRITE, SELF, RAM_GPA, BIT(32) + 8, 0), HV_E_OUT_OF_RANGE);
    assert_int_equal(RUN(LAB_CMD_GUEST_READ, UNKNOWN, RAM_GPA, 8), HV_E_INVALID_HANDLE);
    assert_int_equal(RUN(LAB_CMD_GUEST_READ, SELF, RAM_GPA + RAM_BYTES - 4, 8), HV_E_GUEST_FAULT);
    assert_int_equal(RUN(LAB_CMD_GUEST_WRITE, SELF, ~3ull, 8, 0), HV_E_INVALID_PARAMETER_2);
}

/* ---- the end ---- */

static void test_teardown(void **state)
{
    unsigned lines = fake_log_lines;

    (void)state;
    lab_up(0, NULL);
    assert_int_equal(map_alt(0, 0, HV_PAGE_READWRITE), HV_OK);
    assert_int_equal(RUN(LAB_CMD_IO_MAP, DEVICE, 0x2000, HV_PAGE_READONLY), HV_OK);
    assert_int_equal(RUN(LAB_CMD_APERTURE_CREATE, SELF, RAM_GPA, 8, 0), HV_OK);
    assert_int_equal(view_live_count(), 3);
    assert_int_equal(hv_device_destroy(lab), HV_OK);
    assert_int_equal(view_live_count(), 0);
    assert_int_equal(section_live_count(), 0);
    assert_int_equal(fake_log_lines, lines);
}

static int close_world(void **state)
{
    int failed = world_close(state);

    assert_int_equal(view_live_count(), 0);
    return failed;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_with_ram, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_view_arguments),     TEST(test_views),          TEST(test_fill_and_checksum),
        TEST(test_denied_accesses),    TEST(test_io_space),       TEST(test_apertures),
        TEST(test_aperture_benchmark), TEST(test_aperture_quota), TEST(test_guest_memory),
        TEST(test_teardown),
    };

    return cmocka_run_group_tests_name("labmapping", tests, NULL, NULL);
}
