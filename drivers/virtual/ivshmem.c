/*
 * ivshmem (1af4:1110, revision 1; the interface is QEMU's "Device Specification for Inter-VM shared
 * memory device"): devices whose `name` is the same show the same memory. With `doorbell` a device
 * is a peer of the others that have it, and they can interrupt each other.
 */
#include "hv/pci/device.h"

#define REGISTER_BYTES 256u
#define MSIX_BYTES     PAGE_BYTES /* BAR1: the table, and the pending bits in its upper half */
#define MSIX_PENDING   (MSIX_BYTES / 2)
#define MAX_VECTORS    (MSIX_PENDING / 16)
#define MAX_SHARED     GIB(64)
#define DEFAULT_SHARED MIB(4)
#define DEFAULT_NAME   "ivshmem"

/*
 * BAR0, in accesses of 4 bytes. The first two are as in the specification but serve pin interrupts,
 * which there are none of.
 */
enum ivshmem_register {
    IVSHMEM_MASK = 0,
    IVSHMEM_STATUS = 4, /* a read clears it */
    IVSHMEM_POSITION = 8,
    IVSHMEM_DOORBELL = 12,
};
#define DOORBELL_PEER(value)   ((value) >> 16)
#define DOORBELL_VECTOR(value) ((value)&0xffff)

struct ivshmem {
    struct hv_device *device;
    char name[HV_OPTION_TEXT_BYTES], type[HV_OPTION_TEXT_BYTES];
    uint64_t bytes, vectors;
    bool doorbell, read_only;
    uint32_t range_flags;
    hv_handle_t section;
    bool has_msix;
    uint32_t mask, status, position;
    struct ivshmem *next; /* peer of any name */
};

/* The peers that are started, of all names. Lock: peers_lock, held while one is interrupted. */
static struct ivshmem *peers;
static struct lock peers_lock;

static struct ivshmem *find_peer(const char *name, uint32_t position)
{
    struct ivshmem *peer = peers;

    while (peer && (peer->position != position || strcmp(peer->name, name) != 0))
        peer = peer->next;
    return peer;
}

/* With the lowest position that is free among those of its name. */
static void join_peers(struct ivshmem *ivshmem)
{
    lock_acquire(&peers_lock);
    ivshmem->position = 0;
    while (find_peer(ivshmem->name, ivshmem->position))
        ivshmem->position++;
    ivshmem->next = peers;
    peers = ivshmem;
    lock_release(&peers_lock);
}

static void leave_peers(struct ivshmem *ivshmem)
{
    struct ivshmem **link = &peers;

    lock_acquire(&peers_lock);
    while (*link && *link != ivshmem)
        link = &(*link)->next;
    if (*link)
        *link = ivshmem->next;
    lock_release(&peers_lock);
}

/* Peers and vectors that are not there are nobody's. */
static void ring(struct ivshmem *ivshmem, uint32_t value)
{
    struct ivshmem *peer;

    if (!ivshmem->doorbell)
        return;
    lock_acquire(&peers_lock);
    peer = find_peer(ivshmem->name, DOORBELL_PEER(value));
    if (peer && DOORBELL_VECTOR(value) < peer->vectors) {
        hv_status_t ignored = hv_interrupt_raise(peer->device, DOORBELL_VECTOR(value));

        (void)ignored; /* MSI-X is off: the guest does not want it */
    }
    lock_release(&peers_lock);
}

static uint32_t read_register(struct ivshmem *ivshmem, uint64_t offset)
{
    switch (offset) {
    case IVSHMEM_MASK:
        return ivshmem->mask;
    case IVSHMEM_STATUS:
        return __atomic_exchange_n(&ivshmem->status, 0, __ATOMIC_RELAXED);
    case IVSHMEM_POSITION:
        return ivshmem->position;
    default:
        return 0;
    }
}

