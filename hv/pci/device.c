/* Device hosts and devices: who exists, and the phases of their lives. */
#include "hv/pci/device.h"

#include "hv/base/direct.h"
#include "hv/base/string.h"
#include "hv/mem/frames.h"
#include "hv/mem/slab.h"
#include "hv/pci/bus.h"
#include "hv/pci/capability.h"
#include "hv/pci/config.h"
#include "hv/pci/doorbell.h"
#include "hv/pci/range.h"
#include "hv/pci/scanout.h"

#define MAX_HOSTS   4u
#define LOG_BURST   16u
#define FIRST_PLACE (PCI_SLOT_FUNCTIONS * (PCI_HOST_BRIDGE + 1)) /* that a device may have */

static struct slab device_slab = SLAB_INIT("device", struct hv_device);

_Static_assert(sizeof(struct hv_device_host) <= PAGE_BYTES, "a host is one frame");
_Static_assert(IS_POW2(sizeof(struct hv_bar_state)), "an index of a BAR is a shift");

/*
 * Every host of the machine, and through it every device. Lock: its own, innermost of host and registry;
 * it also guards at[] and end, which change under both.
 */
static struct {
    struct lock lock;
    struct pci_ports ports[MAX_HOSTS];
} registry;

/* ---- who is known ---- */

/* Pointers are compared and never followed: the caller may have made this one up. */
bool host_is_known(const struct hv_device_host *host)
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
    for (unsigned i = 0; i < host->end; i++)
        if (host->at[i] == device)
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
    hpa_t frame;

    if (!vm)
        return HV_E_INVALID_PARAMETER_1;
    if (flags & ~(uint32_t)(HV_HOST_RESTRICTED | HV_HOST_ENFORCE_BUS_MASTER | HV_HOST_SERIALIZE))
        return HV_E_INVALID_PARAMETER_2;
    if (!host)
        return HV_E_INVALID_PARAMETER_3;
    status = frames_alloc(&hv_frames, 1, 1, &frame);
    if (status != HV_OK)
        return status;
    made = direct(frame);
    memset(made, 0, sizeof(*made));
    made->vm = vm;
    made->flags = flags;
    made->end = FIRST_PLACE;
    made->failure_log.burst = made->access_log.burst = LOG_BURST;
    lock_acquire(&registry.lock);
    status = publish_host(vm, made);
    lock_release(&registry.lock);
    if (status != HV_OK)
        frames_free(&hv_frames, frame, 1);
    else
        *host = made;
    return status;
}

hv_status_t hv_device_host_start(struct hv_device_host *host)
{
    hv_status_t status = HV_OK;
    unsigned i;

    for (i = 0; i < host->end && status == HV_OK; i++) {
        struct hv_device *device = host->at[i];

        if (!device || device->state == HV_DEVICE_STARTED)
            continue;
        status = device->ops->start(device->context);
        if (status == HV_OK)
            device->state = HV_DEVICE_STARTED;
    }
    host->started = status == HV_OK;
    /* All or none: a later start begins again with every device. */
    while (status != HV_OK && i-- > 0) {
        struct hv_device *device = host->at[i];

        if (device && device->state == HV_DEVICE_STARTED) {
            device->ops->stop(device->context);
            device->state = HV_DEVICE_STOPPED;
        }
    }
    return status;
}

