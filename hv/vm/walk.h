/*
 * Owns:     the walk of a guest's own page tables.
 * Promises: reads each entry once; never touches memory outside the VM; 4-level paging with 4 KiB, 2 MiB and
 *           1 GiB pages (SDM 3A "4-Level Paging"), and no paging at all.
 * Needs:    guest RAM, or second-level leaves for tables that lie in direct BAR pages.
 * Never:    caches.
 */
#ifndef HV_VM_WALK_H
#define HV_VM_WALK_H

#include "hv/vm/vm.h"

/* CR4.LA57 is not offered to guests, so EFER.LMA means 4 levels; cr0 matters without LMA only. */
struct guest_paging {
    uint64_t cr0, cr3, efer;
};

struct guest_walk {
    gpa_t gpa;
    uint64_t entry; /* the leaf entry; 0 without paging */
    uint8_t level;  /* 1..3; 0 without paging */
    bool writable;  /* every entry on the way allows it */
    bool user;
};

enum walk_result {
    WALK_OK,
    WALK_NOT_PRESENT, /* or the table is not memory */
    WALK_RESERVED,    /* an entry has bits that must be 0 */
    WALK_UNSUPPORTED, /* 32-bit and PAE paging */
};

enum walk_result guest_walk(struct vm *vm, const struct guest_paging *paging, gva_t gva,
                            struct guest_walk *walk);

/*
 * Set the accessed bit of every entry on the way to gva, and the dirty bit of the leaf for a write, as the CPU
 * does: for pages that it has not walked itself. The walk has been seen to succeed.
 */
void guest_walk_mark(struct vm *vm, const struct guest_paging *paging, gva_t gva, bool write);

/*
 * The short walk for code in 64-bit mode, when tables and code lie in the first run of RAM: 16 bytes at rip in two
 * loads. The CPU has just fetched them through the same tables, so rights need no check. False: take the long way.
 */
bool guest_fetch_16(const struct vm *vm, uint64_t cr3, uint64_t rip, uint64_t bytes[2]);

/*
 * Physical bytes of the guest: RAM or direct BAR pages that allow `access` (enum hv_access). One piece of 1 to 8
 * bytes inside a page, or a copy within one page. False: nothing was touched.
 */
bool guest_physical_read(struct vm *vm, gpa_t gpa, void *out, unsigned bytes);
bool guest_physical_write(struct vm *vm, gpa_t gpa, const void *in, unsigned bytes);

#endif
