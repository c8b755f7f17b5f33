/*
 * Owns:     the hypervisor's own address space: direct map, image, windows, views and I/O space.
 * Promises: image pages are W^X; the direct map is read-write, not executable, write-back, and holds only RAM
 *           frames that the hypervisor owns or that are guest RAM; a section's frames are not in it; a guard
 *           page lies below every stack.
 * Needs:    frames, ept/ (with pt_format_stage1), hv/x86.
 * Never:    device memory in the direct map.
 *
 *   0x0000'xxxxxxxx          the image, where the firmware put it (text RX, rodata R, data RW)
 *   0xffff8000'00000000      the direct map (hv/base/direct.h)
 *   0xffffc000'00000000      views and I/O space (view_record.h); some views lie below 4 GiB, around the image
 *   0xffffff00'00000000      windows: two pages per CPU
 */
#ifndef HV_MEM_SPACE_H
#define HV_MEM_SPACE_H

#include "ept/ept.h"
#include "hv/base/status.h"

#define SPACE_WINDOW_BASE 0xffffff0000000000ull

/* One part of the image, page-aligned; hva = hpa. */
struct space_part {
    hva_t start, end;
    uint8_t rights; /* enum pt_rights */
};

/* A run of RAM for the direct map. */
struct space_run {
    hpa_t base;
    uint64_t pages;
};

/*
 * Build the address space from frames. Direct-map runs must not include the image. Loading it is the
 * caller's step (space_load), on every CPU. HV_E_NO_MEMORY.
 */
hv_status_t space_create(const struct space_part *parts, unsigned part_count,
                         const struct space_run *runs, unsigned run_count) MUST_CHECK;

/* Program PAT, EFER.NXE, CR0.WP and CR3 of this CPU. */
void space_load(void);

/* Take a page out of the image: a guard page. */
void space_guard(hva_t page);

/*
 * The direct map loses or regains RAM frames (a section's). Removal can fail; restoring what was removed in the
 * same run cannot.
 */
hv_status_t space_direct_remove(hpa_t base, uint64_t pages) MUST_CHECK;
void space_direct_restore(hpa_t base, uint64_t pages);

/* From the lowest to the highest address of the image. */
void space_image(hva_t *start, hva_t *end);

/*
 * For view_record.c: first a promise of tables, then mapping cannot fail. space_view_tables() is an upper bound for one
 * run, or, when not `large`, for the pages whatever runs of frames they turn out to be. space_view_map() lessens
 * *tables by what it took; space_view_unreserve() gives the rest back. HV_E_NO_MEMORY.
 */
uint64_t space_view_tables(hva_t address, hpa_t frame, uint64_t pages, bool large);
hv_status_t space_view_reserve(uint64_t tables) MUST_CHECK;
void space_view_unreserve(uint64_t tables);
void space_view_map(hva_t address, hpa_t frame, uint64_t pages, uint8_t rights,
                    enum memtype memtype, uint64_t *tables);

/* Both at once, for one run where nothing is mapped. HV_E_NO_MEMORY: nothing has happened. */
hv_status_t space_view_map_run(hva_t address, hpa_t frame, uint64_t pages, uint8_t rights,
                               enum memtype memtype) MUST_CHECK;

/* When it returns no CPU reaches the frames through these addresses. */
void space_view_unmap(hva_t address, uint64_t pages);

/* Give back warm blocks of tables. */
void space_view_trim(void);

/* The leaf that translates an address; false: nothing does. */
bool space_lookup(hva_t address, struct pt_leaf *leaf);

/* The walk of a hypervisor address, for panic reports. */
void space_dump_walk(hva_t address);

/* Table pages in use. */
uint64_t space_table_pages(void);

/* For window.c: map or unmap one page of the window area. */
void space_window_set(hva_t page, hpa_t frame, enum memtype memtype);
void space_window_clear(hva_t page);

#endif
