/* hv/pci/model.c and callbacks.c: devices by name. */
#include "tests/unit/pci_world.h"

#include <string.h>

#include "hv/mem/frames.h"
#include "hv/pci/config.h"

#define CONTEXT_BYTES (2 * PAGE_BYTES + 8)

struct context {
    struct hv_device *device;
    uint8_t rest[CONTEXT_BYTES - sizeof(struct hv_device *)];
};

static struct {
    struct context *context;
    uint32_t strings;
    char first[16];
    hv_status_t initialize, start;
    unsigned torn_down;
} seen;

static hv_status_t on_initialize(void *context)
{
    struct context *made = context;

    seen.context = made;
    assert_true(device_is_known(made->device));
    assert_ptr_equal(made->device->context, made);
    for (unsigned i = 0; i < sizeof(made->rest); i++)
        assert_int_equal(made->rest[i], 0);
    memset(made->rest, 0xee, sizeof(made->rest));
    return seen.initialize;
}

static hv_status_t on_strings(void *context, uint32_t count, const char *const *strings)
{
    (void)context;
    seen.strings = count;
    if (count != 0)
        strncpy(seen.first, strings[0], sizeof(seen.first) - 1);
    return HV_OK;
}

static hv_status_t on_details(void *context, struct hv_pnp_id *id, uint32_t bar_count,
                              uint32_t *probed)
{
    (void)context;
    assert_int_equal(bar_count, HV_BAR_COUNT);
    *id = (struct hv_pnp_id){.vendor = 0x1111, .device = 0x2222};
    hv_bar_describe(probed, HV_BAR0, 16, HV_BAR_MEMORY);
    hv_bar_describe(probed, HV_BAR1, 4, HV_BAR_IO);
    hv_bar_describe(probed, HV_BAR2, GIB(64ull), HV_BAR_64BIT | HV_BAR_PREFETCHABLE);
    hv_bar_describe(probed, HV_BAR_ROM, 2048, HV_BAR_MEMORY);
    return HV_OK;
}

static hv_status_t on_start(void *context)
{
    (void)context;
    return seen.start;
}

static void on_teardown(void *context)
{
    assert_true(device_is_known(((struct context *)context)->device));
    seen.torn_down++;
}

static hv_status_t on_read(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                           uint8_t *buffer)
{
    (void)context;
    (void)bar;
    (void)offset;
    memset(buffer, 0x33, length);
    return HV_OK;
}

static hv_status_t on_write(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                            const uint8_t *buffer)
{
    (void)context;
    (void)bar;
    (void)offset;
    (void)length;
    (void)buffer;
    return HV_OK;
}

static const struct hv_device_ops full_ops = {
    .version = HV_DEVICE_OPS_VERSION,
    .initialize = on_initialize,
    .set_configuration = on_strings,
    .get_details = on_details,
    .start = on_start,
    .stop = hv_device_no_action,
    .teardown = on_teardown,
    .read_config_space = hv_device_config_zero,
    .write_config_space = hv_device_config_ignore,
    .read_intercepted_memory = on_read,
    .write_intercepted_memory = on_write,
};

/* All that can be ready-made is. */
static const struct hv_device_ops least_ops = {
    .version = 1,
    .initialize = hv_device_ready,
    .set_configuration = hv_device_no_options,
    .get_details = on_details,
    .start = hv_device_ready,
    .stop = hv_device_no_action,
    .teardown = hv_device_no_action,
    .read_config_space = hv_device_config_zero,
    .write_config_space = hv_device_config_ignore,
    .read_intercepted_memory = on_read,
    .write_intercepted_memory = on_write,
};

HV_DEVICE_MODEL(full_model, .name = "full", .ops = &full_ops, .context_bytes = CONTEXT_BYTES);
HV_DEVICE_MODEL(least_model, .name = "a-name-of-more-than-sixteen", .ops = &least_ops);

static const char *const least = "a-name-of-more-than-sixteen";

