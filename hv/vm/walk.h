/*
 * Owns:     the walk of a guest's own page tables, and what they allow.
 * Promises: every paging mode that a guest has (SDM 3A "Paging"): none, 32-bit with 4 MiB pages and their 40 address
 *           bits, PAE, 4-level. Reads each entry once; never touches memory outside the VM.
 * Needs:    guest RAM, or second-level leaves for tables that lie in direct BAR pages.
 * Never:    caches; the check that an address is canonical.
 */
#ifndef HV_VM_WALK_H
#define HV_VM_WALK_H

#include "hv/vm/vp.h"

/* CR4.LA57 is not offered to guests, so EFER.LMA means 4 levels; cr0 and the mode bits of cr4 matter without LMA only. */
struct guest_paging {
    uint64_t cr0, cr3, cr4, efer;
    const uint64_t
        *pdpte; /* the four of PAE paging when the CPU holds them; NULL: they are read at CR3 */
};

/* Good as long as *state is. */
static inline struct guest_paging vp_paging(const struct vp_state *state)
{
    return (struct guest_paging){.cr0 = state->cr0,
                                 .cr3 = state->cr3,
                                 .cr4 = state->cr4,
                                 .efer = state->efer,
                                 .pdpte = state->has_pdpte ? state->pdpte : NULL};
}

/* What all entries on the way say together. Without paging there are none, and nothing is forbidden. */
struct guest_walk {
    gpa_t gpa;
    uint64_t entry; /* the leaf entry; 0 without paging */
    uint8_t level;  /* 1..3; 0 without paging */
    bool writable, user, no_execute;
};

enum walk_result {
    WALK_OK,
    WALK_NOT_PRESENT, /* or the table is not memory */
    WALK_RESERVED,    /* an entry has bits that must be 0 */
};

/* Outside EFER.LMA only the low 32 bits of gva count. */
enum walk_result guest_walk(struct vm *vm, const struct guest_paging *paging, gva_t gva,
                            struct guest_walk *walk);

struct guest_access {
    uint8_t access; /* enum hv_access bits */
    bool
        user; /* CPL 3; not for what a CPU does at CPL 3 as supervisor, such as reading a descriptor */
    bool smap_off; /* RFLAGS.AC, for a data access that the instruction itself names */
};

/* The guest's rights (SDM 3A "Access Rights"), by what a walk has found. */
bool guest_allows(const struct guest_paging *paging, const struct guest_access *access,
                  const struct guest_walk *walk);

/*
 * Walk, and check the guest's rights. True: *gpa is set. False: *error is the error code of
 * the #PF that the access deserves. Marks nothing.
 */
bool guest_translate(struct vm *vm, const struct guest_paging *paging,
                     const struct guest_access *access, gva_t gva, gpa_t *gpa, uint32_t *error);

/*
 * Set the accessed bit of every entry on the way to gva, and the dirty bit of the leaf for a write, as the CPU
 * does: for pages that it has not walked itself. The walk has been seen to succeed. An entry that has no such bits (PAE's
 * top level) or is not in RAM is passed over.
 */
void guest_walk_mark(struct vm *vm, const struct guest_paging *paging, gva_t gva, bool write);

/*
 * Physical bytes of the guest: RAM or direct BAR pages that allow `access` (enum hv_access). One piece of 1 to 8
 * bytes inside a page, or a copy within one page. False: nothing was touched.
 */
bool guest_physical_read(struct vm *vm, gpa_t gpa, void *out, unsigned bytes);
bool guest_physical_write(struct vm *vm, gpa_t gpa, const void *in, unsigned bytes);

#endif
