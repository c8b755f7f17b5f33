#include "hv/vm/walk.h"

#include "hv/base/string.h"
#include "hv/mem/window.h"
#include "hv/x86/regs.h"

#define WALK_ADDR BITS(51, 12)

/* The leaf behind a page of a BAR, when it allows what is wanted. Guest RAM never comes here. */
static bool direct_page(const struct vm *vm, gpa_t gpa, uint8_t rights, struct pt_leaf *leaf)
{
    return pt_lookup(&vm->tables, gpa.v, leaf) && (leaf->attr.rights & rights) == rights;
}

static hpa_t leaf_address(const struct pt_leaf *leaf, gpa_t gpa)
{
    return HPA(leaf->frame.v + (gpa.v & PAGE_MASK));
}

/*
 * Naturally aligned pieces are single accesses: another VP must not see half of one. The compiler does not
 * split a volatile access of these sizes.
 */
static void copy_piece(void *to, const void *from, unsigned bytes)
{
    switch (bytes) {
    case 1:
        *(volatile uint8_t *)to = *(const volatile uint8_t *)from;
        break;
    case 2:
        *(volatile uint16_t *)to = *(const volatile uint16_t *)from;
        break;
    case 4:
        *(volatile uint32_t *)to = *(const volatile uint32_t *)from;
        break;
    case 8:
        *(volatile uint64_t *)to = *(const volatile uint64_t *)from;
        break;
    default:
        memcpy(to, from, bytes);
        break;
    }
}

bool guest_physical_read(struct vm *vm, gpa_t gpa, void *out, unsigned bytes)
{
    const void *ram = vm_ram_pointer(vm, gpa, bytes);
    struct pt_leaf leaf;

    if (LIKELY(ram != NULL)) {
        copy_piece(out, ram, bytes);
        return true;
    }
    if (!direct_page(vm, gpa, PT_R, &leaf))
        return false;
    window_read(leaf_address(&leaf, gpa), (enum memtype)leaf.attr.memtype, out, bytes);
    return true;
}

bool guest_physical_write(struct vm *vm, gpa_t gpa, const void *in, unsigned bytes)
{
    void *ram = vm_ram_pointer(vm, gpa, bytes);
    struct pt_leaf leaf;

    if (LIKELY(ram != NULL)) {
        copy_piece(ram, in, bytes);
        return true;
    }
    if (!direct_page(vm, gpa, PT_R | PT_W, &leaf))
        return false;
    window_write(leaf_address(&leaf, gpa), (enum memtype)leaf.attr.memtype, in, bytes);
    return true;
}

/* Bits that must be 0 for this guest: address bits it does not have, XD without NXE, PS in the root. */
static bool reserved_bits(const struct guest_paging *paging, uint64_t entry, unsigned level)
{
    uint64_t reserved = BITS(51, 12) & ~(BIT(hv_caps.physical_bits) - 1);

    if (!(paging->efer & EFER_NXE))
        reserved |= PTE_XD;
    if (level == 4)
        reserved |= PTE_PS;
    else if (level > 1 && (entry & PTE_PS)) /* bit 12 of a large leaf is its PAT bit */
        reserved |= (pt_span(level) - 1) & WALK_ADDR & ~BIT(12);
    return (entry & reserved) != 0;
}

static enum walk_result walk_4_level(struct vm *vm, const struct guest_paging *paging, gva_t gva,
                                     struct guest_walk *walk)
{
    uint64_t table = paging->cr3 & WALK_ADDR, entry;

    walk->writable = true;
    walk->user = true;
    for (unsigned level = 4;; level--) {
        uint64_t index = (gva.v >> (PAGE_SHIFT + 9 * (level - 1))) & 511;

        if (!guest_physical_read(vm, GPA(table + index * sizeof(entry)), &entry, sizeof(entry)) ||
            !(entry & PTE_P) || reserved_bits(paging, entry, level))
            return WALK_NOT_PRESENT;
        walk->writable &= (entry & PTE_W) != 0;
        walk->user &= (entry & PTE_U) != 0;
        if (level == 1 || (entry & PTE_PS)) {
            uint64_t span = pt_span(level);

            walk->entry = entry;
            walk->level = (uint8_t)level;
            walk->gpa = GPA((entry & WALK_ADDR & ~(span - 1)) | (gva.v & (span - 1)));
            return WALK_OK;
        }
        table = entry & WALK_ADDR;
    }
}

enum walk_result guest_walk(struct vm *vm, const struct guest_paging *paging, gva_t gva,
                            struct guest_walk *walk)
{
    if (!(paging->cr0 & CR0_PG)) {
        *walk = (struct guest_walk){.gpa = GPA(gva.v & 0xffffffffu), .writable = true, .user = true};
        return WALK_OK;
    }
    if (!(paging->efer & EFER_LMA) || (paging->cr4 & CR4_LA57))
        return WALK_UNSUPPORTED;
    return walk_4_level(vm, paging, gva, walk);
}
