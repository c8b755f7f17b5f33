/*
 * Owns:     the records of everything that is mapped on request into the hypervisor's space: views, I/O space,
 *           windows on guest RAM; their addresses and their leaves.
 * Promises: finding a place and promising tables come first, the rest cannot fail; leaves are as large as address
 *           and frames allow.
 * Needs:    view_area.h, space.h, slabs. Lock: section_lock, held by the caller of every function here.
 * Never:    checks of arguments beyond protection, types in force.
 */
#ifndef HV_MEM_VIEW_RECORD_H
#define HV_MEM_VIEW_RECORD_H

#include "ept/format.h"
#include "hv/mem/mapping.h"
#include "hv/mem/view.h"
#include "hv/mem/view_area.h"

#define VIEW_BASE      0xffffc00000000000ull
#define VIEW_BYTES     (1ull << 44)
#define VIEW_LOW_BASE  AREA_BLOCK /* page 0 stays empty */
#define VIEW_LOW_LIMIT (1ull << 32)

enum view_kind { VIEW_SECTION, VIEW_IO, VIEW_RAM };

struct view {
    struct area_slot slot;
    enum view_kind kind;
    uint8_t rights;  /* enum pt_rights; 0: nothing is mapped */
    uint16_t offset; /* I/O: of the first byte in its page */
    uint64_t pages;
    enum memtype memtype;
    hpa_t frame; /* the first, unless it is of a section */
    struct mapping
        mapping; /* of a section; of I/O space only `types` is used, in the machine's ledger */
};

/* What a protection asks for. */
struct view_protection {
    uint32_t access; /* enum hv_section_access */
    uint8_t rights;
    struct ledger_wish wish;
};

/*
 * HV_E_INVALID_PROTECTION: not exactly one base value, both modifiers, unknown bits. HV_E_NOT_SUPPORTED: copy-on-write;
 * writable and executable, which no page of the hypervisor is.
 */
hv_status_t view_protection(uint32_t protect, struct view_protection *out) MUST_CHECK;

/* The view's first address. */
static inline hva_t view_base(const struct view *view)
{
    return HVA(view->slot.node.key);
}

/* The view that holds the address, or NULL. */
struct view *view_at(uint64_t address);

/* A place of one's own choice: HV_E_CONFLICTING_ADDRESSES. `whole_blocks`: nothing else may lie in the last block. */
hv_status_t view_find_at(uint64_t base, uint64_t pages, bool whole_blocks,
                         struct area_spot *spot) MUST_CHECK;

/*
 * Any place: HV_E_NO_MEMORY. On 2 MiB when `large`, else on 64 KiB, but what is that long itself gets 2 MiB as long as
 * there is room for it. zero_bits: see hv_section_map_view().
 */
hv_status_t view_find(uint64_t pages, uint32_t zero_bits, bool large, bool top_down,
                      struct area_spot *spot) MUST_CHECK;

/* A record to be filled; NULL: no memory. A record without a place goes back with view_drop(). */
struct view *view_take(void);
void view_drop(struct view *view);

/*
 * Enter the record at its place and fill the tables; its members from `kind` to `frame` and mapping's window are set.
 * HV_E_NO_MEMORY: no tables; then nothing has happened. The mapping itself is entered by the caller, before or after.
 */
hv_status_t view_enter(struct view *view, const struct area_spot *spot) MUST_CHECK;

/* Its leaves go, its addresses are free, the record is gone. */
void view_leave(struct view *view);

/* Pages of a section's view that get frames: see struct mapping_owner. */
extern const struct mapping_owner view_owner;

#endif
