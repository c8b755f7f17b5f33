/* What a guest's tables allow, and the accessed and dirty bits that an access leaves. */
#include "tests/unit/paging_kit.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Every entry has a say, but PAE's top. */
static void test_rights_of_entries(void **state)
{
    (void)state;
    for (enum pg_mode mode = PG_TWO; mode < PG_MODES; mode++)
        for (unsigned leaf = 1; leaf <= pg_levels_of(mode); leaf++) {
            unsigned top = mode == PG_PAE ? 2 : pg_levels_of(mode);
            struct guest_walk found;

            if (!pg_can_be_leaf(mode, leaf))
                continue;
            pg_set_mode(mode);
            pg_chain(mode, PG_GVA, leaf, PG_RW);
            assert_int_equal(guest_walk(&kit.vm, &pg_how, GVA(PG_GVA), &found), WALK_OK);
            assert_true(found.writable && found.user && !found.no_execute);
            for (unsigned level = leaf; level <= top; level++) {
                static const uint64_t bits[] = {PTE_W, PTE_U, PTE_XD};
                uint64_t at = pg_entry_at(mode, PG_GVA, level),
                         kept = pg_load(at, pg_entry_bytes(mode));

                for (unsigned i = 0; i < (mode < PG_PAE ? 2 : 3); i++) {
                    pg_store(at, pg_entry_bytes(mode), kept ^ bits[i]);
                    assert_int_equal(guest_walk(&kit.vm, &pg_how, GVA(PG_GVA), &found), WALK_OK);
                    assert_int_equal(found.writable, i != 0);
                    assert_int_equal(found.user, i != 1);
                    assert_int_equal(found.no_execute, i == 2);
                }
                pg_store(at, pg_entry_bytes(mode), kept);
            }
        }
}

static void rights_everywhere(enum pg_mode mode, unsigned word)
{
    const uint64_t leaf = PTE_P | (word & 1 ? PTE_W : 0) | (word & 2 ? PTE_U : 0) |
                          (word & 4 && mode >= PG_PAE && word & 64 ? PTE_XD : 0);

    pg_set_mode(mode);
    pg_how.cr0 = (pg_how.cr0 & ~CR0_WP) | (word & 8 ? CR0_WP : 0);
    pg_how.cr4 |= (word & 16 ? CR4_SMEP : 0) | (word & 32 ? CR4_SMAP : 0);
    pg_how.efer = (pg_how.efer & ~EFER_NXE) | (word & 64 ? EFER_NXE : 0);
    pg_chain(mode, PG_GVA, 1, 0x5000 | leaf);
    for (unsigned i = 0; i < 16; i++) {
        const struct guest_access access = pg_access_of(i);

        pg_expect_translation(PG_GVA, &access, pg_manual_allows(leaf, &access), 0x5abc,
                              pg_manual_error(WALK_OK, &access));
        pg_expect_translation(PG_GVA + 0x1000, &access, false, 0,
                              pg_manual_error(WALK_NOT_PRESENT, &access));
    }
}

static void test_rights(void **state)
{
    (void)state;
    for (enum pg_mode mode = PG_TWO; mode < PG_MODES; mode++)
        for (unsigned word = 0; word < 128; word++)
            rights_everywhere(mode, word);
}

