/* BARs: what the guest programs, where it decodes, and the trapped accesses that arrive there. */
#include "hv/pci/bus.h"

#include "hv/base/string.h"
#include "hv/pci/config.h"
#include "hv/pci/doorbell.h"
#include "hv/pci/msix.h"
#include "hv/pci/range.h"

#define MEMORY_MIN_BYTES 16u
#define IO_MIN_BYTES     4u
#define IO_MAX_BYTES     256u

/* ---- the registers ---- */

/* A size mask is ones down to the size; 0 when it is not, or when there are fewer bytes than `least`. */
static uint64_t mask_bytes(uint64_t mask, unsigned least)
{
    uint64_t bytes = mask & -mask;

    return mask == -bytes && bytes >= least ? bytes : 0;
}

static uint64_t extend32(uint64_t mask)
{
    return mask | BITS(63, 32);
}

/* The upper half of the mask may be missing, as ports have 16 bits: then it reads as 0. */
static void probe_io(struct hv_bar_state *bar, uint32_t probed)
{
    uint32_t mask = probed & ~(uint32_t)PCI_BAR_IO_KIND;

    bar->io = true;
    bar->kind = probed & (uint32_t)PCI_BAR_IO_KIND;
    bar->is_16bit = mask >> 16 == 0;
    if (bar->kind == PCI_BAR_IO)
        bar->bytes = mask_bytes(mask | BITS(63, 16), IO_MIN_BYTES);
    if (bar->bytes > IO_MAX_BYTES || (!bar->is_16bit && mask >> 16 != 0xffff))
        bar->bytes = 0;
}

/* One memory or I/O BAR out of probed[i]; takes probed[i + 1] too when it is 64 bits wide. */
static hv_status_t probe_bar(struct hv_device *device, unsigned i, const uint32_t *probed)
{
    struct hv_bar_state *bar = &device->bar[i];
    uint64_t mask = probed[i] & ~PCI_BAR_MEMORY_KIND;

    if (probed[i] & PCI_BAR_IO) {
        probe_io(bar, probed[i]);
    } else {
        bar->kind = probed[i] & (uint32_t)PCI_BAR_MEMORY_KIND;
        if (FIELD_GET(PCI_BAR_TYPE, bar->kind) == PCI_BAR_TYPE_32) {
            bar->bytes = mask_bytes(extend32(mask), MEMORY_MIN_BYTES);
        } else if (FIELD_GET(PCI_BAR_TYPE, bar->kind) == PCI_BAR_TYPE_64 && i < HV_BAR5) {
            bar->bytes = mask_bytes((uint64_t)probed[i + 1] << 32 | mask, MEMORY_MIN_BYTES);
            device->bar[i + 1].upper = true;
        }
    }
    return bar->bytes != 0 ? HV_OK : HV_E_INVALID_PARAMETER;
}

static hv_status_t probe_rom(struct hv_device *device, uint32_t probed)
{
    struct hv_bar_state *bar = &device->bar[HV_BAR_ROM];

    if (probed & PCI_ROM_RESERVED)
        return HV_E_INVALID_PARAMETER;
    bar->bytes = mask_bytes(extend32(probed & ~PCI_ROM_ENABLE), MEMORY_MIN_BYTES);
    return bar->bytes != 0 ? HV_OK : HV_E_INVALID_PARAMETER;
}

hv_status_t bars_probe(struct hv_device *device, const uint32_t probed[HV_BAR_COUNT])
{
    hv_status_t status = HV_OK;

    for (unsigned i = 0; i < HV_BAR_COUNT; i++)
        device->bar[i] = (struct hv_bar_state){.device = device, .index = (enum hv_bar)i};
    for (unsigned i = 0; i <= HV_BAR5 && status == HV_OK; i++)
        if (probed[i] != 0 && !device->bar[i].upper)
            status = probe_bar(device, i, probed);
    if (status == HV_OK && probed[HV_BAR_ROM] != 0)
        status = probe_rom(device, probed[HV_BAR_ROM]);
    for (unsigned i = 0; i < HV_BAR_COUNT; i++) {
        struct hv_bar_state *bar = &device->bar[i];

        if (status != HV_OK)
            *bar = (struct hv_bar_state){.device = device, .index = (enum hv_bar)i};
        bar->max_bytes = bar->bytes;
        if (bar->bytes != 0)
            bar->first_shift = (uint8_t)__builtin_ctzll(bar->bytes);
    }
    return status;
}

