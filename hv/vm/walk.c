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

/* What tells one paging mode from another (SDM 3A "Paging", tables of the formats). */
struct paging_mode {
    uint64_t root;         /* of CR3: where the top table is */
    uint64_t reserved;     /* 0 in every entry, besides address bits that the guest does not have */
    uint64_t top_reserved; /* 0 in the entries of the top table too */
    uint8_t levels, index_bits;
    uint8_t entry_bytes;
    uint8_t large_levels; /* bit n: bit PS makes a leaf at level n */
    bool plain_top;       /* the top entries hold no rights and no accessed bit */
};

/* APM 2 "Long-Mode Page Translation" wants bit 8 of a top entry to be 0 too, SDM 3A does not: docs/hardware.md. */
static const struct paging_mode mode_4_level = {.root = WALK_ADDR,
                                                .top_reserved = PTE_PS,
                                                .levels = 4,
                                                .index_bits = 9,
                                                .entry_bytes = 8,
                                                .large_levels = 1 << 3 | 1 << 2};
/*
 * The four top entries lie in 32 bytes. Bits 62:52 are nobody's in 4 levels, but reserved here. Bit 5 of a top entry is
 * too, but QEMU 7.2 sets it, as if it were an accessed bit.
 */
static const struct paging_mode mode_pae = {.root = BITS(31, 5),
                                            .reserved = BITS(62, 52),
                                            .top_reserved = PTE_XD | BITS(8, 6) | PTE_U | PTE_W,
                                            .levels = 3,
                                            .index_bits = 9,
                                            .entry_bytes = 8,
                                            .large_levels = 1 << 2,
                                            .plain_top = true};
/* Without and with CR4.PSE. */
static const struct paging_mode modes_32_bit[] = {
    {.root = BITS(31, 12), .levels = 2, .index_bits = 10, .entry_bytes = 4},
    {.root = BITS(31, 12), .levels = 2, .index_bits = 10, .entry_bytes = 4, .large_levels = 1 << 2},
};

/* NULL: no paging. */
static const struct paging_mode *mode_of(const struct guest_paging *paging)
{
    if (LIKELY(paging->efer & EFER_LMA))
        return &mode_4_level;
    if (!(paging->cr0 & CR0_PG))
        return NULL;
    return paging->cr4 & CR4_PAE ? &mode_pae : &modes_32_bit[(paging->cr4 & CR4_PSE) != 0];
}

/* Bits that must be 0 in every entry: 32-bit ones have none. */
static uint64_t reserved_bits(const struct paging_mode *mode, uint64_t efer)
{
    if (mode->entry_bytes == sizeof(uint32_t))
        return 0;
    return mode->reserved | (WALK_ADDR & (~0ull << hv_caps.physical_bits)) |
           (efer & EFER_NXE ? 0 : PTE_XD);
}

/*
 * A large leaf of `span` bytes: its address, or false when it has reserved bits. Bit 12 is its PAT bit. A 4 MiB page
 * has its address bits 39:32, as many as there are, in bits 20:13.
 */
static bool large_leaf(const struct paging_mode *mode, uint64_t entry, uint64_t span, gpa_t *gpa)
{
    const uint64_t high = BITS(20, 13);
    uint64_t below = WALK_ADDR & (span - 1) & ~BIT(12), above = 0;

    if (mode->entry_bytes == sizeof(uint32_t)) {
        above = FIELD_GET(high, entry);
        if (above >> (hv_caps.physical_bits - 32))
            return false;
        below &= ~high;
    }
    *gpa = GPA((entry & WALK_ADDR & ~(span - 1)) | above << 32);
    return (entry & below) == 0;
}

/* One entry, in one load. Tables lie in the first run of RAM nearly always. */
static inline bool load_entry(struct vm *vm, uint64_t at, unsigned bytes, uint64_t *entry)
{
    uint64_t offset = at - vm->ram[0].gpa.v;
    const void *ram;

    if (UNLIKELY(offset >= vm->ram[0].bytes)) {
        *entry = 0;
        return guest_physical_read(vm, GPA(at), entry, bytes);
    }
    ram = vm->ram[0].host + offset;
    *entry = bytes == sizeof(uint32_t) ? __atomic_load_n((const uint32_t *)ram, __ATOMIC_RELAXED)
                                       : __atomic_load_n((const uint64_t *)ram, __ATOMIC_RELAXED);
    return true;
}

/*
 * Set bits in an entry in RAM, in one locked exchange and only when it still is what the walk read: a guest that has
 * just taken it away must not find a bit set in what it put there. False: it has changed. Tables that are not in RAM
 * lie in direct pages, where the CPU could not have set the bits either.
 */
