/* Device hosts and devices: who exists, and the phases of their lives. */
#include "hv/pci/device.h"

#include "hv/base/string.h"
#include "hv/mem/slab.h"
#include "hv/pci/bus.h"
#include "hv/pci/config.h"
#include "hv/pci/doorbell.h"
#include "hv/pci/range.h"

#define MAX_HOSTS 4u
#define LOG_BURST 16u

static struct slab host_slab = SLAB_INIT("device host", struct hv_device_host);
static struct slab device_slab = SLAB_INIT("device", struct hv_device);

_Static_assert(sizeof(struct hv_device) <= 1024, "a device is one slab record");
_Static_assert(IS_POW2(sizeof(struct hv_bar_state)), "an index of a BAR is a shift");

/*
 * Every host of the machine, and through it every device. Lock: its own, innermost of host and registry;
 * it also guards slot[] and slot_end, which change under both.
 */
static struct {
    struct lock lock;
    struct pci_ports ports[MAX_HOSTS];
} registry;

/* ---- who is known ---- */

/* Pointers are compared and never followed: the caller may have made this one up. */
static bool host_is_known(const struct hv_device_host *host)
{
    bool known = false;

    lock_acquire(&registry.lock);
    for (unsigned i = 0; i < MAX_HOSTS && host; i++)
        known |= registry.ports[i].host == host;
    lock_release(&registry.lock);
    return known;
}

static bool has_device(const struct hv_device_host *host, const struct hv_device *device)
{
    for (unsigned slot = 0; slot < host->slot_end; slot++)
        if (host->slot[slot] == device)
            return true;
    return false;
}

/* Where a device that was looked up before is found again at once. */
#define SEEN_DEVICES 64u
static const struct hv_device *seen[SEEN_DEVICES];

static const struct hv_device **seen_place(const struct hv_device *device)
{
    return &seen[(uintptr_t)device / KIB(1) % SEEN_DEVICES];
}

static __attribute__((noinline)) bool look_up(const struct hv_device *device)
{
    bool known = false;

    if (!device)
        return false;
    lock_acquire(&registry.lock);
    for (unsigned i = 0; i < MAX_HOSTS && !known; i++)
        if (registry.ports[i].host)
            known = has_device(registry.ports[i].host, device);
    if (known)
        __atomic_store_n(seen_place(device), device, __ATOMIC_RELAXED);
    lock_release(&registry.lock);
    return known;
}

bool device_is_known(const struct hv_device *device)
{
    if (LIKELY(__atomic_load_n(seen_place(device), __ATOMIC_RELAXED) == device))
        return device != NULL;
    return look_up(device);
}

/* ---- hosts ---- */

/* A place for the host of `vm`: one whose ports are registered already, else a new one. */
static hv_status_t find_ports(struct vm *vm, struct pci_ports **place)
{
    struct pci_ports *unused = NULL;

    for (unsigned i = 0; i < MAX_HOSTS; i++) {
        struct pci_ports *ports = &registry.ports[i];

        if (ports->vm == vm) {
            *place = ports;
            return ports->host ? HV_E_ALREADY_EXISTS : HV_OK;
        }
        if (!ports->vm && !unused)
            unused = ports;
    }
    *place = unused;
    return unused ? HV_OK : HV_E_QUOTA;
}

static hv_status_t publish_host(struct vm *vm, struct hv_device_host *host)
{
    struct pci_ports *ports;
    hv_status_t status = find_ports(vm, &ports);

    if (status != HV_OK)
        return status;
    if (!ports->vm) {
        ports->vm = vm;
        status = pci_ports_register(ports);
        if (status != HV_OK) {
            ports->vm = NULL;
            return status;
        }
    }
    status = pci_ecam_open(ports);
    if (status == HV_OK)
        ports->host = host;
    return status;
}

hv_status_t hv_device_host_create(struct vm *vm, uint32_t flags, struct hv_device_host **host)
{
    struct hv_device_host *made;
    hv_status_t status;

    if (!vm)
        return HV_E_INVALID_PARAMETER_1;
    if (flags & ~(uint32_t)(HV_HOST_RESTRICTED | HV_HOST_ENFORCE_BUS_MASTER))
        return HV_E_INVALID_PARAMETER_2;
    if (!host)
        return HV_E_INVALID_PARAMETER_3;
    made = slab_alloc(&host_slab);
    if (!made)
        return HV_E_NO_MEMORY;
    made->vm = vm;
    made->flags = flags;
    made->slot_end = PCI_HOST_BRIDGE + 1;
    made->failure_log.burst = made->access_log.burst = LOG_BURST;
    lock_acquire(&registry.lock);
    status = publish_host(vm, made);
    lock_release(&registry.lock);
    if (status != HV_OK)
        slab_free(&host_slab, made);
    else
        *host = made;
    return status;
}

