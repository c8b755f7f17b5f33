/*
 * Guest RAM for devices: copies, and apertures that show a piece of it in the hypervisor's own space.
 *
 * RAM is a list of runs, each contiguous in guest and host. Two runs may touch in the guest's addresses and lie apart in the
 * host's: a copy goes on from one to the next, an aperture does not. Where they do not touch is a hole, below 4 GiB as a
 * rule, so RAM's size says nothing about where it ends.
 */
#include "hv/pci/bus.h"

#include "hv/base/assert.h"
#include "hv/base/direct.h"
#include "hv/base/piece.h"
#include "hv/mem/slab.h"
#include "hv/mem/view.h"
#include "hv/pci/capability.h"
#include "hv/pci/config.h"

/* Guest RAM mapped for a device. Lock: the device's. */
struct aperture {
    struct tree_node node; /* key: the address of its first page; no address is given out twice */
    void *va;              /* as the device has it */
    gpa_t gpa;
    uint32_t bytes;
};

static struct slab aperture_slab = SLAB_INIT("aperture", struct aperture);

/* ---- what is asked for ---- */

static bool wraps(gpa_t gpa, uint32_t bytes)
{
    return gpa.v + bytes < gpa.v;
}

/* The host's flags may keep a device away from the guest's memory. */
static bool is_allowed(const struct hv_device *device)
{
    uint32_t flags = device->host->flags;

    if (flags & HV_HOST_RESTRICTED)
        return false;
    return !(flags & HV_HOST_ENFORCE_BUS_MASTER) || interrupt_may_send(device);
}

/* How many of `bytes` at gpa lie in one run of RAM, and where; 0: there is no RAM. */
static uint32_t ram_at(const struct vm *vm, gpa_t gpa, uint32_t bytes, uint8_t **at)
{
    for (const struct vm_ram *ram = vm->ram; ram < vm->ram + vm->ram_count; ram++) {
        uint64_t offset = gpa.v - ram->gpa.v;

        if (offset < ram->bytes) {
            *at = ram->host + offset;
            return (uint32_t)MIN(bytes, ram->bytes - offset);
        }
    }
    *at = NULL;
    return 0;
}

static bool is_ram(const struct vm *vm, gpa_t gpa, uint32_t bytes)
{
    while (bytes) {
        uint8_t *ram;
        uint32_t here = ram_at(vm, gpa, bytes, &ram);

        if (here == 0)
            return false;
        gpa.v += here;
        bytes -= here;
    }
    return true;
}

/* ---- copies ---- */

static hv_status_t check_copy(const struct hv_device *device, gpa_t gpa, uint32_t bytes,
                              const void *buffer)
{
    if (wraps(gpa, bytes))
        return HV_E_INVALID_PARAMETER_2;
    if (!buffer)
        return HV_E_INVALID_PARAMETER_4;
    if (!is_allowed(device))
        return HV_E_ACCESS_DENIED;
    return is_ram(device->host->vm, gpa, bytes) ? HV_OK : HV_E_GUEST_FAULT;
}

/* Out of guest RAM, or into it: one of `out` and `in` is there. */
static hv_status_t copy(struct hv_device *device, gpa_t gpa, uint32_t bytes, uint8_t *out,
                        const uint8_t *in)
{
    hv_status_t status;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    if (!device_is_in_phase(device))
        return HV_E_INVALID_STATE;
    if (bytes == 0)
        return HV_OK;
    status = check_copy(device, gpa, bytes, out ? out : in);
    if (status != HV_OK)
        return status;
    for (uint32_t done = 0, here; done < bytes; done += here) {
        uint8_t *ram;

        here = ram_at(device->host->vm, GPA(gpa.v + done), bytes - done, &ram);
        ASSERT(here != 0);
        if (out)
            piece_copy(out + done, ram, here);
        else
            piece_copy(ram, in + done, here);
    }
    return HV_OK;
}

hv_status_t hv_guest_memory_read(struct hv_device *device, gpa_t gpa, uint32_t bytes, void *buffer)
{
    return copy(device, gpa, bytes, buffer, NULL);
}

hv_status_t hv_guest_memory_write(struct hv_device *device, gpa_t gpa, uint32_t bytes,
                                  const void *buffer)
{
    return copy(device, gpa, bytes, NULL, buffer);
}