static void write_register(struct ivshmem *ivshmem, uint64_t offset, uint32_t value)
{
    if (offset == IVSHMEM_MASK)
        ivshmem->mask = value;
    else if (offset == IVSHMEM_STATUS)
        ivshmem->status = value;
    else if (offset == IVSHMEM_DOORBELL)
        ring(ivshmem, value);
}

/* Shorter accesses are to no register; 8 bytes are two. */
static hv_status_t ivshmem_read(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                                uint8_t *buffer)
{
    uint32_t value = 0;

    if (bar != HV_BAR0)
        return HV_OK; /* BAR1 beside the core's MSI-X: ones, as the buffer comes */
    memset(buffer, 0, length);
    for (uint64_t i = 0; i + sizeof(value) <= length; i += sizeof(value)) {
        value = read_register(context, offset + i);
        memcpy(buffer + i, &value, sizeof(value));
    }
    return HV_OK;
}

static hv_status_t ivshmem_write(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                                 const uint8_t *buffer)
{
    uint32_t value;

    if (bar != HV_BAR0)
        return HV_E_ACCESS_DENIED; /* BAR2 with `readonly` */
    for (uint64_t i = 0; i + sizeof(value) <= length; i += sizeof(value)) {
        memcpy(&value, buffer + i, sizeof(value));
        write_register(context, offset + i, value);
    }
    return HV_OK;
}

/* ---- power-on ---- */

static hv_status_t open_section(struct ivshmem *ivshmem)
{
    uint64_t bytes = ivshmem->bytes != 0 ? ivshmem->bytes : DEFAULT_SHARED;
    uint32_t access = HV_SECTION_QUERY | HV_SECTION_MAP_READ |
                      (ivshmem->range_flags & HV_MMIO_WRITEABLE ? HV_SECTION_MAP_WRITE : 0);
    uint32_t large = IS_ALIGNED(bytes, LARGE_PAGES * PAGE_BYTES) ? HV_SEC_LARGE_PAGES : 0;
    struct hv_section_info info;
    hv_status_t status =
        hv_section_create(&ivshmem->section, access, ivshmem->name, bytes, HV_PAGE_READWRITE,
                          HV_SEC_COMMIT | HV_SEC_OPEN_IF | large, NULL);

    if (status == HV_OK)
        status = hv_section_query(ivshmem->section, &info);
    if (status != HV_OK)
        return status;
    if ((ivshmem->bytes != 0 && info.bytes != ivshmem->bytes) || !IS_POW2(info.bytes)) {
        log_line("ivshmem", "section %s has %llu bytes already", info.name,
                 (unsigned long long)info.bytes);
        return HV_E_INVALID_PARAMETER;
    }
    ivshmem->bytes = info.bytes;
    return HV_OK;
}

static bool read_type(struct ivshmem *ivshmem)
{
    static const char names[][4] = {"", "uc", "wc", "wt", "wp", "wb"}; /* as HV_MMIO_MT_* count */

    for (uint32_t i = 0; i < ARRAY_COUNT(names); i++)
        if (strcmp(ivshmem->type, names[i]) == 0) {
            ivshmem->range_flags = i * HV_MMIO_MT_UC | (ivshmem->read_only ? 0 : HV_MMIO_WRITEABLE);
            return true;
        }
    return false;
}

static hv_status_t ivshmem_configure(void *context, uint32_t count, const char *const *strings)
{
    static const struct hv_option options[] = {
        {"name", HV_OPTION_TEXT, offsetof(struct ivshmem, name)},
        {"size", HV_OPTION_NUMBER, offsetof(struct ivshmem, bytes)},
        {"doorbell", HV_OPTION_FLAG, offsetof(struct ivshmem, doorbell)},
        {"vectors", HV_OPTION_NUMBER, offsetof(struct ivshmem, vectors)},
        {"type", HV_OPTION_TEXT, offsetof(struct ivshmem, type)},
        {"readonly", HV_OPTION_FLAG, offsetof(struct ivshmem, read_only)}};
    struct ivshmem *ivshmem = context;
    hv_status_t status;

    memcpy(ivshmem->name, DEFAULT_NAME, sizeof(DEFAULT_NAME));
    ivshmem->vectors = 1;
    status = hv_options_read(ivshmem, options, ARRAY_COUNT(options), count, strings);
    if (status != HV_OK)
        return status;
    if (!read_type(ivshmem) || ivshmem->vectors == 0 || ivshmem->vectors > MAX_VECTORS ||
        (ivshmem->bytes != 0 && (!IS_POW2(ivshmem->bytes) || ivshmem->bytes < PAGE_BYTES ||
                                 ivshmem->bytes > MAX_SHARED))) {
        log_line("ivshmem", "size is a power of two, vectors 1 to 128, type one of uc wc wt wp wb");
        return HV_E_INVALID_PARAMETER;
    }
    return open_section(ivshmem);
}

