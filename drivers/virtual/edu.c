/*
 * edu, the device with which PCI drivers are learned (1234:11e8; the registers are those of QEMU's
 * "EDU device"): it computes factorials, raises interrupts, and copies between guest RAM and a
 * buffer of its own.
 */
#include "hv/pci/device.h"

#define BUFFER_OFFSET    0x40000u /* of the buffer, in the device's own addresses */
#define BUFFER_BYTES     4096u
#define DEFAULT_DMA_MASK 0x0fffffffu
#define LOG_BURST        8u

/* BAR0. From SOURCE on in accesses of 4 or 8 bytes, below it in 4. */
enum edu_register {
    EDU_ID = 0x00,
    EDU_LIVENESS = 0x04, /* reads as the complement of what was written */
    EDU_FACTORIAL = 0x08,
    EDU_STATUS = 0x20,
    EDU_INTERRUPTS = 0x24, /* why it interrupted */
    EDU_RAISE = 0x60,
    EDU_ACKNOWLEDGE = 0x64,
    EDU_SOURCE = 0x80,
    EDU_DESTINATION = 0x88,
    EDU_COUNT = 0x90,
    EDU_COMMAND = 0x98,
};
#define EDU_ID_VALUE        0x010000edu
#define STATUS_INTERRUPT    0x80u /* interrupt when a factorial is computed */
#define COMMAND_START       1u
#define COMMAND_TO_RAM      2u
#define COMMAND_INTERRUPT   4u
#define INTERRUPT_FACTORIAL 0x001u
#define INTERRUPT_DMA       0x100u

struct edu {
    struct hv_device *device;
    uint64_t dma_mask; /* option */
    struct lock lock;  /* guards what follows */
    struct log_limit log;
    struct {
        uint32_t liveness, factorial, status, interrupts;
        uint64_t source, destination, count, command;
        uint8_t buffer[BUFFER_BYTES];
    } now;
};

static void interrupt(struct edu *edu, uint32_t reasons)
{
    edu->now.interrupts |= reasons;
    if (edu->now.interrupts != 0 && hv_interrupt_raise(edu->device, 0) != HV_OK)
        log_line("edu", "the interrupt is lost");
}

/* Modulo 2^32, as it fits into the register; from 34 on that is 0. */
static uint32_t factorial_of(uint32_t n)
{
    uint32_t product = 1;

    while (n > 1 && product != 0)
        product *= n--;
    return product;
}

/* A transfer that cannot be ends like one that can, but copies nothing. */
static void transfer(struct edu *edu)
{
    bool to_ram = edu->now.command & COMMAND_TO_RAM;
    uint64_t inside = (to_ram ? edu->now.source : edu->now.destination) - BUFFER_OFFSET;
    gpa_t ram = GPA((to_ram ? edu->now.destination : edu->now.source) & edu->dma_mask);
    uint64_t bytes = edu->now.count;
    hv_status_t status = HV_E_OUT_OF_RANGE;

    if (inside <= BUFFER_BYTES && bytes <= BUFFER_BYTES - inside) {
        uint8_t *own = edu->now.buffer + inside;

        status = to_ram ? hv_guest_memory_write(edu->device, ram, (uint32_t)bytes, own)
                        : hv_guest_memory_read(edu->device, ram, (uint32_t)bytes, own);
    }
    if (status != HV_OK && log_limit_pass(&edu->log))
        log_line("edu", "no transfer of %#llx bytes between RAM at %#llx and the buffer: %s",
                 (unsigned long long)bytes, (unsigned long long)ram.v, hv_status_name(status));
    edu->now.command &= ~(uint64_t)COMMAND_START;
    if (edu->now.command & COMMAND_INTERRUPT)
        interrupt(edu, INTERRUPT_DMA);
}

static uint64_t read_register(const struct edu *edu, uint64_t offset)
{
    switch (offset) {
    case EDU_ID:
        return EDU_ID_VALUE;
    case EDU_LIVENESS:
        return edu->now.liveness;
    case EDU_FACTORIAL:
        return edu->now.factorial;
    case EDU_STATUS:
        return edu->now.status;
    case EDU_INTERRUPTS:
        return edu->now.interrupts;
    case EDU_SOURCE:
        return edu->now.source;
    case EDU_DESTINATION:
        return edu->now.destination;
    case EDU_COUNT:
        return edu->now.count;
    case EDU_COMMAND:
        return edu->now.command;
    default:
        return ~0ull;
    }
}

