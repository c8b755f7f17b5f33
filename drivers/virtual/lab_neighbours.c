/* Other devices on the lab's bus, of the kinds that its checks need: what they answer is known, and they keep what they saw. */
#include "drivers/virtual/lab_commands.h"

#define STORE_BYTES 256u /* of each BAR of the kind "io", and of what "cmb" tells */

static const char *const kind_name[] = {"plain", "nvme", "io", "huge", "w1c", "cmb"};

struct neighbour {
    struct hv_device *device;
    uint32_t kind;  /* LAB_KIND_* */
    uint32_t w1c;   /* the register at LAB_W1C_REGISTER */
    uint32_t plain; /* the one behind it */
    /* "cmb": the buffer, the device's own view of it, the doorbell's event, the next entry */
    hv_handle_t section, event;
    void *view;
    uint32_t head;
    uint64_t seen[LAB_RESULTS];
    uint8_t store[HV_BAR_COUNT][STORE_BYTES];
};

static hv_status_t set_configuration(void *context, uint32_t count, const char *const *strings)
{
    struct neighbour *neighbour = context;
    hv_status_t status = HV_OK;

    neighbour->w1c = UINT32_MAX;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t kind = 0;

        while (kind < ARRAY_COUNT(kind_name) && strcmp(strings[i], kind_name[kind]) != 0)
            kind++;
        if (kind == ARRAY_COUNT(kind_name))
            return HV_E_INVALID_PARAMETER;
        neighbour->kind = kind;
    }
    if (neighbour->kind == LAB_KIND_W1C)
        status = hv_power_offer(neighbour->device);
    if (status == HV_OK && neighbour->kind != LAB_KIND_PLAIN && neighbour->kind != LAB_KIND_IO)
        status = hv_express_offer(neighbour->device);
    return status;
}

static hv_status_t get_details(void *context, struct hv_pnp_id *id, uint32_t bar_count,
                               uint32_t *probed_bars)
{
    static const struct {
        uint8_t kind, bar, shift, type;
    } others[] = {
        {LAB_KIND_NVME, HV_BAR0, 16, HV_BAR_64BIT},
        {LAB_KIND_NVME, HV_BAR2, 24, HV_BAR_64BIT | HV_BAR_PREFETCHABLE},
        {LAB_KIND_NVME, HV_BAR4, 14, HV_BAR_64BIT},
        {LAB_KIND_IO, HV_BAR0, 2, HV_BAR_IO},
        {LAB_KIND_IO, HV_BAR1, 3, HV_BAR_IO},
        {LAB_KIND_IO, HV_BAR2, 8, HV_BAR_IO},
        {LAB_KIND_IO, HV_BAR3, 4, HV_BAR_MEMORY},
        {LAB_KIND_IO, HV_BAR_ROM, 11, HV_BAR_MEMORY},
        {LAB_KIND_HUGE, HV_BAR0, 36, HV_BAR_64BIT | HV_BAR_PREFETCHABLE},
        {LAB_KIND_W1C, HV_BAR0, 12, HV_BAR_MEMORY},
        {LAB_KIND_CMB, HV_BAR0, 16, HV_BAR_64BIT},
        {LAB_KIND_CMB, HV_BAR2, 24, HV_BAR_64BIT | HV_BAR_PREFETCHABLE},
    };
    const struct neighbour *neighbour = context;

    (void)bar_count;
    *id = (struct hv_pnp_id){.vendor = LAB_VENDOR_ID,
                             .device = LAB_NEIGHBOUR_ID,
                             .base_class = 0xff,
                             .subsystem_vendor = LAB_VENDOR_ID,
                             .subsystem = (uint16_t)neighbour->kind};
    for (unsigned bar = HV_BAR0; bar <= HV_BAR5 && neighbour->kind == LAB_KIND_PLAIN; bar++)
        hv_bar_describe(probed_bars, (enum hv_bar)bar, PAGE_BYTES, HV_BAR_MEMORY);
    for (unsigned i = 0; i < ARRAY_COUNT(others); i++)
        if (others[i].kind == neighbour->kind)
            hv_bar_describe(probed_bars, (enum hv_bar)others[i].bar, 1ull << others[i].shift,
                            others[i].type);
    return HV_OK;
}