void hv_device_host_destroy(struct hv_device_host *host)
{
    for (unsigned i = host->end; i-- > 0;) {
        struct hv_device *device = host->at[i];
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
    frames_free(&hv_frames, direct_to_hpa(host), 1);
}

/* ---- devices ---- */

static bool has_all_callbacks(const struct hv_device_ops *ops)
{
    return ops->initialize && ops->set_configuration && ops->get_details && ops->start &&
           ops->stop && ops->teardown && ops->read_config_space &&
           (ops->write_config_space || (ops->version >= 2 && ops->write_config_bytes)) &&
           ops->read_intercepted_memory && ops->write_intercepted_memory;
}

static bool slot_is_free(const struct hv_device_host *host, unsigned slot)
{
    for (unsigned function = 0; function < PCI_SLOT_FUNCTIONS; function++)
        if (host->at[pci_place(slot, function)])
            return false;
    return true;
}

static hv_status_t find_place(const struct hv_device_host *host, struct hv_device_place *place,
                              const struct hv_guid *instance_id)
{
    for (unsigned i = FIRST_PLACE; i < host->end; i++)
        if (host->at[i] &&
            memcmp(&host->at[i]->instance_id, instance_id, sizeof(*instance_id)) == 0)
            return HV_E_ALREADY_EXISTS;
    if (place->slot != HV_SLOT_ANY)
        return host->at[pci_place(place->slot, place->function)] ? HV_E_ALREADY_EXISTS : HV_OK;
    for (unsigned slot = PCI_HOST_BRIDGE + 1; slot < PCI_SLOTS; slot++)
        if (slot_is_free(host, slot)) {
            *place = (struct hv_device_place){.slot = (uint8_t)slot};
            return HV_OK;
        }
    return HV_E_QUOTA;
}

static void set_place(struct hv_device_host *host, unsigned place, struct hv_device *device)
{
    lock_acquire(&registry.lock);
    if (!device)
        __atomic_store_n(seen_place(host->at[place]), NULL, __ATOMIC_RELAXED);
    host->at[place] = device;
    host->end = MAX(host->end, place + 1);
    while (host->end > FIRST_PLACE && !host->at[host->end - 1])
        host->end--;
    lock_release(&registry.lock);
}

/* Onto the bus, still invisible to the guest. */
static hv_status_t publish_device(struct hv_device_host *host, struct hv_device *device,
                                  struct hv_device_place place)
{
    hv_status_t status;

    lock_acquire(&host->lock);
    status = find_place(host, &place, &device->instance_id);
    if (status == HV_OK) {
        device->slot = place.slot;
        device->function = place.function;
        set_place(host, pci_place(place.slot, place.function), device);
    }
    lock_release(&host->lock);
    return status;
}

static void free_context(void *context, uint64_t pages)
{
    if (pages != 0)
        frames_free(&hv_frames, direct_to_hpa(context), pages);
}

static void forget_device(struct hv_device *device)
{
    struct hv_device_host *host = device->host;

    lock_acquire(&host->lock);
    set_place(host, pci_place(device->slot, device->function), NULL);
    lock_release(&host->lock);
    capability_destroy(device);
    free_context(device->context, device->context_pages);
    slab_free(&device_slab, device);
}

/* Where the device's own list of capabilities begins; 0: it has none. */
static uint8_t own_capability(const struct hv_device *device)
{
    uint32_t pointer = 0;
    hv_status_t status =
        device->ops->read_config_space(device->context, PCI_CFG_CAPABILITY, &pointer);

    return status == HV_OK ? (uint8_t)pointer : 0;
}

static hv_status_t read_details(struct hv_device *device)
{
    uint32_t probed[HV_BAR_COUNT] = {0};
    struct hv_pnp_id id = {0};
    uint8_t own;
    hv_status_t status = device->ops->get_details(device->context, &id, HV_BAR_COUNT, probed);

    if (status != HV_OK)
        return status;
    own = own_capability(device);
    lock_acquire(&device->host->lock);
    lock_acquire(&device->lock);
    status = bars_probe(device, probed);
    if (status == HV_OK) {
        device->id = id;
        device->own_capability = own;
        if (own != 0) /* the guest may see capabilities only if STATUS says that there are any */
            device->status |= PCI_STATUS_CAPABILITIES;
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

/* HV_E_INVALID_PARAMETER_2: a place that no device can have. */
static hv_status_t check_place(struct hv_device_place place)
{
    if (place.slot == HV_SLOT_ANY)
        return place.function == 0 ? HV_OK : HV_E_INVALID_PARAMETER_2;
    if (place.slot <= PCI_HOST_BRIDGE || place.slot >= PCI_SLOTS ||
        place.function >= PCI_SLOT_FUNCTIONS)
        return HV_E_INVALID_PARAMETER_2;
    return HV_OK;
}

static hv_status_t check_request(const struct device_request *request, struct hv_device **device)
{
    hv_status_t status = check_place(request->place);

    if (status != HV_OK)
        return status;
    if (!request->class_id)
        return HV_E_INVALID_PARAMETER_3;
    if (!request->instance_id)
        return HV_E_INVALID_PARAMETER_4;
    if (!request->ops)
        return HV_E_INVALID_PARAMETER_5;
    if (request->ops->version == 0 || request->ops->version > HV_DEVICE_OPS_VERSION)
        return HV_E_NOT_SUPPORTED;
    if (!has_all_callbacks(request->ops))
        return HV_E_INVALID_PARAMETER_5;
    if (request->string_count != 0 && !request->strings)
        return HV_E_INVALID_PARAMETER_8;
    return device ? HV_OK : HV_E_INVALID_PARAMETER_9;
}

/* Checked, and on the bus. */
static hv_status_t begin_device(struct hv_device_host *host, const struct device_request *request,
                                struct hv_device **device)
{
    struct hv_device *made;
    hv_status_t status = host_is_known(host) ? check_request(request, device) : HV_E_INVALID_HANDLE;

    if (status != HV_OK)
        return status;
    made = slab_alloc(&device_slab);
    if (!made)
        return HV_E_NO_MEMORY;
    made->host = host;
    made->takes_turns = (host->flags & HV_HOST_SERIALIZE) != 0;
    made->instance_id = *request->instance_id;
    made->ops = request->ops;
    made->context = request->context;
    made->context_pages = request->context_pages;
    status = publish_device(host, made, request->place);
    if (status != HV_OK)
        slab_free(&device_slab, made);
    else
        *device = made;
    return status;
}

hv_status_t device_make(struct hv_device_host *host, const struct device_request *request,
                        struct hv_device **device)
{
    hv_status_t status = begin_device(host, request, device);

    if (status != HV_OK) {
        free_context(request->context, request->context_pages);
        return status;
    }
    if (request->context_pages != 0)
        *(struct hv_device **)request->context = *device;
    status = power_on(*device, request->string_count, request->strings);
    if (status != HV_OK) {
        hv_status_t gone = hv_device_destroy(*device);

        ASSERT(gone == HV_OK);
        *device = NULL;
    }
    return status;
}

hv_status_t hv_device_create_at(struct hv_device_host *host, struct hv_device_place place,
                                const struct hv_guid *class_id, const struct hv_guid *instance_id,
                                const struct hv_device_ops *ops, void *context,
                                uint32_t string_count, const char *const *strings,
                                struct hv_device **device)
{
    const struct device_request request = {place,   class_id, instance_id,  ops,
                                           context, 0,        string_count, strings};

    return device_make(host, &request, device);
}

hv_status_t hv_device_create(struct hv_device_host *host, enum hv_device_type type,
                             const struct hv_guid *class_id, const struct hv_guid *instance_id,
                             const struct hv_device_ops *ops, void *context, uint32_t string_count,
                             const char *const *strings, struct hv_device **device)
{
    /* A place that none can have stands for a bad type, which has the same status. */
    const struct hv_device_place place = {type == HV_DEVICE_PCI ? HV_SLOT_ANY : PCI_HOST_BRIDGE, 0};

    return hv_device_create_at(host, place, class_id, instance_id, ops, context, string_count,
                               strings, device);
}

/* ---- turns, resets ---- */

/*
 * Owned by a CPU, not by a call: what a callback does may bring another access to the same device on the same CPU. A VP that
 * waits here has done nothing of its instruction.
 */
void device_take_turn(struct hv_device *device)
{
    const void *self = cpu_current();

    if (!device->takes_turns)
        return;
    if (__atomic_load_n(&device->turn_owner, __ATOMIC_RELAXED) != self) {
        lock_acquire(&device->turn);
        __atomic_store_n(&device->turn_owner, self, __ATOMIC_RELAXED);
    }
    device->turn_depth++;
}

void device_pass_turn(struct hv_device *device)
{
    if (!device->takes_turns || --device->turn_depth != 0)
        return;
    __atomic_store_n(&device->turn_owner, NULL, __ATOMIC_RELAXED);
    lock_release(&device->turn);
}

void device_reset(struct hv_device *device)
{
    struct hv_device_host *host = device->host;

    lock_acquire(&host->lock);
    capability_reset(device);
    bars_reset(host, device);
    lock_release(&host->lock);
    while (__atomic_load_n(&device->accesses, __ATOMIC_ACQUIRE) > 1)
        __builtin_ia32_pause();
    if (device->ops->version >= 2 && device->ops->reset)
        device->ops->reset(device->context);
}

void hv_device_host_reset(struct hv_device_host *host)
{
    for (unsigned i = 0; i < host->end; i++)
        if (host->at[i]) {
            device_enter(host->at[i]);
            device_reset(host->at[i]);
            device_leave(host->at[i]);
        }
    lock_acquire(&host->lock);
    host->address = 0;
    for (unsigned i = 0; i < host->end; i++)
        if (host->at[i]) {
            lock_acquire(&host->at[i]->lock);
            bars_assign(host, host->at[i]);
            lock_release(&host->at[i]->lock);
        }
    lock_release(&host->lock);
}

/* ---- the end of a device ---- */

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
    scanout_destroy(device);
    if (doorbells + ranges + apertures != 0)
        log_line(
            "pci",
            "00:%02x.%u was torn down with %llu doorbells, %llu ranges and %llu apertures left",
            device->slot, device->function, (unsigned long long)doorbells,
            (unsigned long long)ranges, (unsigned long long)apertures);
    forget_device(device);
    return HV_OK;
}
