/*
 * Owns:     views and I/O space: what is mapped into the hypervisor's own address space on request.
 * Promises: addresses are never handed out twice; a view's memory type is the one in force on its frames
 *           everywhere; after an unmap no CPU reaches the frames through the old address; a failed call
 *           changes nothing.
 * Needs:    hv/mem/mapping.h, hv/mem/space.h (tables), an area of addresses.
 * Never:    guest addresses, devices.
 *
 * Contract: NtMapViewOfSection, NtUnmapViewOfSection, MmMapIoSpaceEx and MmUnmapIoSpace; docs/contract.md.
 */
#ifndef HV_MEM_VIEW_H
#define HV_MEM_VIEW_H

#include "hv/mem/section.h"

/* The address space in which views are made: the hypervisor's own, and only that. */
#define HV_SPACE_HYPERVISOR ((hv_handle_t)0xfffffffeu)

#define HV_VIEW_GRANULARITY 0x10000ull /* of base and offset, without HV_VIEW_PAGE_GRANULAR */

enum hv_view_inherit { HV_VIEW_SHARE = 1, HV_VIEW_UNMAP = 2 }; /* accepted and without effect */

enum hv_view_allocation {
    HV_VIEW_COMMIT = 0x1000,          /* refused */
    HV_VIEW_RESERVE = 0x2000,         /* refused */
    HV_VIEW_TOP_DOWN = 0x100000,      /* the highest free address, not the lowest */
    HV_VIEW_PAGE_GRANULAR = 0x1,      /* granularity of one page */
    HV_VIEW_LARGE_PAGES = 0x20000000, /* base on 2 MiB when chosen by us */
};

/*
 * Map a window of a section into the hypervisor's space.
 *  1 section          handle with MAP_READ (and MAP_WRITE, MAP_EXECUTE as `protect` needs)
 *  2 space            HV_SPACE_HYPERVISOR
 *  3 base             in: NULL inside means anywhere; out: the address
 *  4 zero_bits        0..20: that many top bits of a 32-bit address are zero; 0: no such rule
 *  5 commit_size      bytes, rounded up; RESERVE sections only: committed by this call from the window's start
 *  6 section_offset   bytes; in and out; NULL means 0
 *  7 view_size        bytes; in: 0 means to the section's end; out: rounded up to pages
 *  8 inherit          HV_VIEW_SHARE or HV_VIEW_UNMAP
 *  9 allocation_type  enum hv_view_allocation
 * 10 protect          one enum hv_page_protection, with NOCACHE or WRITECOMBINE at most one
 *
 * Checks, in order: handle or space HV_E_INVALID_HANDLE, kind HV_E_OBJECT_TYPE; base or view_size NULL _3, _7; zero_bits _4
 * (an explicit base that breaks the rule too); inherit _8; allocation_type COMMIT, RESERVE, unknown _9;
 * protect: HV_E_INVALID_PROTECTION, COPY values and writable with executable HV_E_NOT_SUPPORTED, more than the section
 * allows HV_E_SECTION_PROTECTION, more than the handle has HV_E_ACCESS_DENIED; view_size above the area _3;
 * base or offset off the granularity HV_E_MAPPED_ALIGNMENT; offset at or past the end _6; window past the end
 * HV_E_INVALID_VIEW_SIZE; commit_size above the view _5; explicit base outside the area or taken
 * HV_E_CONFLICTING_ADDRESSES; HV_E_CACHE_CONFLICT; HV_E_NO_MEMORY: no room, records or tables; frames for commit_size
 * HV_E_COMMITMENT_LIMIT.
 */
hv_status_t hv_section_map_view(hv_handle_t section, hv_handle_t space, void **base,
                                uint32_t zero_bits, uint64_t commit_size, uint64_t *section_offset,
                                uint64_t *view_size, uint32_t inherit, uint32_t allocation_type,
                                uint32_t protect) MUST_CHECK;

/* Unmap the whole view that holds `base`. HV_E_INVALID_HANDLE: space; HV_E_NOT_MAPPED: no view there. */
hv_status_t hv_section_unmap_view(hv_handle_t space, void *base);

/*
 * Map physical memory that is not the hypervisor's: device registers, firmware tables. Any byte address; the
 * result has the same offset in its page. protect: READONLY, READWRITE, EXECUTE (as EXECUTE_READ) or EXECUTE_READ, or
 * these with NOCACHE or WRITECOMBINE. Without a modifier the type is write-back where the CPU's MTRRs say so for all of it, else UC.
 * bytes 0 _2; past the physical addresses _1; HV_E_INVALID_PROTECTION; HV_E_NOT_SUPPORTED (writable with executable);
 * memory of the hypervisor or of a guest HV_E_ACCESS_DENIED; HV_E_CACHE_CONFLICT; va NULL _4; HV_E_NO_MEMORY.
 */
hv_status_t hv_io_space_map(hpa_t phys, uint64_t bytes, uint32_t protect, void **va) MUST_CHECK;

/* `va` as returned, `bytes` as mapped. HV_E_NOT_MAPPED; _2: another number of pages. */
hv_status_t hv_io_space_unmap(void *va, uint64_t bytes);

/* ---- for the rooms above ---- */

/*
 * Guest RAM (write-back, statically backed) in this space: hv_guest_aperture_create(). `frame` and `pages` are one
 * run; the result is page-aligned. HV_E_NO_MEMORY. view_unmap_ram(): exactly what was returned, else HV_E_NOT_MAPPED.
 */
hv_status_t view_map_ram(hpa_t frame, uint64_t pages, bool read_only, void **va) MUST_CHECK;
hv_status_t view_unmap_ram(void *va);

/* Live views, I/O mappings and apertures: for leak checks. */
uint64_t view_live_count(void);

/* Once, after space_create(): the areas of addresses, around the image. */
void view_init(void);

/* Once, before the first I/O mapping: `mtrr` stays. */
struct mtrr;
void io_space_init(const struct mtrr *mtrr);

/* Give back what is kept warm: see section_trim(). */
void view_trim(void);

#endif
