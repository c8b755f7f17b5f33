/* The paging modes of a guest by hand: formats, reserved bits, where tables may lie, what a leaf says about types. */
#include "tests/unit/paging_kit.h"

#include <string.h>

#include "tests/fake/window.h"

static void test_page_lengths(void **state)
{
    (void)state;
    for (enum pg_mode mode = PG_TWO; mode < PG_MODES; mode++)
        for (unsigned level = 1; level <= pg_levels_of(mode); level++) {
            uint64_t last = BIT(pg_span_shift(mode, level)) - 1, gpa = 0x40000000;
            struct guest_walk found;

            if (!pg_can_be_leaf(mode, level))
                continue;
            pg_set_mode(mode);
            pg_chain(mode, PG_GVA, level, gpa | PG_RW);
            pg_expect_ok(PG_GVA, gpa | (PG_GVA & last), level);
            pg_expect_ok(PG_GVA & ~last, gpa, level);
            pg_expect_ok(PG_GVA | last, gpa | last, level);
            pg_expect((PG_GVA | last) + 1, WALK_NOT_PRESENT);
            pg_expect((PG_GVA & ~last) - 1, WALK_NOT_PRESENT);
            assert_int_equal(guest_walk(&kit.vm, &pg_how, GVA(PG_GVA), &found), WALK_OK);
            assert_int_equal(found.entry, gpa | PG_RW | (level > 1 ? PTE_PS : 0));
            if (mode != PG_FOUR) /* bits above 31 are not part of the address */
                pg_expect_ok(PG_GVA | 0xffffffff00000000ull, gpa | (PG_GVA & last), level);
            else
                pg_expect(PG_GVA | BIT(40), WALK_NOT_PRESENT);
        }
}

/* The highest index of every table, and the first bytes of all. */
static void test_borders(void **state)
{
    const uint64_t gvas[] = {0,          0xfffff000, 0x003ff000, 0x00400000, 0x001ff000,
                             0x00200000, 0x3ffff000, 0x40000000, 0xc0000000, 0x7ffff000};

    (void)state;
    for (enum pg_mode mode = PG_TWO; mode < PG_MODES; mode++)
        for (unsigned i = 0; i < ARRAY_COUNT(gvas); i++) {
            pg_set_mode(mode);
            pg_chain(mode, gvas[i], 1, 0x7000 | PG_RW);
            pg_expect_ok(gvas[i], 0x7000, 1);
            pg_expect_ok(gvas[i] + 0xfff, 0x7fff, 1);
            pg_expect((gvas[i] - 1) & 0xffffffff, WALK_NOT_PRESENT);
            pg_expect((gvas[i] + 0x1000) & 0xffffffff, WALK_NOT_PRESENT);
        }
}

/* Bit 7 of a directory entry is nothing without CR4.PSE. */
static void test_without_pse(void **state)
{
    uint64_t entry;

    (void)state;
    hv_caps.physical_bits = 40; /* so that the table's address is one of a page too */
    pg_set_mode(PG_TWO_PSE);
    pg_chain(PG_TWO_PSE, PG_GVA, 1, 0x5000 | PG_RW | BIT(7)); /* a PAT bit at this level */
    pg_expect_ok(PG_GVA, 0x5abc, 1);
    entry = pg_load(pg_entry_at(PG_TWO_PSE, PG_GVA, 2), 4);
    pg_store(pg_entry_at(PG_TWO_PSE, PG_GVA, 2), 4, entry | PTE_PS);
    pg_expect_ok(PG_GVA, (entry & 0xffc00000) | 0x100000000ull * (entry >> 13 & 0xff) | 0x2f7abc,
                 2);
    pg_how.cr4 = 0;
    pg_expect_ok(PG_GVA, 0x5abc, 1);
}

static void test_four_mib_high(void **state)
{
    (void)state;
    pg_set_mode(PG_TWO_PSE);
    for (unsigned bits = 36; bits <= 46; bits++) {
        unsigned usable = bits < 40 ? bits : 40;

        hv_caps.physical_bits = (uint8_t)bits;
        for (unsigned bit = 13; bit <= 21; bit++) {
            pg_chain(PG_TWO_PSE, PG_GVA, 2, 0x12400000 | PG_RW | BIT(bit) | BIT(12));
            if (bit + 19 < usable)
                pg_expect_ok(PG_GVA, BIT(bit + 19) | 0x12400000 | (PG_GVA & 0x3fffff), 2);
            else
                pg_expect(PG_GVA, WALK_RESERVED);
        }
    }
}

