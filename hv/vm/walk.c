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

/* Bits that must be 0 in every entry of this guest: addresses it does not have, XD without NXE. */
static inline uint64_t reserved_bits(const struct guest_paging *paging)
{
    return (WALK_ADDR & (~0ull << hv_caps.physical_bits)) | (paging->efer & EFER_NXE ? 0 : PTE_XD);
}

static enum walk_result walk_4_level(struct vm *vm, const struct guest_paging *paging, gva_t gva,
                                     struct guest_walk *walk)
{
    const uint64_t reserved = reserved_bits(paging), bit12 = BIT(12); /* a large leaf's PAT bit */
    uint64_t table = paging->cr3 & WALK_ADDR, all = ~0ull, entry, span;
    unsigned shift = PAGE_SHIFT + 27;

    for (unsigned level = 4;; level--, shift -= 9) {
        gpa_t at = GPA(table + ((gva.v >> shift) & 511) * sizeof(entry));
        const uint64_t *ram = vm_ram_pointer(vm, at, sizeof(entry));

        if (LIKELY(ram != NULL))
            entry = __atomic_load_n(ram, __ATOMIC_RELAXED);
        else if (!guest_physical_read(vm, at, &entry, sizeof(entry)))
            return WALK_NOT_PRESENT;
        if (!(entry & PTE_P) || (entry & reserved))
            return WALK_NOT_PRESENT;
        all &= entry;
        table = entry & WALK_ADDR;
        if (level == 1 || (entry & PTE_PS)) {
            walk->level = (uint8_t)level;
            break;
        }
    }
    span = pt_span(walk->level);
    if (walk->level == 4 || (walk->level > 1 && (table & (span - 1) & ~bit12)))
        return WALK_NOT_PRESENT;
    walk->entry = entry;
    walk->writable = (all & PTE_W) != 0;
    walk->user = (all & PTE_U) != 0;
    walk->gpa = GPA((table & ~(span - 1)) | (gva.v & (span - 1)));
    return WALK_OK;
}

enum walk_result guest_walk(struct vm *vm, const struct guest_paging *paging, gva_t gva,
                            struct guest_walk *walk)
{
    if (LIKELY(paging->efer & EFER_LMA))
        return walk_4_level(vm, paging, gva, walk);
    if (paging->cr0 & CR0_PG)
        return WALK_UNSUPPORTED;
    *walk = (struct guest_walk){.gpa = GPA(gva.v & 0xffffffffu), .writable = true, .user = true};
    return WALK_OK;
}