hv_status_t hv_device_host_start(struct hv_device_host *host)
{
    hv_status_t status = HV_OK;
    unsigned slot;

    for (slot = 0; slot < host->slot_end && status == HV_OK; slot++) {
        struct hv_device *device = host->slot[slot];

        if (!device || device->state == HV_DEVICE_STARTED)
            continue;
        status = device->ops->start(device->context);
        if (status == HV_OK)
            device->state = HV_DEVICE_STARTED;
    }
    host->started = status == HV_OK;
    /* All or none: a later start begins again with every device. */
    while (status != HV_OK && slot-- > 0) {
        struct hv_device *device = host->slot[slot];

        if (device && device->state == HV_DEVICE_STARTED) {
            device->ops->stop(device->context);
            device->state = HV_DEVICE_STOPPED;
        }
    }
    return status;
}

void hv_device_host_destroy(struct hv_device_host *host)
{
    for (unsigned slot = host->slot_end; slot-- > 0;) {
        struct hv_device *device = host->slot[slot];
        hv_status_t status = device ? hv_device_destroy(device) : HV_OK;

        ASSERT(status == HV_OK);
    }
    lock_acquire(&registry.lock);
    for (unsigned i = 0; i < MAX_HOSTS; i++)
        if (registry.ports[i].host == host) {
            pci_ecam_close(&registry.ports[i]);
            registry.ports[i].host = NULL;
        }
    lock_release(&registry.lock);
    slab_free(&host_slab, host);
}

/* ---- devices ---- */

static bool has_all_callbacks(const struct hv_device_ops *ops)
{
    return ops->initialize && ops->set_configuration && ops->get_details && ops->start &&
           ops->stop && ops->teardown && ops->read_config_space && ops->write_config_space &&
           ops->read_intercepted_memory && ops->write_intercepted_memory;
}

static hv_status_t find_slot(const struct hv_device_host *host, const struct hv_guid *instance_id,
                             unsigned *free_slot)
{
    *free_slot = PCI_SLOTS;
    for (unsigned slot = PCI_SLOTS; slot-- > PCI_HOST_BRIDGE + 1;) {
        const struct hv_device *other = host->slot[slot];

        if (!other)
            *free_slot = slot;
        else if (memcmp(&other->instance_id, instance_id, sizeof(*instance_id)) == 0)
            return HV_E_ALREADY_EXISTS;
    }
    return *free_slot < PCI_SLOTS ? HV_OK : HV_E_QUOTA;
}

static void set_slot(struct hv_device_host *host, unsigned slot, struct hv_device *device)
{
    lock_acquire(&registry.lock);
    if (!device)
        __atomic_store_n(seen_place(host->slot[slot]), NULL, __ATOMIC_RELAXED);
    host->slot[slot] = device;
    host->slot_end = MAX(host->slot_end, slot + 1);
    while (host->slot_end > PCI_HOST_BRIDGE + 1 && !host->slot[host->slot_end - 1])
        host->slot_end--;
    lock_release(&registry.lock);
}

/* Onto the bus, still invisible to the guest. */
static hv_status_t publish_device(struct hv_device_host *host, struct hv_device *device)
{
    unsigned slot;
    hv_status_t status;

    lock_acquire(&host->lock);
    status = find_slot(host, &device->instance_id, &slot);
    if (status == HV_OK) {
        device->slot = (uint8_t)slot;
        set_slot(host, slot, device);
    }
    lock_release(&host->lock);
    return status;
}

static void forget_device(struct hv_device *device)
{
    struct hv_device_host *host = device->host;

    lock_acquire(&host->lock);
    set_slot(host, device->slot, NULL);
    lock_release(&host->lock);
    slab_free(&device_slab, device);
}

/* The guest may see capabilities only if STATUS says that there are any. */
static uint16_t initial_status(const struct hv_device *device)
{
    uint32_t pointer = 0;
    hv_status_t status =
        device->ops->read_config_space(device->context, PCI_CFG_CAPABILITY, &pointer);

    return status == HV_OK && (pointer & 0xff) != 0 ? (uint16_t)PCI_STATUS_CAPABILITIES : 0;
}

static hv_status_t read_details(struct hv_device *device)
{
    uint32_t probed[HV_BAR_COUNT] = {0};
    struct hv_pnp_id id = {0};
    uint16_t config_status;
    hv_status_t status = device->ops->get_details(device->context, &id, HV_BAR_COUNT, probed);

    if (status != HV_OK)
        return status;
    config_status = initial_status(device);
    lock_acquire(&device->host->lock);
    lock_acquire(&device->lock);
    status = bars_probe(device, probed);
    if (status == HV_OK) {
        device->id = id;
        device->status = config_status;
        bars_assign(device->host, device);
        device->state = HV_DEVICE_CONFIGURED;
    }
    lock_release(&device->lock);
    lock_release(&device->host->lock);
    return status;
}