uint32_t bar_register_read(const struct hv_device *device, enum hv_bar index)
{
    const struct hv_bar_state *bar = &device->bar[index];

    if (bar->upper)
        return (uint32_t)(device->bar[index - 1].base >> 32);
    return (uint32_t)bar->base | bar->kind | (bar->rom_enabled ? (uint32_t)PCI_ROM_ENABLE : 0);
}

void bar_register_write(struct hv_device *device, enum hv_bar index, uint32_t value)
{
    struct hv_bar_state *bar = &device->bar[index];

    if (bar->upper) {
        bar--;
        bar->base = (uint64_t)value << 32 | (bar->base & BITS(31, 0));
    } else if (bar->bytes != 0) {
        bar->base = (bar->base & BITS(63, 32)) | value;
        if (index == HV_BAR_ROM)
            bar->rom_enabled = (value & PCI_ROM_ENABLE) != 0;
    }
    if (bar->bytes != 0) /* size bits, and with them the type bits, cannot be written */
        bar->base &= -bar->bytes;
    if (bar->is_16bit)
        bar->base &= BITS(15, 0);
}

void bars_reset(struct hv_device_host *host, struct hv_device *device)
{
    device->command = 0;
    for (unsigned i = 0; i < HV_BAR_COUNT; i++)
        device->bar[i].rom_enabled = false;
    bars_update(host, device);
    lock_acquire(&device->lock);
    for (unsigned i = 0; i < HV_BAR_COUNT; i++) {
        struct hv_bar_state *bar = &device->bar[i];

        bar->base = 0;
        if (bar->bytes != 0)
            bar->bytes = BIT(bar->first_shift);
    }
    lock_release(&device->lock);
}

/* ---- trapped accesses: no lock that a call wants is held over the device's code ---- */

/* A device model's bug, mostly, so it is worth a line. */
static __attribute__((noinline)) void count_failure(struct hv_bar_state *bar, const char *what,
                                                    uint64_t offset, unsigned bytes,
                                                    hv_status_t status)
{
    __atomic_fetch_add(&bar->callback_failures, 1, __ATOMIC_RELAXED);
    if (log_limit_pass(&bar->device->host->access_log))
        log_line("pci", "device 00:%02x.%u BAR%u %s of %u bytes at 0x%llx failed: %s",
                 bar->device->slot, bar->device->function, (unsigned)bar->index, what, bytes,
                 (unsigned long long)offset, hv_status_name(status));
}

/* One for both widths, in each of them: they are on the way of every trapped access. */
#define INLINE static inline __attribute__((always_inline))

/* Of a host with HV_HOST_SERIALIZE; apart, so that the others pay one test. */
static __attribute__((noinline)) hv_status_t read_in_turn(struct hv_bar_state *bar, uint64_t offset,
                                                          unsigned bytes, void *value)
{
    struct hv_device *device = bar->device;
    hv_status_t status;

    device_take_turn(device);
    status = device->ops->read_intercepted_memory(device->context, bar->index, offset, bytes,
                                                  (uint8_t *)value);
    device_pass_turn(device);
    return status;
}

static __attribute__((noinline)) hv_status_t
write_in_turn(struct hv_bar_state *bar, uint64_t offset, unsigned bytes, const void *value)
{
    struct hv_device *device = bar->device;
    hv_status_t status;

    device_take_turn(device);
    status = device->ops->write_intercepted_memory(device->context, bar->index, offset, bytes,
                                                   (const uint8_t *)value);
    device_pass_turn(device);
    return status;
}

/* What the device answers. False: it failed, and `value` is anything. */
INLINE bool read_device(struct hv_bar_state *bar, uint64_t offset, unsigned bytes, void *value)
{
    struct hv_device *device = bar->device;
    hv_status_t status;

    __atomic_fetch_add(&bar->trapped_reads, 1, __ATOMIC_RELAXED);
    device_enter(device);
    if (UNLIKELY(device->takes_turns))
        status = read_in_turn(bar, offset, bytes, value);
    else
        status = device->ops->read_intercepted_memory(device->context, bar->index, offset, bytes,
                                                      (uint8_t *)value);
    if (UNLIKELY(status != HV_OK))
        count_failure(bar, "read", offset, bytes, status);
    device_leave(device);
    return status == HV_OK;
}

uint64_t bar_read(void *owner, uint64_t offset, unsigned bytes)
{
    uint64_t value = ~0ull;

    return read_device(owner, offset, bytes, &value) ? value : ~0ull;
}

void bar_read_wide(void *owner, uint64_t offset, unsigned bytes, void *value)
{
    memset(value, 0xff, bytes);
    if (!read_device(owner, offset, bytes, value))
        memset(value, 0xff, bytes);
}

