/* AML byte by byte, by hand from the specification; and never a byte behind the room. */
#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#include "hv/vm/aml.h"

#define ROOM 0x20000u

static struct aml aml;

static int open_room(void **state)
{
    (void)state;
    aml = (struct aml){.bytes = malloc(ROOM), .room = ROOM};
    return 0;
}

static int close_room(void **state)
{
    (void)state;
    free(aml.bytes);
    return 0;
}

static void expect_bytes(const void *bytes, size_t count)
{
    assert_false(aml.full);
    assert_int_equal(aml.count, count);
    assert_memory_equal(aml.bytes, bytes, count);
    aml.count = 0;
}
#define EXPECT(...)                             \
    do {                                        \
        const uint8_t wanted[] = {__VA_ARGS__}; \
        expect_bytes(wanted, sizeof(wanted));   \
    } while (0)

static void fields(void **state)
{
    (void)state;
    aml_put(&aml, 0x0807060504030201, 8);
    aml_put(&aml, 0xfffff0b0a09, 3);
    aml_copy(&aml, "\x0c\x0d", 2);
    EXPECT(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13);
}

static void integers(void **state)
{
    (void)state;
    aml_integer(&aml, 0);
    aml_integer(&aml, 1);
    EXPECT(0x00, 0x01);
    aml_integer(&aml, 2);
    aml_integer(&aml, 0xff);
    EXPECT(0x0a, 0x02, 0x0a, 0xff);
    aml_integer(&aml, 0x100);
    aml_integer(&aml, 0xffff);
    EXPECT(0x0b, 0x00, 0x01, 0x0b, 0xff, 0xff);
    aml_integer(&aml, 0x10000);
    aml_integer(&aml, 0xffffffff);
    EXPECT(0x0c, 0, 0, 1, 0, 0x0c, 0xff, 0xff, 0xff, 0xff);
    aml_integer(&aml, 0x100000000);
    aml_integer(&aml, UINT64_MAX);
    EXPECT(0x0e, 0, 0, 0, 0, 1, 0, 0, 0, 0x0e, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
}

static void names(void **state)
{
    (void)state;
    aml_name(&aml, "_HID");
    aml_integer(&aml, AML_PNP_ID(0x0a08));
    EXPECT(0x08, '_', 'H', 'I', 'D', 0x0c, 0x41, 0xd0, 0x0a, 0x08);
    aml_integer(&aml, AML_PNP_ID(0x0501));
    EXPECT(0x0c, 0x41, 0xd0, 0x05, 0x01);
}

/* The length of `inside` bytes, which counts itself: as long as need be, and no longer. */
static void check_length(size_t inside, const char *length, size_t length_bytes)
{
    size_t at = aml_open(&aml, AML_DEVICE, NULL);

    for (size_t i = 0; i < inside; i++)
        aml_put(&aml, 0xa0 + i % 7, 1);
    aml_close(&aml, at);
    assert_false(aml.full);
    assert_int_equal(aml.count, 2 + length_bytes + inside);
    assert_memory_equal(aml.bytes, "\x5b\x82", 2);
    assert_memory_equal(aml.bytes + 2, length, length_bytes);
    for (size_t i = 0; i < inside; i++)
        assert_int_equal(aml.bytes[2 + length_bytes + i], 0xa0 + i % 7);
    aml.count = 0;
}

static void lengths(void **state)
{
    (void)state;
    check_length(0, "\x01", 1);
    check_length(62, "\x3f", 1);
    check_length(63, "\x41\x04", 2); /* 65 */
    check_length(0xffd, "\x4f\xff", 2);
    check_length(0xffe, "\x81\x00\x01", 3); /* 0x1001 */
    check_length(0x12342, "\x85\x34\x12", 3);
}

static void blocks(void **state)
{
    size_t scope, device, package;

    (void)state;
    scope = aml_open(&aml, AML_SCOPE, "_SB_");
    device = aml_open(&aml, AML_DEVICE, "COM1");
    aml_close(&aml, device);
    package = aml_open(&aml, AML_PACKAGE, NULL);
    aml_put(&aml, 1, 1);
    aml_integer(&aml, 5);
    aml_close(&aml, package);
    aml_close(&aml, scope);
    EXPECT(0x10, 0x11, '_', 'S', 'B', '_', 0x5b, 0x82, 0x05, 'C', 'O', 'M', '1', 0x12, 0x04, 1,
           0x0a, 5);
}

static void resources(void **state)
{
    size_t at = aml_open(&aml, AML_BUFFER, NULL);
    uint8_t sum = 0;

    (void)state;
    aml_io_ports(&aml, 0x3f8, 8);
    aml_memory32(&aml, 0xfe000000, 0x100000);
    aml_end_tag(&aml, at);
    for (unsigned i = 4; i < aml.count; i++)
        sum = (uint8_t)(sum + aml.bytes[i]);
    assert_int_equal(sum, 0);
    EXPECT(0x11, 25, 0x0a, 22,                          /* */
           0x47, 1, 0xf8, 0x03, 0xf8, 0x03, 1, 8,       /* */
           0x86, 9, 0, 1, 0, 0, 0, 0xfe, 0, 0, 0x10, 0, /* */
           0x79, aml.bytes[25]);
    at = aml_open(&aml, AML_BUFFER, NULL);
    aml_end_tag(&aml, at);
    EXPECT(0x11, 5, 0x0a, 2, 0x79, 0x87);
    at = aml_open(&aml, AML_BUFFER, NULL);
    for (unsigned i = 0; i < 32; i++)
        aml_io_ports(&aml, 0, 0);
    aml_end_tag(&aml, at);
    assert_memory_equal(aml.bytes, "\x11\x47\x10\x0b\x02\x01\x47",
                        7); /* 0x107 with a word's size */
}

static void windows(void **state)
{
    (void)state;
    aml_window(&aml, AML_WINDOW_BUSES, 2, 0, 3);
    EXPECT(0x88, 13, 0, 2, 0x0c, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0);
    aml_window(&aml, AML_WINDOW_IO, 2, 0xc000, 0xffff);
    EXPECT(0x88, 13, 0, 1, 0x0c, 3, 0, 0, 0, 0xc0, 0xff, 0xff, 0, 0, 0, 0x40);
    aml_window(&aml, AML_WINDOW_MEMORY, 4, 0xc0000000, 0xfdffffff);
    EXPECT(0x87, 23, 0, 0, 0x0c, 1, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff, 0xff, 0xfd, 0, 0, 0, 0,
           0, 0, 0, 0x3e);
    aml_window(&aml, AML_WINDOW_MEMORY, 8, 0x400000000, 0xfffffffff);
    EXPECT(0x8a, 43, 0, 0, 0x0c, 1,              /* */
           0, 0, 0, 0, 0, 0, 0, 0,               /* */
           0, 0, 0, 0, 4, 0, 0, 0,               /* */
           0xff, 0xff, 0xff, 0xff, 0xf, 0, 0, 0, /* */
           0, 0, 0, 0, 0, 0, 0, 0,               /* */
           0, 0, 0, 0, 0xc, 0, 0, 0);
}

static void write_much(void)
{
    size_t device = aml_open(&aml, AML_DEVICE, "PCI0"), buffer;

    aml_name(&aml, "_CRS");
    buffer = aml_open(&aml, AML_BUFFER, NULL);
    aml_io_ports(&aml, 0xcf8, 8);
    aml_window(&aml, AML_WINDOW_MEMORY, 8, 0, 0xff);
    aml_end_tag(&aml, buffer);
    aml_integer(&aml, UINT64_MAX);
    aml_close(&aml, device);
}

/* The room is exactly as long as claimed: the sanitizer watches. */
static void too_little_room(void **state)
{
    uint8_t *whole = aml.bytes;
    size_t needed;

    (void)state;
    write_much();
    assert_false(aml.full);
    needed = aml.count;
    for (size_t room = 0; room <= needed; room++) {
        aml = (struct aml){.bytes = malloc(room ? room : 1), .room = room};
        write_much();
        assert_int_equal(aml.full, room < needed);
        assert_true(aml.count <= room);
        if (room == needed)
            assert_memory_equal(aml.bytes, whole, needed);
        free(aml.bytes);
    }
    aml.bytes = whole;
}

/* What did not fit once stays refused, even what would. */
static void full_is_for_good(void **state)
{
    (void)state;
    aml.room = 3;
    aml_put(&aml, 1, 2);
    aml_put(&aml, 2, 2);
    assert_true(aml.full);
    aml_put(&aml, 3, 1);
    assert_int_equal(aml.count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fields, open_room, close_room),
        cmocka_unit_test_setup_teardown(integers, open_room, close_room),
        cmocka_unit_test_setup_teardown(names, open_room, close_room),
        cmocka_unit_test_setup_teardown(lengths, open_room, close_room),
        cmocka_unit_test_setup_teardown(blocks, open_room, close_room),
        cmocka_unit_test_setup_teardown(resources, open_room, close_room),
        cmocka_unit_test_setup_teardown(windows, open_room, close_room),
        cmocka_unit_test_setup_teardown(too_little_room, open_room, close_room),
        cmocka_unit_test_setup_teardown(full_is_for_good, open_room, close_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
