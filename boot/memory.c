#include "boot/memory.h"

#include "hv/base/log.h"
#include "hv/mem/frames.h"
#include "hv/mem/section.h"
#include "hv/mem/space.h"
#include "hv/mem/view.h"
#include "hv/svm/svm.h"
#include "hv/x86/cpu.h"
#include "hv/x86/desc.h"
#include "hv/x86/mtrr.h"
#include "hv/x86/regs.h"

/* linker.ld */
#define IMAGE_SYMBOL(name) extern uint8_t name[] __attribute__((visibility("hidden")))
IMAGE_SYMBOL(text_start);
IMAGE_SYMBOL(text_end);
IMAGE_SYMBOL(rodata_start);
IMAGE_SYMBOL(rodata_end);
IMAGE_SYMBOL(data_start);
IMAGE_SYMBOL(data_end);

static hva_t address(const uint8_t *symbol)
{
    return HVA((uint64_t)(uintptr_t)symbol);
}

static hv_status_t add_runs(const struct boot_info *boot, enum memmap_use use)
{
    hv_status_t status = HV_OK;

    for (unsigned i = 0; status == HV_OK && i < boot->run_count; i++)
        if (boot->run[i].use == use)
            status = frames_add(&hv_frames, HPA(boot->run[i].base), boot->run[i].pages);
    return status;
}

/* RAM runs for the direct map, with the image cut out: its text must have no writable alias. */
static unsigned direct_runs(const struct boot_info *boot, struct space_run *out)
{
    uint64_t image = boot->image_base, image_end = image + ALIGN_UP(boot->image_bytes, PAGE_BYTES);
    unsigned count = 0;

    for (unsigned i = 0; i < boot->run_count; i++) {
        uint64_t base = boot->run[i].base, end = base + boot->run[i].pages * PAGE_BYTES;

        if (boot->run[i].use == MEMMAP_FIRMWARE)
            continue;
        if (base < image && MIN(end, image) > base) {
            out[count++] = (struct space_run){HPA(base), (MIN(end, image) - base) >> PAGE_SHIFT};
            base = MIN(end, image);
        }
        base = base < image_end && end > image ? MAX(base, MIN(end, image_end)) : base;
        if (base < end)
            out[count++] = (struct space_run){HPA(base), (end - base) >> PAGE_SHIFT};
    }
    return count;
}

static void guard_stacks(void)
{
    for (unsigned s = 0; s < STACK_COUNT; s++)
        space_guard(address(boot_stacks + s * STACK_GAP_BYTES));
}

/* What a section over a physical window must not name, besides the frames that the allocator knows. */
static void forbid_windows(const struct boot_info *boot)
{
    for (unsigned i = 0; i < boot->run_count; i++)
        if (boot->run[i].use == MEMMAP_KEPT)
            section_forbid(HPA(boot->run[i].base), boot->run[i].pages * PAGE_BYTES);
    section_forbid(HPA(boot->image_base), boot->image_bytes);
    section_forbid_registers(HPA(rdmsr(IA32_APIC_BASE) & BITS(51, 12)), PAGE_BYTES);
}

/* From here on views can be made. TOP_MEM2 belongs to CPUs with SVM. */
static void open_views(void)
{
    static struct mtrr mtrr;

    mtrr_read(&mtrr, svm_backend.present());
    io_space_init(&mtrr);
    view_init();
}

hv_status_t memory_take(const struct boot_info *boot)
{
    static struct space_run runs[BOOT_MAX_RUNS + 1];
    const struct space_part parts[] = {
        {address(text_start), address(text_end), PT_R | PT_X},
        {address(rodata_start), address(rodata_end), PT_R},
        {address(data_start), address(data_end), PT_R | PT_W},
    };
    hv_status_t status = add_runs(boot, MEMMAP_FREE);

    if (status == HV_OK)
        status = space_create(parts, ARRAY_COUNT(parts), runs, direct_runs(boot, runs));
    if (status != HV_OK)
        return status;
    space_load();
    guard_stacks();
    forbid_windows(boot);
    open_views();
    return HV_OK;
}

hv_status_t memory_take_rest(const struct boot_info *boot)
{
    return add_runs(boot, MEMMAP_BOOT);
}

#define ULL(x) ((unsigned long long)(x))

void memory_print(const struct boot_info *boot)
{
    uint64_t bytes[4] = {0}, tables = space_table_pages() * PAGE_BYTES;

    for (unsigned i = 0; i < boot->run_count; i++) {
        const struct memmap_run *run = &boot->run[i];
        uint64_t run_bytes = run->pages * PAGE_BYTES;

        bytes[run->use] += run_bytes;
        log_line("mem", "%#12llx-%#12llx %9llu KiB  %s", ULL(run->base),
                 ULL(run->base + run_bytes - 1), ULL(run_bytes >> 10), memmap_use_name(run->use));
    }
    log_line("mem", "ours: %llu MiB free, %llu KiB kept; hypervisor tables %llu KiB",
             ULL((bytes[MEMMAP_FREE] + bytes[MEMMAP_BOOT]) >> 20), ULL(bytes[MEMMAP_KEPT] >> 10),
             ULL(tables >> 10));
}