static hv_status_t add(const char *name, uint32_t count, const char *const *strings,
                       struct hv_device **device)
{
    return hv_device_add(world.host, name, count, strings, device);
}

static void test_list(void **state)
{
    unsigned count = 0;

    (void)state;
    for (const struct hv_device_model *m = model_next(NULL); m; m = model_next(m))
        count++;
    assert_int_equal(count, 2);
    assert_ptr_equal(model_find("full"), &full_model);
    assert_ptr_equal(model_find(least), &least_model);
    assert_null(model_find("ful"));
    assert_null(model_find("fullest"));
    assert_null(model_find(""));
}

static void test_life(void **state)
{
    static const char *const strings[] = {"colour=red", "b"};
    uint64_t frames = hv_frames.free_pages;
    struct hv_device *device;

    (void)state;
    memset(&seen, 0, sizeof(seen));
    for (unsigned round = 0; round < 3; round++) {
        assert_int_equal(add("full", 2, strings, &device), HV_OK);
        assert_int_equal(hv_frames.free_pages, frames - 3); /* 2 pages and 8 bytes */
        assert_ptr_equal(seen.context->device, device);
        assert_int_equal(seen.strings, 2);
        assert_string_equal(seen.first, "colour=red");
        assert_int_equal(device->slot, 1);
        assert_int_equal(config_read(1, PCI_CFG_ID, 4), 0x22221111);
        assert_int_equal(device->bar[HV_BAR0].bytes, 16);
        assert_int_equal(device->bar[HV_BAR1].bytes, 4);
        assert_int_equal(device->bar[HV_BAR2].bytes, GIB(64ull));
        assert_int_equal(device->bar[HV_BAR_ROM].bytes, 2048);
        assert_int_equal(config_read(1, 0x40, 4), 0);
        config_write(1, 0x40, 4, 5);
        assert_int_equal(hv_device_destroy(device), HV_OK);
        assert_int_equal(seen.torn_down, round + 1);
        assert_int_equal(hv_frames.free_pages, frames);
    }
    /* A power-on that fails, at each step. */
    seen.initialize = HV_E_BUSY;
    assert_int_equal(add("full", 0, NULL, &device), HV_E_BUSY);
    assert_null(device);
    assert_int_equal(seen.torn_down, 3);
    assert_int_equal(hv_frames.free_pages, frames);
    seen.initialize = HV_OK;
    seen.start = HV_E_TIMEOUT;
    assert_int_equal(hv_device_host_start(world.host), HV_OK);
    assert_int_equal(add("full", 0, NULL, &device), HV_E_TIMEOUT);
    assert_int_equal(seen.torn_down, 4);
    assert_int_equal(hv_frames.free_pages, frames);
}

static void test_many(void **state)
{
    struct hv_device *device[31], *more;
    uint64_t frames = hv_frames.free_pages;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(device); i++) {
        assert_int_equal(add(least, 0, NULL, &device[i]), HV_OK);
        assert_int_equal(device[i]->slot, i + 1);
        for (unsigned other = 0; other < i; other++)
            assert_memory_not_equal(&device[i]->instance_id, &device[other]->instance_id,
                                    sizeof(struct hv_guid));
    }
    assert_int_equal(hv_frames.free_pages, frames - ARRAY_COUNT(device));
    assert_int_equal(add(least, 0, NULL, &more), HV_E_QUOTA);
    assert_int_equal(hv_frames.free_pages, frames - ARRAY_COUNT(device));
}

