/* Random tables of every paging mode: what they mean is said a second time in here, mode by mode, and compared. */
#include "tests/unit/paging_kit.h"

#include <string.h>

struct answer {
    enum walk_result result;
    uint64_t gpa, entry;
    unsigned level;
    uint64_t rights; /* PTE_W and PTE_U when all entries have it, PTE_XD when one has */
    unsigned used;
    uint64_t path[4]; /* the entries that have an accessed bit, leaf last */
};

/* The next entry, or false with the result. */
static bool next(struct answer *a, uint64_t at, unsigned bytes, uint64_t *entry)
{
    bool direct = at >= KIT_BAR && at < KIT_BAR + 2 * PAGE_BYTES;

    a->result = WALK_NOT_PRESENT;
    if (!direct && vm_ram_pointer(&kit.vm, GPA(at), bytes) == NULL)
        return false;
    *entry = pg_load(at, bytes);
    a->path[a->used++] = at;
    return *entry & 1;
}

static bool reserved(struct answer *a, uint64_t entry, uint64_t zero)
{
    if (!(entry & zero))
        return false;
    a->result = WALK_RESERVED;
    return true;
}

static void leaf_of(struct answer *a, unsigned level, uint64_t entry, uint64_t gpa)
{
    a->result = WALK_OK;
    a->level = level;
    a->entry = entry;
    a->gpa = gpa;
}

static void combine(struct answer *a, uint64_t entry)
{
    a->rights = (a->rights & entry & (PTE_W | PTE_U)) | ((a->rights | entry) & PTE_XD);
}

static void walk_two(struct answer *a, uint32_t gva)
{
    uint64_t pde, pte;

    if (!next(a, (pg_how.cr3 & 0xfffff000) + (gva >> 22) * 4, 4, &pde))
        return;
    combine(a, pde);
    if ((pg_how.cr4 & CR4_PSE) && (pde & 0x80)) {
        if (!reserved(a, pde, pg_must_be_zero(PG_TWO_PSE, 2, true, true, hv_caps.physical_bits)))
            leaf_of(a, 2, pde, (pde & 0xffc00000) | (pde & 0x1fe000) << 19 | (gva & 0x3fffff));
        return;
    }
    if (!next(a, (pde & 0xfffff000) + (gva >> 12 & 1023) * 4, 4, &pte))
        return;
    combine(a, pte);
    leaf_of(a, 1, pte, (pte & 0xfffff000) | (gva & 0xfff));
}

static void walk_pae(struct answer *a, uint32_t gva)
{
    const unsigned bits = hv_caps.physical_bits;
    bool nxe = pg_how.efer & EFER_NXE;
    uint64_t entry;

    if (pg_how.pdpte) {
        entry = pg_how.pdpte[gva >> 30];
        a->result = WALK_NOT_PRESENT;
        if (!(entry & 1))
            return;
    } else if (!next(a, (pg_how.cr3 & 0xffffffe0) + (gva >> 30) * 8, 8, &entry)) {
        return;
    }
    a->used = 0;
    if (reserved(a, entry, pg_must_be_zero(PG_PAE, 3, false, nxe, bits)) ||
        !next(a, (entry & BITS(51, 12)) + (gva >> 21 & 511) * 8, 8, &entry) ||
        reserved(a, entry, pg_must_be_zero(PG_PAE, 2, entry & 0x80, nxe, bits)))
        return;
    combine(a, entry);
    if (entry & 0x80) {
        leaf_of(a, 2, entry, (entry & BITS(51, 21)) | (gva & 0x1fffff));
        return;
    }
    if (!next(a, (entry & BITS(51, 12)) + (gva >> 12 & 511) * 8, 8, &entry) ||
        reserved(a, entry, pg_must_be_zero(PG_PAE, 1, false, nxe, bits)))
        return;
    combine(a, entry);
    leaf_of(a, 1, entry, (entry & BITS(51, 12)) | (gva & 0xfff));
}