static hv_status_t ivshmem_details(void *context, struct hv_pnp_id *id, uint32_t bar_count,
                                   uint32_t *probed_bars)
{
    const struct ivshmem *ivshmem = context;

    (void)bar_count;
    *id = (struct hv_pnp_id){.vendor = 0x1af4,
                             .device = 0x1110,
                             .revision = 1,
                             .base_class = 0x05, /* memory, RAM */
                             .subsystem_vendor = 0x1af4,
                             .subsystem = 0x1100};
    hv_bar_describe(probed_bars, HV_BAR0, REGISTER_BYTES, HV_BAR_MEMORY);
    if (ivshmem->doorbell)
        hv_bar_describe(probed_bars, HV_BAR1, MSIX_BYTES, HV_BAR_MEMORY);
    hv_bar_describe(probed_bars, HV_BAR2, ivshmem->bytes, HV_BAR_64BIT | HV_BAR_PREFETCHABLE);
    return HV_OK;
}

/* What `start` makes `stop` takes away, but for the capability, which stays with the device. */
static hv_status_t ivshmem_start(void *context)
{
    struct ivshmem *ivshmem = context;
    hv_status_t status = HV_OK;

    if (ivshmem->doorbell && !ivshmem->has_msix)
        status =
            hv_msix_offer(ivshmem->device, HV_BAR1, 0, MSIX_PENDING, (uint32_t)ivshmem->vectors);
    if (status != HV_OK)
        return status;
    ivshmem->has_msix = ivshmem->doorbell;
    status = hv_mmio_range_create(ivshmem->device, HV_BAR2, 0, ivshmem->bytes >> PAGE_SHIFT,
                                  ivshmem->range_flags, ivshmem->section, 0);
    if (status == HV_OK && ivshmem->doorbell)
        join_peers(ivshmem);
    return status;
}

static void ivshmem_stop(void *context)
{
    struct ivshmem *ivshmem = context;

    leave_peers(ivshmem);
    (void)hv_mmio_range_destroy(ivshmem->device, HV_BAR2, 0);
}

static void ivshmem_teardown(void *context)
{
    const struct ivshmem *ivshmem = context;

    if (ivshmem->section != 0)
        (void)hv_handle_close(ivshmem->section);
}

static void ivshmem_reset(void *context)
{
    struct ivshmem *ivshmem = context;

    ivshmem->mask = ivshmem->status = 0;
}

static const struct hv_device_ops ivshmem_ops = {
    .version = HV_DEVICE_OPS_VERSION,
    .initialize = hv_device_ready,
    .set_configuration = ivshmem_configure,
    .get_details = ivshmem_details,
    .start = ivshmem_start,
    .stop = ivshmem_stop,
    .teardown = ivshmem_teardown,
    .read_config_space = hv_device_config_zero,
    .write_config_space = hv_device_config_ignore,
    .read_intercepted_memory = ivshmem_read,
    .write_intercepted_memory = ivshmem_write,
    .reset = ivshmem_reset,
};

HV_DEVICE_MODEL(ivshmem_model, .name = "ivshmem", .ops = &ivshmem_ops,
                .context_bytes = sizeof(struct ivshmem));