/* ---- a drive whose driver puts its commands into the drive's own memory ---- */

/* The next entry and its data, for the guest to read back. */
static void fetch(void *context)
{
    struct neighbour *neighbour = context;
    const uint8_t *view = neighbour->view;
    uint64_t *told = (uint64_t *)(void *)neighbour->store[HV_BAR0];

    memcpy(told, view + neighbour->head++ % LAB_CMB_ENTRIES * LAB_CMB_ENTRY_BYTES,
           LAB_CMB_ENTRY_BYTES);
    memcpy(told + LAB_CMB_ENTRY_BYTES / sizeof(*told),
           view + (told[LAB_CMB_DATA_WORD] & (LAB_CMB_BYTES - LAB_CMB_ENTRY_BYTES)),
           LAB_CMB_ENTRY_BYTES);
}

static hv_status_t start_cmb(struct neighbour *neighbour)
{
    uint64_t bytes = 0;
    hv_status_t status;

    if (neighbour->section != 0) /* started once more */
        return HV_OK;
    status = hv_section_create(&neighbour->section, HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE,
                               NULL, LAB_CMB_BYTES, HV_PAGE_READWRITE,
                               HV_SEC_COMMIT | HV_SEC_LARGE_PAGES, NULL);
    if (status == HV_OK)
        status = hv_section_map_view(neighbour->section, HV_SPACE_HYPERVISOR, &neighbour->view, 0,
                                     0, NULL, &bytes, HV_VIEW_UNMAP, 0, HV_PAGE_READONLY);
    if (status == HV_OK)
        status = hv_mmio_range_create(neighbour->device, HV_BAR2, 0, LAB_CMB_BYTES >> PAGE_SHIFT,
                                      HV_MMIO_WRITEABLE, neighbour->section, 0);
    if (status == HV_OK)
        status = hv_event_create(HV_EVENT_COUNTING, fetch, neighbour, &neighbour->event);
    if (status == HV_OK)
        status = hv_doorbell_register(neighbour->device, HV_BAR0, LAB_CMB_DOORBELL, 0,
                                      HV_DOORBELL_DWORD | HV_DOORBELL_ANY_VALUE, neighbour->event);
    return status;
}

static void teardown(void *context)
{
    struct neighbour *neighbour = context;

    if (neighbour->kind != LAB_KIND_CMB)
        return;
    (void)hv_doorbell_unregister(neighbour->device, HV_BAR0, LAB_CMB_DOORBELL, 0,
                                 HV_DOORBELL_DWORD | HV_DOORBELL_ANY_VALUE);
    (void)hv_mmio_range_destroy(neighbour->device, HV_BAR2, 0);
    (void)hv_section_unmap_view(HV_SPACE_HYPERVISOR, neighbour->view);
    (void)hv_handle_close(neighbour->event);
    (void)hv_handle_close(neighbour->section);
}

/* ---- all of them ---- */

static hv_status_t start(void *context)
{
    struct neighbour *neighbour = context;
    hv_status_t status = HV_OK;

    if (neighbour->kind == LAB_KIND_CMB)
        return start_cmb(neighbour);
    if (neighbour->kind == LAB_KIND_NVME)
        status = hv_msix_offer(neighbour->device, HV_BAR0, LAB_NVME_TABLE, LAB_NVME_PENDING,
                               LAB_NVME_VECTORS);
    return status == HV_E_ALREADY_EXISTS ? HV_OK : status; /* started once more */
}

static hv_status_t read_config(void *context, uint32_t offset, uint32_t *value)
{
    const struct neighbour *neighbour = context;

    *value = 0;
    if (neighbour->kind == LAB_KIND_W1C && offset == LAB_W1C_REGISTER)
        *value = neighbour->w1c;
    if (neighbour->kind == LAB_KIND_W1C && offset == LAB_W1C_PLAIN)
        *value = neighbour->plain;
    return HV_OK;
}