static void walk_four(struct answer *a, uint64_t gva)
{
    uint64_t entry = pg_how.cr3;

    for (unsigned level = 4, shift = 39; level > 0; level--, shift -= 9) {
        bool large = level < 4 && level > 1;

        if (!next(a, (entry & BITS(51, 12)) + (gva >> shift & 511) * 8, 8, &entry))
            return;
        large = large && (entry & 0x80);
        if (reserved(a, entry,
                     pg_must_be_zero(PG_FOUR, level, large, pg_how.efer & EFER_NXE,
                                     hv_caps.physical_bits)))
            return;
        combine(a, entry);
        if (large || level == 1) {
            uint64_t offset = BIT(shift) - 1;

            leaf_of(a, level, entry, (entry & BITS(51, 12) & ~offset) | (gva & offset));
            return;
        }
    }
}

static struct answer second_opinion(enum pg_mode mode, uint64_t gva)
{
    struct answer a = {.rights = PTE_W | PTE_U};

    if (mode == PG_FOUR)
        walk_four(&a, gva);
    else if (mode == PG_PAE)
        walk_pae(&a, (uint32_t)gva);
    else
        walk_two(&a, (uint32_t)gva);
    return a;
}

#define CASES      40000u
#define POOL_PAGES 8u
#define POOL       (KIT_LOW_BYTES - POOL_PAGES * PAGE_BYTES)

/* Where an entry points: to the pool mostly, to the ends of RAM, direct pages, nowhere. */
static uint64_t random_target(void)
{
    static const uint64_t others[] = {
        KIT_LOW_BYTES, KIT_HIGH, KIT_BAR, KIT_BAR + PAGE_BYTES, KIT_BAR + 2 * PAGE_BYTES,
        BIT(45),       BIT(38)};
    unsigned word = (unsigned)(kit_random() % 64);

    return word < ARRAY_COUNT(others) ? others[word] : POOL + word % POOL_PAGES * PAGE_BYTES;
}

static uint64_t random_entry(enum pg_mode mode, unsigned level)
{
    uint64_t chance = kit_random(), flags = kit_random() & (PTE_XD | BITS(11, 1)), entry;

    if (mode == PG_PAE && level == 3)
        flags &= BITS(11, 9) | BITS(4, 3);
    if (chance % 4 != 0)
        flags |= PTE_W | PTE_U;
    if (chance / 4 % 4 != 0)
        flags &= ~PTE_XD;
    if (level > 1 && chance / 16 % 4 != 0)
        flags &= ~PTE_PS;
    if (level == 4 || (level == 3 && mode == PG_PAE))
        flags &= ~PTE_PS & (mode == PG_PAE ? ~(PTE_W | PTE_U) : ~0ull);
    entry = random_target() | flags | (chance / 64 % 32 != 0 ? PTE_P : 0);
    if (level > 1 && (flags & PTE_PS))
        entry = ALIGN_DOWN(entry, BIT(pg_span_shift(mode, level))) | (entry & (PTE_XD | 0xfff)) |
                (chance & BIT(12)) | (mode < PG_PAE ? chance & BITS(20, 13) : 0);
    return chance / 4096 % 16 == 0 ? entry ^ BIT(kit_random() % (pg_entry_bytes(mode) * 8)) : entry;
}