/* The same by hand, for those who do not trust the list above. */
static void test_rights_by_hand(void **state)
{
    static const struct {
        uint64_t leaf, cr0, cr4;
        struct guest_access access;
        bool allowed;
        uint32_t error;
    } rows[] = {
        {0, 0, 0, {HV_ACCESS_READ, false, false}, true, 0},
        {0, 0, 0, {HV_ACCESS_WRITE, false, false}, true, 0}, /* without WP a supervisor may */
        {0, CR0_WP, 0, {HV_ACCESS_WRITE, false, false}, false, 0x3},
        {0, 0, 0, {HV_ACCESS_READ, true, false}, false, 0x5},
        {PTE_W, 0, 0, {HV_ACCESS_WRITE, true, false}, false, 0x7},
        {PTE_U, 0, 0, {HV_ACCESS_READ, true, false}, true, 0},
        {PTE_U, 0, 0, {HV_ACCESS_WRITE, true, false}, false, 0x7},
        {PTE_U | PTE_W, 0, 0, {HV_ACCESS_WRITE, true, false}, true, 0},
        {PTE_U, 0, CR4_SMAP, {HV_ACCESS_READ, false, false}, false, 0x1},
        {PTE_U, 0, CR4_SMAP, {HV_ACCESS_READ, false, true}, true, 0},
        {PTE_U, CR0_WP, CR4_SMAP, {HV_ACCESS_WRITE, false, true}, false, 0x3},
        {PTE_U, 0, CR4_SMAP, {HV_ACCESS_WRITE, false, true}, true, 0},
        {PTE_U, 0, CR4_SMAP, {HV_ACCESS_READ, true, false}, true, 0}, /* not the user's business */
        {PTE_U, 0, CR4_SMAP, {HV_ACCESS_FETCH, false, false}, true, 0},
        {PTE_U, 0, CR4_SMEP, {HV_ACCESS_FETCH, false, true}, false, 0x11},
        {PTE_U, 0, CR4_SMEP, {HV_ACCESS_READ, false, false}, true, 0},
        {0, 0, CR4_SMEP, {HV_ACCESS_FETCH, false, false}, true, 0},
        {PTE_XD, 0, 0, {HV_ACCESS_FETCH, false, false}, false, 0x11},
        {PTE_XD, 0, 0, {HV_ACCESS_READ, false, false}, true, 0},
        {PTE_U | PTE_XD, 0, 0, {HV_ACCESS_FETCH, true, false}, false, 0x15},
        {0, 0, 0, {HV_ACCESS_FETCH, true, false}, false, 0x15},
        {PTE_U | BIT(51), 0, 0, {HV_ACCESS_READ | HV_ACCESS_WRITE, true, false}, false, 0xf},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
        pg_set_mode(PG_FOUR);
        pg_how.cr0 = CR0_PE | CR0_PG | rows[i].cr0;
        pg_how.cr4 |= rows[i].cr4;
        pg_chain(PG_FOUR, PG_GVA, 1, 0x5000 | PTE_P | rows[i].leaf);
        pg_expect_translation(PG_GVA, &rows[i].access, rows[i].allowed, 0x5abc, rows[i].error);
    }
    pg_set_mode(PG_TWO); /* no bit 63 here, and no word about fetches */
    pg_chain(PG_TWO, PG_GVA, 1, 0x5000 | PTE_P);
    pg_expect_translation(PG_GVA, &(struct guest_access){HV_ACCESS_FETCH, true, false}, false, 0,
                          0x5);
    pg_how.cr4 |= CR4_SMEP;
    pg_expect_translation(PG_GVA, &(struct guest_access){HV_ACCESS_FETCH, true, false}, false, 0,
                          0x15);
    pg_set_mode(PG_FOUR);
    pg_how.efer &= ~EFER_NXE;
    pg_chain(PG_FOUR, PG_GVA, 1, 0x5000 | PTE_P);
    pg_expect_translation(PG_GVA, &(struct guest_access){HV_ACCESS_FETCH, true, false}, false, 0,
                          0x5);
}

/* Without paging CR4 forbids nothing, and there is nothing to mark. */
static void test_no_paging(void **state)
{
    const uint64_t gva = 0xffffffff12345678ull;
    struct guest_walk found;

    (void)state;
    pg_set_mode(PG_NONE);
    pg_how.cr4 = CR4_SMEP | CR4_SMAP | CR4_PAE | CR4_PSE;
    pg_how.efer |= EFER_LME; /* enabled, not yet active */
    memset(kit_byte(PG_ROOT), 0xff, PAGE_BYTES);
    for (unsigned i = 0; i < 16; i++) {
        const struct guest_access access = pg_access_of(i);

        pg_expect_translation(gva, &access, true, 0x12345678, 0);
    }
    assert_int_equal(guest_walk(&kit.vm, &pg_how, GVA(gva), &found), WALK_OK);
    assert_true(found.writable && found.user && !found.no_execute);
    assert_int_equal(found.level | found.entry, 0);
    pg_store(PG_ROOT, 8, PTE_P);
    guest_walk_mark(&kit.vm, &pg_how, GVA(0), true);
    assert_int_equal(pg_load(PG_ROOT, 8), PTE_P);
}

