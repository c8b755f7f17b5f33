/* Other devices on the lab's bus, which answer with the offset: so that a look-up has something to find. */
#include "drivers/virtual/lab_commands.h"

#define PROBE_4_KIB 0xfffff000u /* a BAR of 4 KiB, 32 bits, after all ones were written */

static hv_status_t nothing(void *context)
{
    (void)context;
    return HV_OK;
}

static void no_stop(void *context)
{
    (void)context;
}

static hv_status_t take_strings(void *context, uint32_t count, const char *const *strings)
{
    (void)context;
    (void)count;
    (void)strings;
    return HV_OK;
}

static hv_status_t get_details(void *context, struct hv_pnp_id *id, uint32_t bar_count,
                               uint32_t *probed_bars)
{
    (void)context;
    (void)bar_count;
    *id =
        (struct hv_pnp_id){.vendor = LAB_VENDOR_ID, .device = LAB_NEIGHBOUR_ID, .base_class = 0xff};
    for (unsigned bar = HV_BAR0; bar <= HV_BAR5; bar++)
        probed_bars[bar] = PROBE_4_KIB;
    return HV_OK;
}

static hv_status_t read_config(void *context, uint32_t offset, uint32_t *value)
{
    (void)context;
    (void)offset;
    *value = 0;
    return HV_OK;
}

static hv_status_t write_config(void *context, uint32_t offset, uint32_t value)
{
    (void)context;
    (void)offset;
    (void)value;
    return HV_OK;
}

static hv_status_t read_memory(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                               uint8_t *buffer)
{
    (void)context;
    (void)bar;
    memcpy(buffer, &offset, length);
    return HV_OK;
}

static hv_status_t write_memory(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                                const uint8_t *buffer)
{
    (void)context;
    (void)bar;
    (void)offset;
    (void)length;
    (void)buffer;
    return HV_OK;
}

static const struct hv_device_ops ops = {
    .version = HV_DEVICE_OPS_VERSION,
    .initialize = nothing,
    .set_configuration = take_strings,
    .get_details = get_details,
    .start = nothing,
    .stop = no_stop,
    .teardown = no_stop,
    .read_config_space = read_config,
    .write_config_space = write_config,
    .read_intercepted_memory = read_memory,
    .write_intercepted_memory = write_memory,
};

static hv_status_t add(struct lab *lab, unsigned n)
{
    static const struct hv_guid class_id = {"barvisor lab    "};
    struct hv_guid instance_id = {"lab neighbour  0"};

    instance_id.byte[sizeof(instance_id.byte) - 1] = (uint8_t)('0' + n);
    return hv_device_create(lab->host, HV_DEVICE_PCI, &class_id, &instance_id, &ops, NULL, 0, NULL,
                            &lab->neighbour[n]);
}

hv_status_t lab_neighbours(struct lab *lab)
{
    uint64_t wanted = lab->arg[0];
    hv_status_t status = HV_OK;

    if (wanted > LAB_NEIGHBOURS)
        return HV_E_INVALID_PARAMETER_1;
    while (lab->neighbours < wanted && status == HV_OK) {
        status = add(lab, lab->neighbours);
        lab->neighbours += status == HV_OK;
    }
    while (lab->neighbours > wanted && status == HV_OK) {
        status = hv_device_destroy(lab->neighbour[lab->neighbours - 1]);
        lab->neighbours -= status == HV_OK;
    }
    return status;
}