/* ---- apertures ---- */

static hv_status_t check_aperture(const struct hv_device *device, gpa_t gpa, uint32_t bytes,
                                  void *const *va)
{
    uint8_t *ram;

    if (!device_is_in_phase(device))
        return HV_E_INVALID_STATE;
    if (wraps(gpa, bytes))
        return HV_E_INVALID_PARAMETER_2;
    if (bytes == 0)
        return HV_E_INVALID_PARAMETER_3;
    if (!va)
        return HV_E_INVALID_PARAMETER_5;
    if (!is_allowed(device))
        return HV_E_ACCESS_DENIED;
    if (ram_at(device->host->vm, gpa, bytes, &ram) < bytes)
        return HV_E_GUEST_FAULT;
    return device->apertures.count < HV_APERTURES_PER_DEVICE ? HV_OK : HV_E_QUOTA;
}

/* Map what was checked. The record is there already: the mapping is the last step that can fail. */
static hv_status_t map(struct hv_device *device, struct aperture *aperture, bool write_protected)
{
    uint64_t in_page = aperture->gpa.v & PAGE_MASK;
    uint64_t pages = (in_page + aperture->bytes + PAGE_MASK) >> PAGE_SHIFT;
    uint8_t *ram;
    void *base;
    hv_status_t status;

    (void)ram_at(device->host->vm, aperture->gpa, aperture->bytes, &ram);
    status = view_map_ram(direct_to_hpa(ram - in_page), pages, write_protected, &base);
    if (status != HV_OK)
        return status;
    aperture->node.key = (uintptr_t)base;
    aperture->va = (uint8_t *)base + in_page;
    tree_insert(&device->apertures, &aperture->node);
    return HV_OK;
}

hv_status_t hv_guest_aperture_create(struct hv_device *device, gpa_t gpa, uint32_t bytes,
                                     bool write_protected, void **va)
{
    struct aperture *made = NULL;
    hv_status_t status;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    lock_acquire(&device->lock);
    status = check_aperture(device, gpa, bytes, va);
    if (status == HV_OK) {
        made = slab_alloc(&aperture_slab);
        status = made ? HV_OK : HV_E_NO_MEMORY;
    }
    if (status == HV_OK) {
        made->gpa = gpa;
        made->bytes = bytes;
        status = map(device, made, write_protected);
    }
    if (status == HV_OK)
        *va = made->va;
    lock_release(&device->lock);
    if (status != HV_OK)
        slab_free(&aperture_slab, made);
    return status;
}

/* Caller holds the device's lock. */
static void destroy(struct hv_device *device, struct aperture *aperture)
{
    hv_status_t status;

    tree_remove(&device->apertures, &aperture->node);
    status = view_unmap_ram((uint8_t *)aperture->va - (aperture->gpa.v & PAGE_MASK));
    ASSERT(status == HV_OK);
    slab_free(&aperture_slab, aperture);
}

hv_status_t hv_guest_aperture_destroy(struct hv_device *device, void *va)
{
    struct tree_node *node;
    struct aperture *aperture;
    hv_status_t status = HV_E_NOT_MAPPED;

    if (!device_is_known(device))
        return HV_E_INVALID_HANDLE;
    lock_acquire(&device->lock);
    node = tree_find(&device->apertures, ALIGN_DOWN((uintptr_t)va, PAGE_BYTES));
    aperture = node ? CONTAINER_OF(node, struct aperture, node) : NULL;
    if (aperture && aperture->va == va) {
        destroy(device, aperture);
        status = HV_OK;
    }
    lock_release(&device->lock);
    return status;
}

void aperture_trim(void)
{
    slab_trim(&aperture_slab);
}

uint64_t aperture_destroy_all(struct hv_device *device)
{
    struct tree_node *node;
    uint64_t count = 0;

    lock_acquire(&device->lock);
    while ((node = tree_first(&device->apertures)) != NULL) {
        struct aperture *aperture = CONTAINER_OF(node, struct aperture, node);

        log_line("pci", "00:%02x.%u left an aperture of %u bytes at %#llx", device->slot,
                 device->function, aperture->bytes, (unsigned long long)aperture->gpa.v);
        destroy(device, aperture);
        count++;
    }
    lock_release(&device->lock);
    return count;
}