/* A write that traps although a range holds the page: the range is read-only. */
static void count_range_write(struct hv_bar_state *bar, uint64_t offset)
{
    struct hv_range *range;

    lock_acquire(&bar->device->lock);
    range = range_find(bar, offset >> PAGE_SHIFT);
    if (range)
        range->trapped_writes++;
    lock_release(&bar->device->lock);
}

INLINE void write_device(struct hv_bar_state *bar, uint64_t offset, unsigned bytes,
                         const void *value)
{
    struct hv_device *device = bar->device;
    hv_status_t status;

    __atomic_fetch_add(&bar->trapped_writes, 1, __ATOMIC_RELAXED);
    if (bar->ranges.count != 0)
        count_range_write(bar, offset);
    device_enter(device);
    if (UNLIKELY(device->takes_turns))
        status = write_in_turn(bar, offset, bytes, value);
    else
        status = device->ops->write_intercepted_memory(device->context, bar->index, offset, bytes,
                                                       (const uint8_t *)value);
    if (UNLIKELY(status != HV_OK))
        count_failure(bar, "write", offset, bytes, status);
    device_leave(device);
}

void bar_write(void *owner, uint64_t offset, unsigned bytes, uint64_t value)
{
    write_device(owner, offset, bytes, &value);
}

void bar_write_wide(void *owner, uint64_t offset, unsigned bytes, const void *value)
{
    write_device(owner, offset, bytes, value);
}

/* ---- ports ---- */

/*
 * As many bytes from `at` on as the callbacks take at once. What is past the end of the BAR is nobody's: it reads as ones.
 */
static unsigned io_piece(const struct hv_bar_state *bar, uint64_t at, unsigned bytes)
{
    uint64_t inside = MIN(bytes, bar->bytes - MIN(at, bar->bytes));

    return inside >= 4 ? 4 : inside >= 2 ? 2 : (unsigned)inside;
}

static uint32_t io_in(void *owner, uint16_t offset, unsigned bytes)
{
    struct hv_bar_state *bar = owner;
    uint32_t all = UINT32_MAX;

    for (unsigned done = 0, piece; (piece = io_piece(bar, offset + done, bytes - done)) != 0;
         done += piece) {
        uint32_t value = UINT32_MAX;

        if (read_device(bar, offset + done, piece, &value))
            memcpy((uint8_t *)&all + done, &value, piece);
    }
    return all;
}

static void io_out(void *owner, uint16_t offset, unsigned bytes, uint32_t value)
{
    struct hv_bar_state *bar = owner;

    for (unsigned done = 0, piece; (piece = io_piece(bar, offset + done, bytes - done)) != 0;
         done += piece)
        write_device(bar, offset + done, piece, (const uint8_t *)&value + done);
}

/* ---- decode ---- */

/* Can a BAR be at its base at all? Guest RAM wins over devices. No I/O BAR is at port 0: that is where none was put. */
static bool is_usable(const struct hv_bar_state *bar)
{
    struct vm *vm = bar->device->host->vm;
    uint64_t limit = bar_limit(bar);

    if (bar->io)
        return bar->base != 0 && bar->base < limit;
    return bar->base < limit && bar->bytes <= limit - bar->base &&
           !vm_ram_overlaps(vm, GPA(bar->base), bar->bytes);
}

static void remove_region(struct vm *vm, uint64_t base)
{
    hv_status_t status;

    lock_acquire(&vm->tables_lock);
    status = mmio_region_remove(&vm->regions, GPA(base));
    lock_release(&vm->tables_lock);
    ASSERT(status == HV_OK);
}

static struct mmio_handler handler_of(struct hv_bar_state *bar)
{
    struct mmio_handler handler = {
        .read = bar_read,
        .write = bar_write,
        .owner = bar,
        .write_whole = bar->doorbells != 0 ? doorbell_write : bar_write,
        .read_wide = bar->access_bytes != 0 ? bar_read_wide : NULL,
        .write_wide = bar->access_bytes != 0 ? bar_write_wide : NULL,
        .wide_bytes = bar->access_bytes,
        .has_leaves = bar->has_leaves,
    };

    if (bar->has_msix)
        msix_stand_before(bar, &handler);
    return handler;
}

void bar_update_handler_held(struct hv_bar_state *bar)
{
    const struct mmio_handler handler = handler_of(bar);
    struct vm *vm = bar->device->host->vm;
    struct mmio_handler *now;
    unsigned region, hint = 0;

    if (!bar->live)
        return;
    region = mmio_region_search(&vm->regions, GPA(bar->live_base), &hint);
    ASSERT(region != MMIO_NONE);
    now = &vm->regions.handler[region];
    __atomic_store_n(&now->write_whole, handler.write_whole, __ATOMIC_RELEASE);
    __atomic_store_n(&now->has_leaves, handler.has_leaves, __ATOMIC_RELEASE);
}