/* Every bit of every entry, alone; a bit that turns a table entry into a leaf is left to the others. */
static void test_each_bit(enum pg_mode mode, unsigned leaf, bool nxe, unsigned bits)
{
    pg_set_mode(mode);
    pg_how.efer = (pg_how.efer & ~EFER_NXE) | (nxe ? EFER_NXE : 0);
    hv_caps.physical_bits = (uint8_t)bits;
    pg_chain(mode, PG_GVA, leaf, PG_RW);
    for (unsigned level = pg_levels_of(mode); level >= leaf; level--)
        for (unsigned bit = 1; bit < pg_entry_bytes(mode) * 8; bit++) {
            uint64_t at = pg_entry_at(mode, PG_GVA, level),
                     kept = pg_load(at, pg_entry_bytes(mode));
            bool large = level == leaf && leaf > 1;
            enum walk_result result = WALK_OK;
            struct guest_walk found;

            if (bit == 7 && level > 1 && (large || pg_can_be_leaf(mode, level)))
                continue;
            if (pg_must_be_zero(mode, level, large, nxe, bits) & BIT(bit))
                result = WALK_RESERVED;
            else if (level > leaf && bit >= 12 && (mode < PG_PAE ? bit < 32 : bit < bits))
                continue; /* another table */
            pg_store(at, pg_entry_bytes(mode), kept ^ BIT(bit));
            assert_int_equal(guest_walk(&kit.vm, &pg_how, GVA(PG_GVA), &found), result);
            pg_store(at, pg_entry_bytes(mode), (kept ^ BIT(bit)) & ~PTE_P);
            pg_expect(PG_GVA, WALK_NOT_PRESENT); /* of an entry that is not there no bit counts */
            pg_store(at, pg_entry_bytes(mode), kept);
        }
    pg_expect_ok(PG_GVA, PG_GVA & (BIT(pg_span_shift(mode, leaf)) - 1), leaf);
}

static void test_reserved_bits(void **state)
{
    const unsigned bits[] = {36, 39, 40, 46, 52};

    (void)state;
    for (enum pg_mode mode = PG_TWO; mode < PG_MODES; mode++)
        for (unsigned leaf = 1; leaf <= pg_levels_of(mode); leaf++)
            for (unsigned i = 0; i < 2 * ARRAY_COUNT(bits) && pg_can_be_leaf(mode, leaf); i++)
                test_each_bit(mode, leaf, i & 1, bits[i / 2]);
}

/* Flags, and what a CR3 written in 64-bit mode leaves in its upper half. */
static void test_cr3_bits(void **state)
{
    const uint64_t ignored[PG_MODES] = {[PG_TWO] = ~BITS(31, 12),
                                        [PG_TWO_PSE] = ~BITS(31, 12),
                                        [PG_PAE] = ~BITS(31, 5),
                                        [PG_FOUR] = ~BITS(51, 12)};

    (void)state;
    for (enum pg_mode mode = PG_TWO; mode < PG_MODES; mode++)
        for (unsigned bit = 0; bit < 64; bit++) {
            pg_set_mode(mode);
            pg_chain(mode, PG_GVA, 1, 0x5000 | PG_RW);
            pg_how.cr3 ^= BIT(bit);
            if (ignored[mode] & BIT(bit))
                pg_expect_ok(PG_GVA, 0x5abc, 1);
            else
                pg_expect(PG_GVA, WALK_NOT_PRESENT);
        }
    for (uint64_t at = PG_ROOT; at < PG_ROOT + PAGE_BYTES;
         at += 32) { /* PAE's root is 32 bytes anywhere */
        pg_set_mode(PG_PAE);
        memset(kit_byte(PG_ROOT), 0xff, PAGE_BYTES);
        pg_how.cr3 = at;
        pg_chain(PG_PAE, PG_GVA, 1, 0x5000 | PG_RW);
        pg_expect_ok(PG_GVA, 0x5abc, 1);
        pg_expect(PG_GVA ^ BIT(30), WALK_NOT_PRESENT);
    }
}

/* The CPU's copy counts, whatever has become of memory. */
static void test_held_pdptes(void **state)
{
    struct vp_state vp = {.cr0 = CR0_PE | CR0_PG, .cr4 = CR4_PAE, .has_pdpte = true};
    uint64_t table;

    (void)state;
    pg_set_mode(PG_PAE);
    pg_chain(PG_PAE, PG_GVA, 1, 0x5000 | PG_RW);
    table = pg_load(pg_entry_at(PG_PAE, PG_GVA, 3), 8);
    memset(kit_byte(PG_ROOT), 0xff, 32);
    pg_how = vp_paging(&vp);
    pg_how.cr3 = KIT_LOW_BYTES; /* not even there */
    pg_expect(PG_GVA, WALK_NOT_PRESENT);
    vp.pdpte[2] = table;
    pg_expect_ok(PG_GVA, 0x5abc, 1);
    for (unsigned i = 0; i < 4; i++)
        if (i != 2)
            pg_expect((PG_GVA & BITS(29, 0)) | i << 30, WALK_NOT_PRESENT);
    guest_walk_mark(&kit.vm, &pg_how, GVA(PG_GVA), true);
    assert_int_equal(vp.pdpte[2], table);
    assert_int_equal(pg_load(pg_entry_at(PG_PAE, PG_GVA, 1), 8), 0x5000 | PG_RW | PTE_A | PTE_D);
    vp.pdpte[2] |= BIT(6);
    pg_expect(PG_GVA, WALK_RESERVED);
    vp.has_pdpte = false;
    pg_how = vp_paging(&vp);
    assert_null(pg_how.pdpte);
}

