#include "hv/vm/walk.h"

#include "hv/base/piece.h"
#include "hv/mem/window.h"
#include "hv/x86/regs.h"

#define WALK_ADDR BITS(51, 12)

/* The leaf behind a page of a BAR, when it allows what is wanted. Guest RAM never comes here. */
static bool direct_page(const struct vm *vm, gpa_t gpa, uint8_t rights, struct pt_leaf *leaf)
{
    return vm_leaf_lookup(vm, gpa, leaf) && (leaf->attr.rights & rights) == rights;
}

static hpa_t leaf_address(const struct pt_leaf *leaf, gpa_t gpa)
{
    return HPA(leaf->frame.v + (gpa.v & PAGE_MASK));
}

bool guest_physical_read(struct vm *vm, gpa_t gpa, void *out, unsigned bytes)
{
    const void *ram = vm_ram_pointer(vm, gpa, bytes);
    struct pt_leaf leaf;

    if (LIKELY(ram != NULL)) {
        piece_copy(out, ram, bytes);
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
        piece_copy(ram, in, bytes);
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

/* One entry, in one load. Tables lie in the first run of RAM nearly always. */
static inline bool load_entry(struct vm *vm, uint64_t at, uint64_t *entry)
{
    uint64_t offset = at - vm->ram[0].gpa.v;

    if (UNLIKELY(offset >= vm->ram[0].bytes))
        return guest_physical_read(vm, GPA(at), entry, sizeof(*entry));
    *entry = __atomic_load_n((const uint64_t *)(const void *)(vm->ram[0].host + offset),
                             __ATOMIC_RELAXED);
    return true;
}

static enum walk_result walk_4_level(struct vm *vm, const struct guest_paging *paging, gva_t gva,
                                     struct guest_walk *walk)
{
    const uint64_t reserved = reserved_bits(paging), bit12 = BIT(12); /* a large leaf's PAT bit */
    uint64_t table = paging->cr3 & WALK_ADDR, all = ~0ull, entry, span;
    uint64_t index = gva.v << 16; /* its top 9 bits are the index; they move up level by level */
    unsigned level = 4;

    for (;; level--, index <<= 9) {
        if (!load_entry(vm, table + (index >> 55) * sizeof(entry), &entry) || !(entry & PTE_P))
            return WALK_NOT_PRESENT;
        if (entry & reserved)
            return WALK_RESERVED;
        all &= entry;
        table = entry & WALK_ADDR;
        if (level == 1 || (entry & PTE_PS))
            break;
    }
    span = pt_span(level);
    if (level == 4 || (level > 1 && (table & (span - 1) & ~bit12)))
        return WALK_RESERVED;
    *walk = (struct guest_walk){.gpa = GPA((table & ~(span - 1)) | (gva.v & (span - 1))),
                                .entry = entry,
                                .level = (uint8_t)level,
                                .writable = (all & PTE_W) != 0,
                                .user = (all & PTE_U) != 0};
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

/* Tables that are not in RAM lie in direct pages, where the CPU could not have set the bits either. */
void guest_walk_mark(struct vm *vm, const struct guest_paging *paging, gva_t gva, bool write)
{
    uint64_t table = paging->cr3 & WALK_ADDR, index = gva.v << 16;

    if (!(paging->efer & EFER_LMA))
        return;
    for (unsigned level = 4; level >= 1; level--, index <<= 9) {
        uint64_t *entry =
            vm_ram_pointer(vm, GPA(table + (index >> 55) * sizeof(*entry)), sizeof(*entry));
        uint64_t value;
        bool leaf;

        if (entry == NULL)
            return;
        value = __atomic_load_n(entry, __ATOMIC_RELAXED);
        leaf = level == 1 || (value & PTE_PS);
        __atomic_fetch_or(entry, PTE_A | (leaf && write ? PTE_D : 0), __ATOMIC_RELAXED);
        if (leaf)
            return;
        table = value & WALK_ADDR;
    }
}

bool guest_fetch_16(const struct vm *vm, uint64_t cr3, uint64_t rip, uint64_t bytes[2])
{
    const uint64_t ram_bytes = vm->ram[0].bytes;
    const uint8_t *ram = vm->ram[0].host; /* vm_create() puts it at guest-physical 0 */
    const uint8_t *code;
    uint64_t at = cr3 & WALK_ADDR, page = 0, entry;

#pragma GCC unroll 4
    for (unsigned shift = 39; shift >= PAGE_SHIFT; shift -= 9) {
        at += ((rip >> shift) & 511) * sizeof(entry);
        if (at >= ram_bytes)
            return false;
        entry = __atomic_load_n((const uint64_t *)(const void *)(ram + at), __ATOMIC_RELAXED);
        if (!(entry & PTE_P))
            return false;
        at = entry & WALK_ADDR;
        page = (1ull << shift) - 1;
        if (entry & PTE_PS) /* in a 4 KiB entry it is the PAT bit, and the last one anyway */
            break;
    }
    at = (at & ~page) + (rip & page);
    if ((rip & PAGE_MASK) > PAGE_BYTES - 16 || at >= ram_bytes)
        return false;
    code = ram + at;
    __builtin_memcpy(bytes, code, 16);
    return true;
}
