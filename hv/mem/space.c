#include "hv/mem/space.h"

#include "hv/base/direct.h"
#include "hv/mem/space_root.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

#define WINDOW_PAGES 512u /* one table: two windows for each of 256 CPUs */

struct space hv_space;

static struct space_part image; /* from its lowest to its highest address */

static const struct pt_attr direct_attr = {
    .rights = PT_R | PT_W, .memtype = MEMTYPE_WB, .max_level = 3};

static uint64_t direct_address(hpa_t base)
{
    return HV_DIRECT_BASE + base.v;
}

/* Not-present to present needs no flush; everything else here invalidates page by page or reloads CR3. */
static hv_status_t map(uint64_t address, hpa_t frame, uint64_t pages, const struct pt_attr *attr)
{
    struct pt_flush flush = {0};
    uint64_t tables = pt_tables_needed(&hv_space.root, address, frame, pages, attr->max_level);
    hv_status_t status = pt_pool_reserve(&hv_space.pool, tables);

    if (status != HV_OK)
        return status;
    pt_map(&hv_space.root, address, frame, pages, attr, &flush);
    pt_flush_done(&hv_space.root, &flush);
    pt_pool_unreserve(&hv_space.pool, tables - flush.taken);
    return HV_OK;
}

/* Table pages for the windows stay for ever, so that opening one cannot fail. */
static hv_status_t create_windows(void)
{
    struct pt_flush flush = {0};
    struct pt_attr attr = {.rights = PT_R | PT_W, .memtype = MEMTYPE_WB, .max_level = 1};
    hv_status_t status = map(SPACE_WINDOW_BASE, HPA(0), WINDOW_PAGES, &attr);

    if (status != HV_OK)
        return status;
    pt_unmap_keep(&hv_space.root, SPACE_WINDOW_BASE, WINDOW_PAGES, &flush);
    pt_flush_done(&hv_space.root, &flush);
    return HV_OK;
}

hv_status_t space_create(const struct space_part *parts, unsigned part_count,
                         const struct space_run *runs, unsigned run_count)
{
    const unsigned levels = cpuid(0x80000001, 0).edx & CPUID_8000_0001_EDX_1G ? 3 : 2;
    hv_status_t status = pt_root_create(&hv_space.root, &pt_format_stage1, &hv_space.pool, levels);

    for (unsigned i = 0; status == HV_OK && i < part_count; i++) {
        struct pt_attr attr = {.rights = parts[i].rights, .memtype = MEMTYPE_WB, .max_level = 1};

        image.start.v = i == 0 ? parts[i].start.v : MIN(image.start.v, parts[i].start.v);
        image.end.v = MAX(image.end.v, parts[i].end.v);
        status = map(parts[i].start.v, HPA(parts[i].start.v),
                     (parts[i].end.v - parts[i].start.v) >> PAGE_SHIFT, &attr);
    }
    for (unsigned i = 0; status == HV_OK && i < run_count; i++)
        status = map(direct_address(runs[i].base), runs[i].base, runs[i].pages, &direct_attr);
    return status == HV_OK ? create_windows() : status;
}

void space_load(void)
{
    wrmsr(IA32_EFER, rdmsr(IA32_EFER) | EFER_NXE);
    write_cr0((read_cr0() | CR0_WP | CR0_NE) & ~(CR0_CD | CR0_NW | CR0_TS | CR0_EM));
    /* Slot 0 is write-back in the reset PAT and in ours, and the old tables use no other for RAM. */
    wrmsr(IA32_PAT, HV_PAT);
    write_cr4(CR4_PAE | CR4_MCE | CR4_OSFXSR | CR4_OSXMMEXCPT); /* whatever the firmware had on */
    write_cr3(hv_space.root.root.v);
}

/* Flush this CPU after entries were removed. With more CPUs the shoot-down goes here. */
void space_flush(uint64_t address, uint64_t pages)
{
    const uint64_t reload_above = 64;

    if (pages > reload_above) {
        write_cr3(read_cr3());
        return;
    }
    for (uint64_t i = 0; i < pages; i++)
        invlpg(HVA(address + (i << PAGE_SHIFT)));
}

/* Returns how many tables it took. */
static uint64_t unmap(uint64_t address, uint64_t pages)
{
    struct pt_flush flush = {0};

    pt_unmap_keep(&hv_space.root, address, pages, &flush);
    if (flush.needed)
        space_flush(address, pages);
    pt_flush_done(&hv_space.root, &flush);
    return flush.taken;
}

void space_guard(hva_t page)
{
    lock_acquire(&hv_space.lock);
    unmap(page.v, 1);
    lock_release(&hv_space.lock);
}

hv_status_t space_direct_remove(hpa_t base, uint64_t pages)
{
    uint64_t address = direct_address(base);
    uint64_t tables = pt_tables_needed_unmap(&hv_space.root, address, pages);
    hv_status_t status;

    lock_acquire(&hv_space.lock);
    status = pt_pool_reserve(&hv_space.pool, tables);
    if (status == HV_OK)
        pt_pool_unreserve(&hv_space.pool, tables - unmap(address, pages));
    lock_release(&hv_space.lock);
    return status;
}

/*
 * The tables that the removal left are kept, so mapping the same run again takes none: whatever
 * lies between its ends is one entry at the level at which it was removed.
 */
void space_direct_restore(hpa_t base, uint64_t pages)
{
    struct pt_flush flush = {0};

    lock_acquire(&hv_space.lock);
    pt_map(&hv_space.root, direct_address(base), base, pages, &direct_attr, &flush);
    if (flush.needed)
        space_flush(direct_address(base), pages);
    pt_flush_done(&hv_space.root, &flush);
    lock_release(&hv_space.lock);
}

void space_image(hva_t *start, hva_t *end)
{
    *start = image.start;
    *end = image.end;
}

void space_window_set(hva_t page, hpa_t frame, enum memtype memtype)
{
    struct pt_attr attr = {.rights = PT_R | PT_W, .memtype = (uint8_t)memtype, .max_level = 1};
    struct pt_flush flush = {0};

    lock_acquire(&hv_space.lock);
    pt_map(&hv_space.root, page.v, frame, 1, &attr, &flush);
    ASSERT(!flush.needed);
    lock_release(&hv_space.lock);
}

void space_window_clear(hva_t page)
{
    space_guard(page);
}

void space_dump_walk(hva_t address)
{
    pt_dump_walk(&hv_space.root, address.v, "panic");
}

uint64_t space_table_pages(void)
{
    return hv_space.pool.blocks * PT_BLOCK_FRAMES;
}