static bool mark_entry(struct vm *vm, uint64_t at, unsigned bytes, uint64_t entry, uint64_t bits)
{
    void *ram = vm_ram_pointer(vm, GPA(at), bytes);
    uint32_t narrow = (uint32_t)entry;

    if (ram == NULL || (entry & bits) == bits)
        return true;
    if (bytes == sizeof(narrow))
        return __atomic_compare_exchange_n((uint32_t *)ram, &narrow, narrow | (uint32_t)bits, false,
                                           __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return __atomic_compare_exchange_n((uint64_t *)ram, &entry, entry | bits, false,
                                       __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* `mark`: PTE_A, with PTE_D for a write, is set on the way; 0: nothing is. */
static enum walk_result walk_tables(struct vm *vm, const struct guest_paging *paging,
                                    const struct paging_mode *mode, uint64_t gva, uint64_t mark,
                                    struct guest_walk *walk)
{
    const uint64_t reserved = reserved_bits(mode, paging->efer);
    uint64_t table = paging->cr3 & mode->root, all = ~0ull, any = 0, entry, at, span;
    unsigned level = mode->levels;
    gpa_t page;

    for (;;) {
        unsigned shift = PAGE_SHIFT + mode->index_bits * (level - 1);
        uint64_t index = (gva >> shift) & (BIT(mode->index_bits) - 1);
        bool top = level == mode->levels, plain = top && mode->plain_top, leaf;

        at = table + index * mode->entry_bytes;
        if (plain && paging->pdpte)
            entry = paging->pdpte[index];
        else if (!load_entry(vm, at, mode->entry_bytes, &entry))
            return WALK_NOT_PRESENT;
        if (!(entry & PTE_P))
            return WALK_NOT_PRESENT;
        if (entry & (reserved | (top ? mode->top_reserved : 0)))
            return WALK_RESERVED;
        span = BIT(shift);
        page = GPA(entry & WALK_ADDR);
        leaf = level == 1 || ((entry & PTE_PS) && (mode->large_levels >> level & 1));
        if (leaf && level > 1 && !large_leaf(mode, entry, span, &page))
            return WALK_RESERVED;
        if (mark && !plain && !mark_entry(vm, at, mode->entry_bytes, entry, leaf ? mark : PTE_A))
            continue; /* what is there now? */
        all &= plain ? ~0ull : entry;
        any |= entry;
        if (leaf)
            break;
        table = page.v;
        level--;
    }
    *walk = (struct guest_walk){.gpa = GPA(page.v | (gva & (span - 1))),
                                .entry = entry,
                                .level = (uint8_t)level,
                                .writable = (all & PTE_W) != 0,
                                .user = (all & PTE_U) != 0,
                                .no_execute = (any & PTE_XD) != 0};
    return WALK_OK;
}

static uint64_t linear_address(const struct guest_paging *paging, gva_t gva)
{
    return paging->efer & EFER_LMA ? gva.v : (uint32_t)gva.v;
}

enum walk_result guest_walk(struct vm *vm, const struct guest_paging *paging, gva_t gva,
                            struct guest_walk *walk)
{
    const struct paging_mode *mode = mode_of(paging);
    uint64_t linear = linear_address(paging, gva);

    if (LIKELY(mode != NULL))
        return walk_tables(vm, paging, mode, linear, 0, walk);
    *walk = (struct guest_walk){.gpa = GPA(linear), .writable = true, .user = true};
    return WALK_OK;
}

void guest_walk_mark(struct vm *vm, const struct guest_paging *paging, gva_t gva, bool write)
{
    const struct paging_mode *mode = mode_of(paging);
    struct guest_walk walk;

    if (mode != NULL)
        walk_tables(vm, paging, mode, linear_address(paging, gva), PTE_A | (write ? PTE_D : 0),
                    &walk);
}

bool guest_allows(const struct guest_paging *paging, const struct guest_access *access,
                  const struct guest_walk *walk)
{
    bool fetch = access->access & HV_ACCESS_FETCH, write = access->access & HV_ACCESS_WRITE;

    if (walk->level == 0)
        return true;
    if (write && !walk->writable && (access->user || (paging->cr0 & CR0_WP)))
        return false;
    if (fetch && walk->no_execute)
        return false;
    if (!walk->user || access->user)
        return walk->user == access->user;
    return fetch ? !(paging->cr4 & CR4_SMEP) : !(paging->cr4 & CR4_SMAP) || access->smap_off;
}

bool guest_translate(struct vm *vm, const struct guest_paging *paging,
                     const struct guest_access *access, gva_t gva, gpa_t *gpa, uint32_t *error)
{
    /* A fetch is told apart only where the CPU can forbid one (SDM 3A "Interrupt 14"). */
    bool tells_fetch =
        (paging->cr4 & CR4_SMEP) || ((paging->cr4 & CR4_PAE) && (paging->efer & EFER_NXE));
    struct guest_walk walk;
    enum walk_result result = guest_walk(vm, paging, gva, &walk);

    if (LIKELY(result == WALK_OK && guest_allows(paging, access, &walk))) {
        *gpa = walk.gpa;
        return true;
    }
    *error = (result == WALK_NOT_PRESENT ? 0 : PF_PRESENT) |
             (result == WALK_RESERVED ? PF_RESERVED : 0) |
             (access->access & HV_ACCESS_WRITE ? PF_WRITE : 0) | (access->user ? PF_USER : 0) |
             (tells_fetch && (access->access & HV_ACCESS_FETCH) ? PF_FETCH : 0);
    return false;
}