static uint64_t random_tables(enum pg_mode mode, uint64_t pdpte[4])
{
    uint64_t gva = kit_random(), table;

    pg_set_mode(mode);
    pg_how.cr3 =
        (mode == PG_PAE ? POOL + kit_random() % (POOL_PAGES * PAGE_BYTES) : random_target()) |
        (kit_random() & 0x1f);
    pg_how.cr0 ^= kit_random() & CR0_WP;
    pg_how.cr4 |= kit_random() & (CR4_SMEP | CR4_SMAP | (mode >= PG_PAE ? CR4_PSE : 0));
    if (kit_random() % 4 == 0)
        pg_how.efer ^= EFER_NXE;
    hv_caps.physical_bits = (uint8_t)(36 + kit_random() % 17);
    for (unsigned i = 0; i < 4; i++)
        pdpte[i] = random_entry(PG_PAE, 3);
    pg_how.pdpte = kit_random() % 2 ? pdpte : NULL; /* of no interest to the other modes */
    table = pg_how.cr3 & (mode == PG_PAE ? BITS(31, 5) : BITS(31, 12));
    for (unsigned level = pg_levels_of(mode); level > 0; level--) {
        unsigned index_bits = mode < PG_PAE ? 10 : 9, bytes = pg_entry_bytes(mode);
        uint64_t linear = mode == PG_FOUR ? gva : (uint32_t)gva, entry;
        uint64_t at =
            table + (linear >> pg_span_shift(mode, level) & (BIT(index_bits) - 1)) * bytes;

        if (mode == PG_PAE && level == 3 && pg_how.pdpte) {
            entry = pdpte[linear >> 30];
        } else {
            entry = random_entry(mode, level);
            if (at - KIT_BAR >= 2 * PAGE_BYTES && !vm_ram_pointer(&kit.vm, GPA(at), bytes))
                break;
            pg_store(at, bytes, entry);
        }
        table = entry & BITS(51, 12);
    }
    return gva;
}

static void compare_marks(enum pg_mode mode, uint64_t gva, const struct answer *a, bool write)
{
    static uint8_t ram[POOL_PAGES * PAGE_BYTES], bar[2 * PAGE_BYTES];

    memcpy(ram, kit_byte(POOL), sizeof(ram));
    memcpy(bar, kit_byte(KIT_BAR), sizeof(bar));
    guest_walk_mark(&kit.vm, &pg_how, GVA(gva), write);
    for (unsigned i = 0; i < a->used; i++) {
        bool last = i + 1 == a->used;

        if (a->path[i] >= POOL && a->path[i] < KIT_LOW_BYTES)
            ram[a->path[i] - POOL] |= (uint8_t)(PTE_A | (last && write ? PTE_D : 0));
        else if (a->path[i] >= KIT_HIGH)
            assert_true(pg_load(a->path[i], pg_entry_bytes(mode)) & PTE_A);
    }
    assert_memory_equal(kit_byte(POOL), ram, sizeof(ram));
    assert_memory_equal(kit_byte(KIT_BAR), bar, sizeof(bar));
}

static void test_second_opinion(void **state)
{
    unsigned seen[PG_MODES][3] = {{0}}, large = 0, allowed = 0;
    uint64_t pdpte[4];

    (void)state;
    for (unsigned page = 0; page < 2; page++)
        kit_direct(page, PT_R | PT_W, MEMTYPE_UC);
    for (unsigned i = 0; i < CASES; i++) {
        enum pg_mode mode = PG_TWO + i % (PG_MODES - PG_TWO);
        uint64_t gva = random_tables(mode, pdpte);
        const struct answer a = second_opinion(mode, gva);
        const struct guest_access access = pg_access_of((unsigned)kit_random());
        bool ok = a.result == WALK_OK && pg_manual_allows(a.rights, &access);
        struct guest_walk found;

        assert_int_equal(guest_walk(&kit.vm, &pg_how, GVA(gva), &found), a.result);
        pg_expect_translation(gva, &access, ok, a.gpa, pg_manual_error(a.result, &access));
        seen[mode][a.result]++;
        allowed += ok;
        if (a.result != WALK_OK)
            continue;
        large += a.level > 1;
        assert_int_equal(found.gpa.v, a.gpa);
        assert_int_equal(found.entry, a.entry);
        assert_int_equal(found.level, a.level);
        assert_int_equal(found.writable, (a.rights & PTE_W) != 0);
        assert_int_equal(found.user, (a.rights & PTE_U) != 0);
        assert_int_equal(found.no_execute, (a.rights & PTE_XD) != 0);
        compare_marks(mode, gva, &a, access.access & HV_ACCESS_WRITE);
    }
    for (enum pg_mode mode = PG_TWO; mode < PG_MODES; mode++)
        for (unsigned result = 0; result < 3; result++)
            assert_true(seen[mode][result] > CASES / 200 ||
                        (mode == PG_TWO && result == WALK_RESERVED && seen[mode][result] == 0));
    assert_true(large > CASES / 20 && allowed > CASES / 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_open, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_second_opinion),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