/* ---- where tables lie ---- */

static void test_end_of_ram(void **state)
{
    (void)state;
    for (enum pg_mode mode = PG_TWO; mode < PG_MODES; mode++) {
        unsigned tables = pg_levels_of(mode) - 1;

        pg_set_mode(mode);
        pg_chain_in(mode, KIT_LOW_BYTES - tables * PAGE_BYTES, 0xfffffabc, 1, 0x5000 | PG_RW);
        pg_expect_ok(0xfffffabc, 0x5abc, 1); /* the last entry is in the last bytes */
        guest_walk_mark(&kit.vm, &pg_how, GVA(0xfffffabc), false);
        assert_int_equal(pg_load(KIT_LOW_BYTES - pg_entry_bytes(mode), pg_entry_bytes(mode)),
                         0x5000 | PG_RW | PTE_A);
        pg_store(pg_entry_at(mode, 0xfffffabc, pg_levels_of(mode)), pg_entry_bytes(mode),
                 KIT_LOW_BYTES | (mode == PG_PAE ? PTE_P : PG_RW));
        pg_expect(0xfffffabc, WALK_NOT_PRESENT);
        pg_how.cr3 = KIT_LOW_BYTES;
        pg_expect(0xfffffabc, WALK_NOT_PRESENT);
        if (mode < PG_PAE)
            continue;
        pg_how.cr3 = PG_ROOT;
        pg_chain_in(mode, KIT_HIGH, PG_GVA, 1, 0x5000 | PG_RW); /* tables above 4 GiB */
        pg_expect_ok(PG_GVA, 0x5abc, 1);
    }
}

/* Read through the window, each entry once; never written, while those in RAM are. */
static void test_direct_pages(void **state)
{
    (void)state;
    for (unsigned page = 0; page < 3; page++)
        kit_direct(page, PT_R | PT_W, MEMTYPE_UC);
    for (enum pg_mode mode = PG_TWO; mode < PG_MODES; mode++) {
        unsigned reads = fake_window.reads;

        pg_set_mode(mode);
        pg_chain_in(mode, KIT_BAR, PG_GVA, 1, 0x5000 | PG_RW);
        pg_expect_ok(PG_GVA, 0x5abc, 1);
        assert_int_equal(fake_window.reads - reads, pg_levels_of(mode) - 1);
        guest_walk_mark(&kit.vm, &pg_how, GVA(PG_GVA), true);
        assert_int_equal(pg_load(pg_entry_in(mode, KIT_BAR, PG_GVA, 1), pg_entry_bytes(mode)),
                         0x5000 | PG_RW);
        assert_int_equal((pg_load(pg_entry_at(mode, PG_GVA, pg_levels_of(mode)), 4) & PTE_A) != 0,
                         mode != PG_PAE);
    }
}

/* ---- memory types ---- */

/* Each leaf chooses one of eight PAT entries, with the bits that its length gives it. */
static void test_pat_index(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++)
        fake_backend.state.pat =
            i ? fake_backend.state.pat | (uint64_t)(i < 2 ? i : i & 4) << i * 8 : MEMTYPE_WB;
    for (enum pg_mode mode = PG_TWO; mode < PG_MODES; mode++)
        for (unsigned leaf = 1; leaf <= pg_levels_of(mode); leaf++)
            for (unsigned index = 0; index < 8 && pg_can_be_leaf(mode, leaf); index++) {
                uint64_t flags =
                    (uint64_t)(index & 3) << 3 | (index & 4 ? BIT(leaf == 1 ? 7 : 12) : 0);
                struct hv_memtype_report report;

                pg_set_mode(mode);
                pg_chain(mode, PG_GVA, leaf, PG_RW | flags);
                fake_backend.state.cr0 = pg_how.cr0;
                fake_backend.state.cr3 = pg_how.cr3;
                fake_backend.state.cr4 = pg_how.cr4;
                fake_backend.state.efer = pg_how.efer;
                assert_int_equal(hv_effective_memtype(&kit.vp, GVA(PG_GVA), &report), HV_OK);
                assert_true(report.translates);
                assert_int_equal(report.guest_level, leaf);
                assert_int_equal(report.pat_index, index);
                assert_int_equal(report.pwt | report.pcd << 1 | report.pat << 2, index);
                assert_int_equal(report.pat_type, (fake_backend.state.pat >> index * 8) & 7);
            }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_open, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_page_lengths),  TEST(test_borders),       TEST(test_without_pse),
        TEST(test_four_mib_high), TEST(test_reserved_bits), TEST(test_cr3_bits),
        TEST(test_held_pdptes),   TEST(test_end_of_ram),    TEST(test_direct_pages),
        TEST(test_pat_index),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