/* From CREATED to CONFIGURED, and to STARTED when the VM runs already. */
static hv_status_t power_on(struct hv_device *device, uint32_t string_count,
                            const char *const *strings)
{
    const struct hv_device_ops *ops = device->ops;
    hv_status_t status = ops->initialize(device->context);

    if (status != HV_OK)
        return status;
    device->state = HV_DEVICE_INITIALISED;
    status = ops->set_configuration(device->context, string_count, strings);
    if (status == HV_OK)
        status = read_details(device);
    if (status == HV_OK && device->host->started) {
        status = ops->start(device->context);
        if (status == HV_OK)
            device->state = HV_DEVICE_STARTED;
    }
    return status;
}

static hv_status_t check_create(const struct hv_device_host *host, enum hv_device_type type,
                                const struct hv_guid *class_id, const struct hv_guid *instance_id,
                                const struct hv_device_ops *ops, bool strings_fit,
                                struct hv_device **device)
{
    if (!host_is_known(host))
        return HV_E_INVALID_HANDLE;
    if (type != HV_DEVICE_PCI)
        return HV_E_INVALID_PARAMETER_2;
    if (!class_id)
        return HV_E_INVALID_PARAMETER_3;
    if (!instance_id)
        return HV_E_INVALID_PARAMETER_4;
    if (!ops)
        return HV_E_INVALID_PARAMETER_5;
    if (ops->version != HV_DEVICE_OPS_VERSION)
        return HV_E_NOT_SUPPORTED;
    if (!has_all_callbacks(ops))
        return HV_E_INVALID_PARAMETER_5;
    if (!strings_fit)
        return HV_E_INVALID_PARAMETER_8;
    return device ? HV_OK : HV_E_INVALID_PARAMETER_9;
}

hv_status_t hv_device_create(struct hv_device_host *host, enum hv_device_type type,
                             const struct hv_guid *class_id, const struct hv_guid *instance_id,
                             const struct hv_device_ops *ops, void *context, uint32_t string_count,
                             const char *const *strings, struct hv_device **device)
{
    struct hv_device *made;
    hv_status_t status =
        check_create(host, type, class_id, instance_id, ops, string_count == 0 || strings, device);

    if (status != HV_OK)
        return status;
    made = slab_alloc(&device_slab);
    if (!made)
        return HV_E_NO_MEMORY;
    made->host = host;
    made->class_id = *class_id;
    made->instance_id = *instance_id;
    made->ops = ops;
    made->context = context;
    status = publish_device(host, made);
    if (status != HV_OK) {
        slab_free(&device_slab, made);
        return status;
    }
    *device = made;
    status = power_on(made, string_count, strings);
    if (status != HV_OK) {
        hv_status_t gone = hv_device_destroy(made);

        ASSERT(gone == HV_OK);
        *device = NULL;
    }
    return status;
}

/* No access reaches the device any more, and no new range or access begins. */
static hv_status_t retire(struct hv_device *device, enum hv_device_state *was)
{
    struct hv_device_host *host = device->host;
    hv_status_t status = HV_OK;

    lock_acquire(&host->lock);
    lock_acquire(&device->lock);
    *was = device->state;
    if (device->state >= HV_DEVICE_STOPPING)
        status = HV_E_INVALID_STATE;
    else if (__atomic_load_n(&device->accesses, __ATOMIC_ACQUIRE) != 0)
        status = HV_E_DEADLOCK;
    else
        device->state = HV_DEVICE_STOPPING;
    lock_release(&device->lock);
    if (status == HV_OK) {
        device->command &= PCI_COMMAND_BUS_MASTER; /* `stop` may still write to guest memory */
        bars_update(host, device);
    }
    lock_release(&host->lock);
    return status;
}

static void begin_teardown(struct hv_device *device)
{
    lock_acquire(&device->lock);
    device->state = HV_DEVICE_TEARING_DOWN;
    lock_release(&device->lock);
}

hv_status_t hv_device_destroy(struct hv_device *device)
{
    enum hv_device_state was;
    uint64_t doorbells, ranges, apertures;
    hv_status_t status;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    status = retire(device, &was);
    if (status != HV_OK)
        return status;
    if (was == HV_DEVICE_STARTED)
        device->ops->stop(device->context);
    begin_teardown(device);
    if (was >= HV_DEVICE_INITIALISED)
        device->ops->teardown(device->context);
    doorbells = doorbell_destroy_all(device);
    ranges = range_destroy_all(device);
    apertures = aperture_destroy_all(device);
    if (doorbells + ranges + apertures != 0)
        log_line("pci",
                 "00:%02x.0 was torn down with %llu doorbells, %llu ranges and %llu apertures left",
                 device->slot, (unsigned long long)doorbells, (unsigned long long)ranges,
                 (unsigned long long)apertures);
    forget_device(device);
    return HV_OK;
}