static hv_status_t write_config(void *context, uint32_t offset, uint32_t value, uint8_t byte_enable)
{
    struct neighbour *neighbour = context;
    uint32_t mask = 0;

    for (unsigned i = 0; i < sizeof(mask); i++)
        mask |= (byte_enable >> i & 1) != 0 ? 0xffu << 8 * i : 0;
    if (offset == LAB_W1C_REGISTER)
        neighbour->w1c &= ~value;
    if (offset == LAB_W1C_PLAIN)
        neighbour->plain = (neighbour->plain & ~mask) | value;
    neighbour->seen[LAB_SEEN_CONFIG]++;
    neighbour->seen[LAB_SEEN_CONFIG_OFFSET] = offset | (uint64_t)byte_enable << 32;
    neighbour->seen[LAB_SEEN_CONFIG_VALUE] = value;
    return HV_OK;
}

static void see(struct neighbour *neighbour, enum hv_bar bar, uint64_t offset, uint64_t length)
{
    neighbour->seen[LAB_SEEN_BAR] = bar;
    neighbour->seen[LAB_SEEN_OFFSET] = offset;
    neighbour->seen[LAB_SEEN_LENGTH] = length;
}

static hv_status_t read_memory(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                               uint8_t *buffer)
{
    struct neighbour *neighbour = context;

    see(neighbour, bar, offset, length);
    neighbour->seen[LAB_SEEN_READS]++;
    if (neighbour->kind == LAB_KIND_CMB ? offset >= STORE_BYTES : neighbour->kind != LAB_KIND_IO)
        memcpy(buffer, &offset, length);
    else if (offset < STORE_BYTES)
        memcpy(buffer, &neighbour->store[bar][offset], length);
    return HV_OK;
}

static hv_status_t write_memory(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                                const uint8_t *buffer)
{
    struct neighbour *neighbour = context;

    see(neighbour, bar, offset, length);
    neighbour->seen[LAB_SEEN_WRITES]++;
    neighbour->seen[LAB_SEEN_VALUE] = 0;
    memcpy(&neighbour->seen[LAB_SEEN_VALUE], buffer, length);
    if (neighbour->kind == LAB_KIND_IO && offset < STORE_BYTES)
        memcpy(&neighbour->store[bar][offset], buffer, length);
    if (neighbour->kind == LAB_KIND_CMB && offset == LAB_CMB_TRAPPED)
        fetch(neighbour);
    return HV_OK;
}

static void reset(void *context)
{
    struct neighbour *neighbour = context;

    neighbour->w1c = UINT32_MAX;
    neighbour->plain = 0;
    neighbour->head = 0;
    neighbour->seen[LAB_SEEN_RESETS]++;
}

static const struct hv_device_ops ops = {
    .version = HV_DEVICE_OPS_VERSION,
    .initialize = hv_device_ready,
    .set_configuration = set_configuration,
    .get_details = get_details,
    .start = start,
    .stop = hv_device_no_action,
    .teardown = teardown,
    .read_config_space = read_config,
    .read_intercepted_memory = read_memory,
    .write_intercepted_memory = write_memory,
    .write_config_bytes = write_config,
    .reset = reset,
};

HV_DEVICE_MODEL(lab_neighbour_model, .name = "neighbour", .ops = &ops,
                .context_bytes = sizeof(struct neighbour));

hv_status_t lab_neighbours(struct lab *lab)
{
    uint64_t wanted = lab->arg[0];
    hv_status_t status = HV_OK;

    if (wanted > LAB_NEIGHBOURS)
        return HV_E_INVALID_PARAMETER_1;
    while (lab->neighbours < wanted && status == HV_OK) {
        status = hv_device_add(inspect_host(lab->device), "neighbour", 0, NULL,
                               &lab->neighbour[lab->neighbours]);
        lab->neighbours += status == HV_OK;
    }
    while (lab->neighbours > wanted && status == HV_OK) {
        status = hv_device_destroy(lab->neighbour[lab->neighbours - 1]);
        lab->neighbours -= status == HV_OK;
    }
    return status;
}

hv_status_t lab_device_seen(struct lab *lab)
{
    const struct neighbour *neighbour = inspect_context(device_arg(lab, 0), &ops);

    if (!neighbour)
        return HV_E_NOT_FOUND;
    memcpy(lab->result, neighbour->seen, sizeof(neighbour->seen));
    return HV_OK;
}