/* ---- accessed and dirty ---- */

static void test_marks(void **state)
{
    (void)state;
    for (enum pg_mode mode = PG_TWO; mode < PG_MODES; mode++)
        for (unsigned leaf = 1; leaf <= pg_levels_of(mode); leaf++) {
            unsigned bytes = pg_entry_bytes(mode);

            if (!pg_can_be_leaf(mode, leaf))
                continue;
            for (unsigned write = 0; write < 2; write++) {
                pg_set_mode(mode);
                pg_chain(mode, PG_GVA, leaf, PG_RW);
                for (unsigned level = leaf; level <= pg_levels_of(mode); level++) /* a neighbour */
                    pg_store(pg_entry_at(mode, PG_GVA, level) + bytes, bytes, 0x11110018);
                guest_walk_mark(&kit.vm, &pg_how, GVA(PG_GVA), write);
                for (unsigned level = leaf; level <= pg_levels_of(mode); level++) {
                    uint64_t entry = pg_load(pg_entry_at(mode, PG_GVA, level), bytes);
                    bool none = mode == PG_PAE && level == 3;

                    assert_int_equal((entry & PTE_A) != 0, !none);
                    assert_int_equal((entry & PTE_D) != 0, level == leaf && write);
                    assert_int_equal(pg_load(pg_entry_at(mode, PG_GVA, level) + bytes, bytes),
                                     0x11110018);
                }
            }
        }
}

/* Of the leaf, write-protected until the first store to it. */
static uint8_t *table;
static uint64_t *leaf_word, change;
static unsigned stores;

/* Another CPU is faster: it has changed the entry between the walk's load and the store that comes now. */
static void overtake(int signal)
{
    (void)signal;
    if (mprotect(table, PAGE_BYTES, PROT_READ | PROT_WRITE) != 0)
        abort();
    *leaf_word ^= change;
    stores++;
}

/* `marked`: the entry's bits after all, when the other CPU has changed `bits` of it. */
static void overtaken(enum pg_mode mode, uint64_t bits, uint64_t marked)
{
    const uint64_t gva = PG_GVA & ~PAGE_BYTES, entry = 0x5000 | PG_RW;
    uint64_t at;

    pg_set_mode(mode);
    pg_chain(mode, gva, 1, entry);
    at = pg_entry_at(mode, gva, 1);
    assert_int_equal(at % sizeof(*leaf_word), 0);
    leaf_word = (uint64_t *)(void *)kit_byte(at);
    table = kit_byte(ALIGN_DOWN(at, PAGE_BYTES));
    change = bits;
    stores = 0;
    for (unsigned i = 0; i < 2; i++) { /* the second time there is nothing to store */
        assert_int_equal(mprotect(table, PAGE_BYTES, PROT_READ), 0);
        guest_walk_mark(&kit.vm, &pg_how, GVA(gva), true);
        assert_int_equal(stores, 1);
        assert_int_equal(pg_load(at, pg_entry_bytes(mode)), (entry ^ bits) | marked);
    }
    assert_int_equal(mprotect(table, PAGE_BYTES, PROT_READ | PROT_WRITE), 0);
}

static void test_marks_beside_stores(void **state)
{
    const struct sigaction action = {.sa_handler = overtake};
    struct sigaction before;

    (void)state;
    assert_int_equal(sigaction(SIGSEGV, &action, &before), 0);
    for (enum pg_mode mode = PG_TWO; mode < PG_MODES; mode++) {
        overtaken(mode, BIT(9), PTE_A | PTE_D);
        overtaken(mode, PTE_P, 0); /* it is not an entry any more, and nobody's to change */
    }
    assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_open, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rights_of_entries), TEST(test_rights), TEST(test_rights_by_hand),
        TEST(test_no_paging),         TEST(test_marks),  TEST(test_marks_beside_stores),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