void bar_update_handler(struct hv_bar_state *bar)
{
    struct vm *vm = bar->device->host->vm;

    lock_acquire(&vm->tables_lock);
    bar_update_handler_held(bar);
    lock_release(&vm->tables_lock);
}

static hv_status_t map_io(struct vm *vm, struct hv_bar_state *bar)
{
    const struct vm_port range = {
        .first = (uint16_t)bar->base,
        .count = (uint16_t)bar->bytes,
        .in = io_in,
        .out = io_out,
        .owner = bar,
    };
    hv_status_t status = vm_port_register(vm, &range);

    if (status == HV_OK) {
        bar->live = true;
        bar->live_base = bar->base;
    }
    return status;
}

/* Region and leaves, all or nothing. */
static hv_status_t map_bar(struct vm *vm, struct hv_bar_state *bar)
{
    struct mmio_handler handler;
    hv_status_t status;

    if (bar->io)
        return map_io(vm, bar);
    bar->has_leaves = bar->ranges.count != 0;
    handler = handler_of(bar);
    lock_acquire(&vm->tables_lock);
    status = mmio_region_add(&vm->regions, GPA(bar->base), bar->bytes, &handler);
    lock_release(&vm->tables_lock);
    if (status != HV_OK)
        return status;
    status = leaves_activate(bar, bar->base);
    if (status != HV_OK)
        remove_region(vm, bar->base);
    return status;
}

/* Let a waiting BAR in if its address is free. Caller holds the device's lock. */
static bool bring_up(struct hv_device_host *host, struct hv_bar_state *bar)
{
    hv_status_t status;

    if (!is_usable(bar))
        return false;
    status = map_bar(host->vm, bar);
    if (status != HV_OK && status != HV_E_CONFLICTING_ADDRESSES &&
        log_limit_pass(&host->failure_log))
        log_line("pci", "00:%02x.%u BAR%u stays inactive at 0x%llx: %s", bar->device->slot,
                 bar->device->function, (unsigned)bar->index, (unsigned long long)bar->base,
                 hv_status_name(status));
    return status == HV_OK;
}

/* Leaves go first, so that no access reaches the frames once the region is gone. */
static void take_down(struct vm *vm, struct hv_bar_state *bar)
{
    if (bar->io) {
        vm_port_unregister(vm, (uint16_t)bar->live_base);
        bar->live = false;
        return;
    }
    leaves_deactivate(bar);
    remove_region(vm, bar->live_base);
}

static void wait_append(struct hv_device_host *host, struct hv_bar_state *bar)
{
    struct hv_bar_state **link = &host->waiting;

    while (*link)
        link = &(*link)->next_waiting;
    bar->next_waiting = NULL;
    *link = bar;
}

static void wait_remove(struct hv_device_host *host, struct hv_bar_state *bar)
{
    for (struct hv_bar_state **link = &host->waiting; *link; link = &(*link)->next_waiting)
        if (*link == bar) {
            *link = bar->next_waiting;
            return;
        }
}

static bool is_wanted(const struct hv_bar_state *bar)
{
    uint16_t enable = bar->io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

    if (bar->bytes == 0 || !(bar->device->command & enable) || bar->device->is_asleep)
        return false;
    return bar->index != HV_BAR_ROM || bar->rom_enabled;
}

/* Follow the registers of one BAR as far as it concerns this BAR alone. */
static void update_bar(struct hv_device_host *host, struct hv_bar_state *bar)
{
    bool wanted = is_wanted(bar);

    if (bar->live && (!wanted || bar->base != bar->live_base)) {
        take_down(host->vm, bar);
        if (wanted)
            wait_append(host, bar);
    } else if (!bar->live && wanted && !bar->wanted) {
        wait_append(host, bar);
    } else if (!bar->live && !wanted && bar->wanted) {
        wait_remove(host, bar);
    }
    bar->wanted = wanted;
}

void bars_update(struct hv_device_host *host, struct hv_device *device)
{
    struct hv_bar_state **link = &host->waiting;

    lock_acquire(&device->lock);
    for (unsigned i = 0; i < HV_BAR_COUNT; i++)
        update_bar(host, &device->bar[i]);
    lock_release(&device->lock);

    while (*link) {
        struct hv_bar_state *bar = *link;
        bool is_up;

        lock_acquire(&bar->device->lock);
        is_up = bring_up(host, bar);
        lock_release(&bar->device->lock);
        if (is_up)
            *link = bar->next_waiting;
        else
            link = &bar->next_waiting;
    }
}