static void test_statuses(void **state)
{
    static const char *const option[] = {"x=1"};
    struct hv_device_host *stranger = (struct hv_device_host *)(uintptr_t)0x1000;
    uint64_t frames = hv_frames.free_pages, all = 0;
    struct hv_device *device;
    hpa_t frame;

    (void)state;
    assert_int_equal(hv_device_add(stranger, "full", 0, NULL, &device), HV_E_INVALID_HANDLE);
    assert_int_equal(add("none", 0, NULL, &device), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(add(NULL, 0, NULL, &device), HV_E_INVALID_PARAMETER_2);
    assert_int_equal(add("full", 1, NULL, &device), HV_E_INVALID_PARAMETER_8);
    assert_int_equal(add("full", 0, NULL, NULL), HV_E_INVALID_PARAMETER_9);
    assert_int_equal(add(least, 1, option, &device), HV_E_INVALID_PARAMETER);
    assert_string_equal(fake_log_last,
                        "pci: option \"x=1\" is not understood: this device has none\n");
    assert_int_equal(hv_frames.free_pages, frames);
    while (frames_alloc_extent(&hv_frames, frames, &frame, &all) == HV_OK)
        ;
    assert_int_equal(add("full", 0, NULL, &device), HV_E_NO_MEMORY);
}

static void test_at(void **state)
{
    static const struct {
        const char *text;
        hv_status_t status;
        uint8_t slot, function;
    } cases[] = {
        {"at=1", HV_OK, 1, 0},
        {"at=31.7", HV_OK, 31, 7},
        {"at=4.1", HV_OK, 4, 1},
        {"at=09.0", HV_OK, 9, 0},
        {"at=", HV_E_INVALID_PARAMETER_4, 0, 0},
        {"at=0", HV_E_INVALID_PARAMETER_4, 0, 0},
        {"at=0.1", HV_E_INVALID_PARAMETER_4, 0, 0},
        {"at=32", HV_E_INVALID_PARAMETER_4, 0, 0},
        {"at=256", HV_E_INVALID_PARAMETER_4, 0, 0},
        {"at=4294967297", HV_E_INVALID_PARAMETER_4, 0, 0},
        {"at=4.8", HV_E_INVALID_PARAMETER_4, 0, 0},
        {"at=4.", HV_E_INVALID_PARAMETER_4, 0, 0},
        {"at=.1", HV_E_INVALID_PARAMETER_4, 0, 0},
        {"at=4.1x", HV_E_INVALID_PARAMETER_4, 0, 0},
        {"at=4 ", HV_E_INVALID_PARAMETER_4, 0, 0},
        {"at=-1", HV_E_INVALID_PARAMETER_4, 0, 0},
        {"at=0x4", HV_E_INVALID_PARAMETER_4, 0, 0},
        {"at=4:1", HV_E_INVALID_PARAMETER_4, 0, 0},
    };
    static const char *const both[] = {"at=7.3", "b=2"};
    static const char *const behind[] = {"b=2", "at=7.3"};
    struct hv_device *device, *other;

    (void)state;
    memset(&seen, 0, sizeof(seen));
    for (unsigned i = 0; i < ARRAY_COUNT(cases); i++) {
        if (add("full", 1, &cases[i].text, &device) != cases[i].status)
            fail_msg("%s", cases[i].text);
        if (cases[i].status != HV_OK)
            continue;
        assert_int_equal(device->slot, cases[i].slot);
        assert_int_equal(device->function, cases[i].function);
        assert_int_equal(seen.strings, 0); /* it is not the device's */
        assert_int_equal(hv_device_destroy(device), HV_OK);
    }
    assert_int_equal(add("full", 2, both, &device), HV_OK);
    assert_int_equal(seen.strings, 1);
    assert_string_equal(seen.first, "b=2");
    assert_int_equal(add("full", 2, both, &other), HV_E_ALREADY_EXISTS);
    assert_int_equal(add("full", 2, behind, &other), HV_OK); /* the first string alone */
    assert_int_equal(seen.strings, 2);
    assert_int_equal(other->slot, 1);
}

int main(void)
{
#define TEST(t) cmocka_unit_test_setup_teardown(t, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(test_list),
        TEST(test_life),
        TEST(test_many),
        TEST(test_at),
    };
    /* Takes all memory. */
    const struct CMUnitTest last[] = {cmocka_unit_test_setup(test_statuses, world_open)};
    int failed = cmocka_run_group_tests_name("models", tests, NULL, NULL);

    return failed + cmocka_run_group_tests_name("models: no memory", last, NULL, NULL);
}