static void write_register(struct edu *edu, uint64_t offset, uint64_t value)
{
    switch (offset) {
    case EDU_LIVENESS:
        edu->now.liveness = ~(uint32_t)value;
        break;
    case EDU_FACTORIAL:
        edu->now.factorial = factorial_of((uint32_t)value);
        if (edu->now.status & STATUS_INTERRUPT)
            interrupt(edu, INTERRUPT_FACTORIAL);
        break;
    case EDU_STATUS:
        edu->now.status = (uint32_t)value & STATUS_INTERRUPT;
        break;
    case EDU_RAISE:
        interrupt(edu, (uint32_t)value);
        break;
    case EDU_ACKNOWLEDGE:
        edu->now.interrupts &= ~(uint32_t)value;
        break;
    case EDU_SOURCE:
        edu->now.source = value;
        break;
    case EDU_DESTINATION:
        edu->now.destination = value;
        break;
    case EDU_COUNT:
        edu->now.count = value;
        break;
    case EDU_COMMAND:
        if (!(value & COMMAND_START))
            break;
        edu->now.command = value;
        transfer(edu);
        break;
    default:
        break;
    }
}

static hv_status_t edu_read(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                            uint8_t *buffer)
{
    struct edu *edu = context;
    uint64_t value = 0; /* what accesses of 1 and 2 bytes read */

    (void)bar;
    if (length == 8 && offset < EDU_SOURCE)
        return HV_OK; /* the buffer is all ones */
    lock_acquire(&edu->lock);
    if (length >= 4)
        value = read_register(edu, offset);
    lock_release(&edu->lock);
    memcpy(buffer, &value, length);
    return HV_OK;
}

static hv_status_t edu_write(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                             const uint8_t *buffer)
{
    struct edu *edu = context;
    uint64_t value = 0;

    (void)bar;
    if (length < 4 || (length == 8 && offset < EDU_SOURCE))
        return HV_OK;
    memcpy(&value, buffer, length);
    lock_acquire(&edu->lock);
    write_register(edu, offset, value);
    lock_release(&edu->lock);
    return HV_OK;
}

static hv_status_t edu_configure(void *context, uint32_t count, const char *const *strings)
{
    static const struct hv_option options[] = {
        {"dma_mask", HV_OPTION_NUMBER, offsetof(struct edu, dma_mask)}};
    struct edu *edu = context;
    hv_status_t status;

    edu->dma_mask = DEFAULT_DMA_MASK;
    edu->log.burst = LOG_BURST;
    status = hv_options_read(edu, options, ARRAY_COUNT(options), count, strings);
    return status == HV_OK ? hv_msi_offer(edu->device, 1) : status;
}

static hv_status_t edu_details(void *context, struct hv_pnp_id *id, uint32_t bar_count,
                               uint32_t *probed_bars)
{
    (void)context;
    (void)bar_count;
    *id = (struct hv_pnp_id){.vendor = 0x1234,
                             .device = 0x11e8,
                             .revision = 0x10,
                             .base_class = 0x00,
                             .subclass = 0xff,
                             .subsystem_vendor = 0x1af4,
                             .subsystem = 0x1100};
    hv_bar_describe(probed_bars, HV_BAR0, MIB(1), HV_BAR_MEMORY);
    return HV_OK;
}

static void edu_reset(void *context)
{
    struct edu *edu = context;

    memset(&edu->now, 0, sizeof(edu->now));
}

static const struct hv_device_ops edu_ops = {
    .version = HV_DEVICE_OPS_VERSION,
    .initialize = hv_device_ready,
    .set_configuration = edu_configure,
    .get_details = edu_details,
    .start = hv_device_ready,
    .stop = hv_device_no_action,
    .teardown = hv_device_no_action,
    .read_config_space = hv_device_config_zero,
    .write_config_space = hv_device_config_ignore,
    .read_intercepted_memory = edu_read,
    .write_intercepted_memory = edu_write,
    .reset = edu_reset,
};

HV_DEVICE_MODEL(edu_model, .name = "edu", .ops = &edu_ops, .context_bytes = sizeof(struct edu));
