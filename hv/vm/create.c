#include "hv/vm/create.h"

#include "hv/base/direct.h"
#include "hv/base/string.h"
#include "hv/mem/frames.h"
#include "hv/vm/platform.h"

#define HIGH_RAM  GIB(4)
#define LOG_BURST 16u

static struct apic local_apic; /* of the one VP */

/* Take memory for [gpa, gpa + pages) in as few runs as the machine has. */
static hv_status_t take_ram(struct vm *vm, uint64_t gpa, uint64_t pages)
{
    while (pages) {
        struct vm_ram *ram = &vm->ram[vm->ram_count];
        uint64_t got;
        hpa_t frame;
        hv_status_t status;

        if (vm->ram_count == VM_MAX_RAM)
            return HV_E_NO_MEMORY;
        status = frames_alloc_extent(&hv_frames, pages, &frame, &got);
        if (status != HV_OK)
            return status;
        *ram = (struct vm_ram){GPA(gpa), got << PAGE_SHIFT, direct(frame)};
        memset(ram->host, 0, ram->bytes);
        gpa += ram->bytes;
        pages -= got;
        vm->ram_count++;
    }
    return HV_OK;
}

/* Guests execute from RAM, so large leaves only where the CPU stands them (iTLB multihit). */
static hv_status_t map_ram(struct vm *vm)
{
    const struct pt_attr attr = {.rights = PT_R | PT_W | PT_X,
                                 .memtype = MEMTYPE_WB,
                                 .max_level = hv_caps.large_executable ? 3 : 1};
    struct pt_flush flush = {0};

    for (unsigned i = 0; i < vm->ram_count; i++) {
        const struct vm_ram *ram = &vm->ram[i];
        uint64_t pages = ram->bytes >> PAGE_SHIFT;
        hpa_t frame = direct_to_hpa(ram->host);
        hv_status_t status = pt_pool_reserve(
            &vm->pool, pt_tables_needed(&vm->tables, ram->gpa.v, frame, pages, attr.max_level));

        if (status != HV_OK)
            return status;
        pt_map(&vm->tables, ram->gpa.v, frame, pages, &attr, &flush);
        pt_pool_unreserve(&vm->pool, vm->pool.reserved);
    }
    vm_flush(vm, &flush);
    return HV_OK;
}

hv_status_t vm_create(struct vm *vm, struct vp *vp, const struct pt_format *format,
                      uint64_t ram_bytes, uint64_t split_bytes)
{
    const unsigned max_level = hv_caps.large_1g ? 3 : hv_caps.large_2m ? 2 : 1;
    uint64_t low = MIN(ram_bytes, split_bytes);
    hv_status_t status = pt_root_create(&vm->tables, format, &vm->pool, max_level);

    vm->generation = 1; /* newer than any VP has flushed: the first entry flushes a reused root */
    vm->vp = vp;
    vp->vm = vm;
    vm->unclaimed_log.burst = vm->unsupported_log.burst = vp->msr_log.burst = LOG_BURST;
    if (status == HV_OK) /* the first run of RAM is the one at 0: guest_trail_learn() */
        status = take_ram(vm, 0, low >> PAGE_SHIFT);
    if (status == HV_OK)
        status = take_ram(vm, HIGH_RAM, (ram_bytes - low) >> PAGE_SHIFT);
    if (status == HV_OK)
        status = map_ram(vm);
    if (status == HV_OK)
        status = platform_create(vm);
    vp->apic = &local_apic;
    if (status == HV_OK)
        status = apic_create(vp);
    vp_cpuid_init(vp);
    vp_places_forget(vp);
    return status;
}
