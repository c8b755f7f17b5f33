/*
 * The walk of a guest's page tables: every level, reserved bits, rights, where tables may lie; the short walk for
 * code against the long one; why an address has its memory type.
 */
#include "tests/unit/vm_kit.h"

#include <string.h>

#include "hv/vm/walk.h"
#include "tests/fake/window.h"

#define GVA_1   0x0000123456789abcull
#define BITS_RW (PTE_P | PTE_W | PTE_U)

static struct guest_paging paging(void)
{
    struct guest_paging paging = vp_paging(&fake_backend.state);

    paging.cr3 = kit.cr3;
    return paging;
}

static enum walk_result walk(uint64_t gva, struct guest_walk *found)
{
    const struct guest_paging how = paging();

    memset(found, 0xa5, sizeof(*found));
    return guest_walk(&kit.vm, &how, GVA(gva), found);
}

static void expect_ok(uint64_t gva, uint64_t gpa, unsigned level)
{
    struct guest_walk found;

    assert_int_equal(walk(gva, &found), WALK_OK);
    assert_int_equal(found.gpa.v, gpa);
    assert_int_equal(found.level, level);
    assert_int_equal(found.entry, *kit_entry(gva, level));
}

static void expect_absent(uint64_t gva)
{
    struct guest_walk found;

    assert_int_equal(walk(gva, &found), WALK_NOT_PRESENT);
}

static void expect_reserved(uint64_t gva)
{
    struct guest_walk found;

    assert_int_equal(walk(gva, &found), WALK_RESERVED);
}

static void test_sizes(void **state)
{
    (void)state;
    for (unsigned level = 1; level <= 3; level++) {
        uint64_t mask = pt_span(level) - 1, gpa = 0x1240000000ull;

        memset(kit_byte(kit.cr3), 0, PAGE_BYTES);
        kit_map(GVA_1, gpa, level, BITS_RW);
        expect_ok(GVA_1, gpa | (GVA_1 & mask), level);
        expect_ok(GVA_1 & ~mask, gpa, level);
        expect_ok(GVA_1 | mask, gpa | mask, level);
        expect_absent((GVA_1 | mask) + 1);
        expect_absent((GVA_1 & ~mask) - 1);
    }
}

/* Each of the 512 entries at each level is the one that its nine bits name. */
static void test_index(void **state)
{
    (void)state;
    for (unsigned level = 1; level <= 3; level++)
        for (unsigned index = 0; index < 512; index += 73) {
            uint64_t gva = index * pt_span(level), gpa = index * pt_span(3);

            memset(kit_byte(kit.cr3), 0, PAGE_BYTES);
            kit_map(gva, gpa & (BIT(KIT_PHYSICAL_BITS) - 1), level, BITS_RW);
            expect_ok(gva + 5, (gpa & (BIT(KIT_PHYSICAL_BITS) - 1)) + 5, level);
        }
    kit_map(0xffffff8000000000ull, 0x5000, 1,
            BITS_RW); /* the upper half: bits above 47 do not count */
    expect_ok(0xffffff8000000123ull, 0x5123, 1);
}

static void test_not_present(void **state)
{
    (void)state;
    kit_map(GVA_1, 0x5000, 1, BITS_RW);
    for (unsigned level = 1; level <= 4; level++) {
        uint64_t *entry = kit_entry(GVA_1, level);

        *entry ^= PTE_P;
        expect_absent(GVA_1);
        *entry ^= PTE_P;
        expect_ok(GVA_1, 0x5000 | (GVA_1 & PAGE_MASK), 1);
    }
}

static void test_reserved_bits(void **state)
{
    (void)state;
    kit_map(GVA_1, 0x5000, 1, BITS_RW);
    for (unsigned bits = 36; bits <= 52; bits += 4) {
        hv_caps.physical_bits = (uint8_t)bits;
        for (unsigned level = 1; level <= 4; level++)
            for (unsigned bit = 52; bit-- > bits;) {
                *kit_entry(GVA_1, level) ^= BIT(bit);
                expect_reserved(GVA_1);
                *kit_entry(GVA_1, level) ^= BIT(bit);
            }
        *kit_entry(GVA_1, 1) |= BIT(bits - 1); /* the highest that is an address bit */
        expect_ok(GVA_1, 0x5000 | BIT(bits - 1) | (GVA_1 & PAGE_MASK), 1);
        *kit_entry(GVA_1, 1) &= ~BIT(bits - 1);
    }
}

/* Bits that software owns, the flags of caching and the A, D and G bits are nobody's reserved bits. */
static void test_ignored_bits(void **state)
{
    const uint64_t leaf = BITS(62, 52) | BITS(11, 8) | PTE_A | PTE_D | BIT(3) | BIT(4) | PTE_PS;

    (void)state;
    kit_map(GVA_1, 0x5000, 1, BITS_RW | leaf); /* bit 7 is the PAT bit here */
    for (unsigned level = 2; level <= 4; level++)
        *kit_entry(GVA_1, level) |= leaf & ~PTE_PS;
    expect_ok(GVA_1, 0x5000 | (GVA_1 & PAGE_MASK), 1);
}

static void test_execute_disable(void **state)
{
    (void)state;
    kit_map(GVA_1, 0x5000, 1, BITS_RW);
    for (unsigned level = 1; level <= 4; level++) {
        *kit_entry(GVA_1, level) ^= PTE_XD;
        expect_ok(GVA_1, 0x5000 | (GVA_1 & PAGE_MASK), 1);
        fake_backend.state.efer &= ~EFER_NXE;
        expect_reserved(GVA_1);
        fake_backend.state.efer |= EFER_NXE;
        *kit_entry(GVA_1, level) ^= PTE_XD;
    }
}

static void test_large_pages(void **state)
{
    (void)state;
    for (unsigned level = 2; level <= 3; level++) {
        uint64_t span = pt_span(level), gpa = 2 * span;

        memset(kit_byte(kit.cr3), 0, PAGE_BYTES);
        kit_map(GVA_1, gpa, level, BITS_RW);
        for (uint64_t bit = BIT(12); bit < span; bit <<= 1) {
            *kit_entry(GVA_1, level) ^= bit;
            if (bit == BIT(12)) /* the PAT bit: no part of the address */
                expect_ok(GVA_1, gpa | (GVA_1 & (span - 1)), level);
            else
                expect_reserved(GVA_1);
            *kit_entry(GVA_1, level) ^= bit;
        }
    }
    *kit_entry(GVA_1, 4) |= PTE_PS; /* there are no 512 GiB pages */
    expect_reserved(GVA_1);
    *kit_entry(GVA_1, 4) = KIT_LINK | PTE_PS; /* aligned as one would be */
    expect_reserved(GVA_1);
}

static void test_rights(void **state)
{
    (void)state;
    kit_map(GVA_1, 0x5000, 1, BITS_RW);
    for (unsigned clear = 0; clear < 256; clear++) { /* two bits for each of four levels */
        struct guest_walk found;

        for (unsigned level = 1; level <= 4; level++) {
            uint64_t *entry = kit_entry(GVA_1, level);

            *entry = (*entry & ~(PTE_W | PTE_U)) | (clear >> (level - 1) & 1 ? 0 : PTE_W) |
                     (clear >> (level + 3) & 1 ? 0 : PTE_U);
        }
        assert_int_equal(walk(GVA_1, &found), WALK_OK);
        assert_int_equal(found.writable, (clear & 15) == 0);
        assert_int_equal(found.user, (clear >> 4) == 0);
    }
}

/* ---- where tables lie ---- */

/* Link `levels` entries above the leaf to a fresh chain of tables that starts at `at`. */
static void tables_at(uint64_t at)
{
    kit.next_table = at;
    memset(kit_byte(kit.cr3), 0, PAGE_BYTES);
    kit_map(GVA_1, 0x5000, 1, BITS_RW);
}

static void test_tables_high(void **state)
{
    (void)state;
    tables_at(KIT_HIGH);
    expect_ok(GVA_1, 0x5000 | (GVA_1 & PAGE_MASK), 1);
    kit.cr3 = KIT_HIGH + KIT_HIGH_BYTES - PAGE_BYTES; /* the root too, in the last page of all */
    tables_at(KIT_HIGH);
    expect_ok(GVA_1, 0x5000 | (GVA_1 & PAGE_MASK), 1);
    assert_int_equal(fake_window.reads, 0);
}

static void test_tables_in_bar(void **state)
{
    unsigned reads = fake_window.reads;

    (void)state;
    for (unsigned page = 0; page < 4; page++)
        kit_direct(page, PT_R | PT_W, MEMTYPE_WT);
    kit.cr3 = KIT_BAR;
    tables_at(KIT_BAR + PAGE_BYTES);
    expect_ok(GVA_1, 0x5000 | (GVA_1 & PAGE_MASK), 1);
    assert_int_equal(fake_window.reads, reads + 4); /* each entry once, with the type in force */
    assert_int_equal(fake_window.last_type, MEMTYPE_WT);
    assert_int_equal(fake_window.last_bytes, sizeof(uint64_t));
    kit_direct(3, PT_R, MEMTYPE_UC);
    expect_ok(GVA_1, 0x5000 | (GVA_1 & PAGE_MASK), 1);
    for (unsigned page = 0; page < 4; page++) { /* a trapped page holds no table */
        kit_direct(page, 0, MEMTYPE_UC);
        expect_absent(GVA_1);
        kit_direct(page, PT_R, MEMTYPE_UC);
    }
}

static void test_tables_nowhere(void **state)
{
    const uint64_t nowhere[] = {KIT_LOW_BYTES, KIT_HIGH - PAGE_BYTES, KIT_HIGH + KIT_HIGH_BYTES,
                                BIT(38), BIT(47)};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(nowhere); i++) {
        tables_at(KIT_HIGH);
        for (unsigned level = 2; level <= 4; level++) {
            uint64_t *entry = kit_entry(GVA_1, level), kept = *entry;

            *entry = nowhere[i] | KIT_LINK;
            if (nowhere[i] >> hv_caps.physical_bits)
                expect_reserved(GVA_1); /* the guest has no such address */
            else
                expect_absent(GVA_1);
            *entry = kept;
            expect_ok(GVA_1, 0x5000 | (GVA_1 & PAGE_MASK), 1);
        }
    }
    kit.cr3 = KIT_LOW_BYTES;
    expect_absent(GVA_1);
}

/* Second-level tables take 48 bits; a CPU with more physical bits lets a guest name more. */
static void test_beyond_48_bits(void **state)
{
    const uint64_t base = BIT(51) | BIT(48);
    struct guest_walk found;
    uint64_t word;

    (void)state;
    hv_caps.physical_bits = 52;
    kit_map(GVA_1, base, 1, BITS_RW);
    assert_int_equal(walk(GVA_1, &found), WALK_OK);
    assert_int_equal(found.gpa.v, base | (GVA_1 & PAGE_MASK));
    assert_false(guest_physical_read(&kit.vm, found.gpa, &word, 4));
    assert_false(guest_physical_write(&kit.vm, found.gpa, &word, 4));
    assert_false(vm_leaf_allows(&kit.vm, GPA(base), 0));
    *kit_entry(GVA_1, 3) = base | KIT_LINK; /* must not alias the table at 0 */
    expect_absent(GVA_1);
    kit_direct(0, PT_R | PT_W, MEMTYPE_WB); /* nor what is mapped at the low 48 bits */
    assert_false(guest_physical_read(&kit.vm, GPA(KIT_BAR | BIT(48)), &word, 4));
    assert_true(guest_physical_read(&kit.vm, GPA(KIT_BAR), &word, 4));
}

static void test_other_modes(void **state)
{
    struct guest_walk found;

    (void)state;
    fake_backend.state.efer = EFER_LME; /* enabled, not yet active */
    fake_backend.state.cr0 = CR0_PE;
    assert_int_equal(walk(0xffffffff12345678ull, &found), WALK_OK);
    assert_int_equal(found.gpa.v, 0x12345678);
    assert_int_equal(found.level, 0);
    assert_int_equal(found.entry, 0);
    assert_true(found.writable && found.user);
}

/* ---- physical bytes ---- */

static void test_physical(void **state)
{
    uint8_t bytes[16], word[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    (void)state;
    for (unsigned width = 1; width <= 8; width *= 2) {
        memset(bytes, 0xee, sizeof(bytes));
        assert_true(guest_physical_write(&kit.vm, GPA(KIT_LOW_BYTES - 8), word, width));
        assert_true(guest_physical_read(&kit.vm, GPA(KIT_LOW_BYTES - 8), bytes, width));
        assert_memory_equal(bytes, word, width);
        assert_int_equal(bytes[width], 0xee);
    }
    assert_false(guest_physical_write(&kit.vm, GPA(KIT_LOW_BYTES), word, 1));
    kit_direct(2, PT_R, MEMTYPE_WC);
    assert_true(guest_physical_read(&kit.vm, GPA(KIT_BAR + 0x2010), bytes, 4));
    assert_int_equal(fake_window.last_type, MEMTYPE_WC);
    assert_false(guest_physical_write(&kit.vm, GPA(KIT_BAR + 0x2010), word, 4));
    assert_int_equal(*kit_byte(KIT_BAR + 0x2010), 0);
    kit_direct(2, PT_R | PT_W, MEMTYPE_UC);
    assert_true(guest_physical_write(&kit.vm, GPA(KIT_BAR + 0x2010), word, 4));
    assert_memory_equal(kit_byte(KIT_BAR + 0x2010), word, 4);
    assert_int_equal(fake_window.last_type, MEMTYPE_UC);
}

/* ---- the short walk ---- */

#define CASES      20000u
#define POOL_PAGES 24u
#define POOL \
    (KIT_LOW_BYTES - POOL_PAGES * PAGE_BYTES) /* so that some addresses are behind the end */
#define ROOT        POOL
#define OUT_OF_POOL 6u

static uint64_t random_address(void)
{
    unsigned page = (unsigned)(kit_random() % (POOL_PAGES + OUT_OF_POOL));
    uint64_t outside[OUT_OF_POOL] = {KIT_LOW_BYTES, KIT_HIGH, KIT_BAR, BIT(47), BIT(38), 0};

    return page < POOL_PAGES ? POOL + page * PAGE_BYTES : outside[page - POOL_PAGES];
}

/* Entries that a CPU would walk through: no reserved bit, but for addresses; all else is random. */
static uint64_t random_entry(unsigned level)
{
    uint64_t chance = kit_random(), entry = random_address() | (kit_random() & (PTE_XD | 0xe7e));

    if (chance % 32 != 0)
        entry |= PTE_P;
    if (level < 4 && chance / 32 % 8 == 0)
        entry = ALIGN_DOWN(entry, pt_span(level)) | (entry & (PTE_XD | 0xfff)) | PTE_PS;
    if (level > 1 && (entry & PTE_PS))
        entry |= chance & BIT(12);
    return chance / 256 % 64 == 0 ? entry | BIT(45) : entry;
}

static uint64_t random_tables(void)
{
    uint64_t rip = kit_random(), table = ROOT;

    if (kit_random() % 4 == 0)
        rip |= PAGE_BYTES - 32; /* near the end of its page */
    for (unsigned level = 4; level > 0; level--) {
        uint64_t index = (rip >> (PAGE_SHIFT + 9 * (level - 1))) & 511, entry = random_entry(level);

        memcpy(kit_byte(table + index * sizeof(entry)), &entry, sizeof(entry));
        table = entry & BITS(51, 12);
        if (!(entry & PTE_P) || (entry & PTE_PS) || !vm_ram_pointer(&kit.vm, GPA(table), 4096))
            break;
    }
    return rip;
}

/* What a trail leads to is what a walk finds, and it holds as long as a walk would go the same way. */
static void test_trail_random(void **state)
{
    unsigned learnt = 0, refused = 0, broken = 0;

    (void)state;
    for (uint64_t at = 0; at < KIT_LOW_BYTES; at += 8) {
        uint64_t word = kit_random();

        memcpy(kit_byte(at), &word, sizeof(word));
    }
    kit.cr3 = ROOT;
    for (unsigned i = 0; i < CASES; i++) {
        const uint64_t gva = random_tables(), cr3 = kit.cr3 | (kit_random() & 0xfff);
        struct guest_trail trail;
        struct guest_walk found;
        bool walks = walk(gva, &found) == WALK_OK;
        unsigned level = (unsigned)(kit_random() % TRAIL_LEVELS);
        uint64_t *entry;
        gpa_t gpa;

        if (!guest_trail_learn(&kit.vm, cr3, gva, &trail, &gpa)) {
            assert_false(guest_trail_holds(&trail, cr3));
            refused++;
            continue;
        }
        assert_true(guest_trail_holds(&trail, cr3));
        if (walks) { /* reserved bits stop a walk only */
            assert_int_equal(gpa.v, found.gpa.v);
            learnt++;
        }
        entry = (uint64_t *)(void *)kit_byte(
            (uint64_t)((const uint8_t *)trail.entry[level] - kit.vm.ram[0].host));
        *entry ^= BIT(kit_random() & 63);
        assert_false(guest_trail_holds(&trail, cr3));
        broken++;
    }
    assert_true(learnt > CASES / 10 && refused > CASES / 10 && broken >= learnt);
}

#define TRAIL_GVA (BIT(46) | 5 * GIB(1) | 7 * MIB(2) | 9 * PAGE_BYTES | 0x123)

/* Each level's entry, each of its bits, and CR3: a change breaks the trail, and putting it back mends it. */
static void test_trail_changes(void **state)
{
    (void)state;
    for (unsigned leaf = 1; leaf <= 3; leaf++) {
        struct guest_trail trail;
        gpa_t gpa;

        memset(kit_byte(kit.cr3), 0, PAGE_BYTES);
        kit_map(TRAIL_GVA & ~(pt_span(leaf) - 1), 0, leaf, BITS_RW);
        assert_true(guest_trail_learn(&kit.vm, kit.cr3, TRAIL_GVA, &trail, &gpa));
        assert_int_equal(gpa.v, TRAIL_GVA & (pt_span(leaf) - 1));
        for (unsigned level = leaf; level <= 4; level++)
            for (unsigned bit = 0; bit < 64; bit++) {
                *kit_entry(TRAIL_GVA, level) ^= BIT(bit);
                assert_false(guest_trail_holds(&trail, kit.cr3));
                *kit_entry(TRAIL_GVA, level) ^= BIT(bit);
                assert_true(guest_trail_holds(&trail, kit.cr3));
            }
        for (unsigned bit = 0; bit < 64; bit++)
            assert_false(guest_trail_holds(&trail, kit.cr3 ^ BIT(bit)));
        /* What lies beside the way is of no account. */
        *kit_entry(TRAIL_GVA ^ pt_span(leaf), leaf) ^= PTE_P;
        assert_true(guest_trail_holds(&trail, kit.cr3));
    }
}

/* Where it has to answer, or trapped accesses become slow; and where it must not. */
static void test_trail_limits(void **state)
{
    struct guest_trail trail = {.cr3 = GUEST_NO_TRAIL};
    gpa_t gpa;

    (void)state;
    for (uint64_t cr3 = 0; cr3 < 64 * PAGE_BYTES; cr3 += PAGE_BYTES / 2)
        assert_false(guest_trail_holds(&trail, cr3));
    for (unsigned level = 1; level <= 4; level++) {
        kit_map(TRAIL_GVA & ~PAGE_MASK, 0x7000, 1, BITS_RW);
        assert_true(guest_trail_learn(&kit.vm, kit.cr3, TRAIL_GVA, &trail, &gpa));
        assert_int_equal(gpa.v, 0x7123);
        *kit_entry(TRAIL_GVA, level) &= ~PTE_P; /* at each level it may end */
        assert_false(guest_trail_learn(&kit.vm, kit.cr3, TRAIL_GVA, &trail, &gpa));
        assert_false(guest_trail_holds(&trail, kit.cr3));
        *kit_entry(TRAIL_GVA, level) |= PTE_P;
        if (level == 1)
            continue;
        /* ... or lead to a table that is in the second run of RAM, in a BAR, at the end of the first run. */
        for (unsigned i = 0; i < 4; i++) {
            static const uint64_t at[] = {KIT_HIGH, KIT_BAR, KIT_LOW_BYTES,
                                          KIT_LOW_BYTES - PAGE_BYTES};
            uint64_t *entry = kit_entry(TRAIL_GVA, level), before = *entry;

            if (at[i] < KIT_LOW_BYTES)
                memset(kit_byte(at[i]), 0xff, PAGE_BYTES);
            *entry = at[i] | KIT_LINK;
            assert_int_equal(guest_trail_learn(&kit.vm, kit.cr3, TRAIL_GVA, &trail, &gpa),
                             at[i] < KIT_LOW_BYTES);
            assert_int_equal(guest_trail_holds(&trail, kit.cr3), at[i] < KIT_LOW_BYTES);
            *entry = before;
        }
    }
    assert_true(guest_trail_learn(&kit.vm, kit.cr3, TRAIL_GVA, &trail, &gpa));
    /* What lies behind is the host's, not this guest's. */
    memcpy(kit.vm.ram[0].host + KIT_LOW_BYTES, kit_byte(kit.cr3), PAGE_BYTES);
    assert_false(guest_trail_learn(&kit.vm, KIT_LOW_BYTES, TRAIL_GVA, &trail, &gpa));
    assert_false(guest_trail_holds(&trail, kit.cr3)); /* nor is the one before left */
}

/* ---- memory types ---- */

static struct hv_memtype_report report(uint64_t gva)
{
    struct hv_memtype_report answer;

    memset(&answer, 0xa5, sizeof(answer));
    assert_int_equal(hv_effective_memtype(&kit.vp, GVA(gva), &answer), HV_OK);
    return answer;
}

static void test_memtype(void **state)
{
    /* Entry n of the PAT for n = 0..7: WB WT UC- UC WP WC WT WB. */
    const uint8_t pat[8] = {6, 4, 7, 0, 5, 1, 4, 6};
    struct hv_memtype_report answer;

    (void)state;
    memcpy(&fake_backend.state.pat, pat, sizeof(pat));
    kit_direct(1, PT_R | PT_W, MEMTYPE_WB);
    for (unsigned index = 0; index < 8; index++) {
        uint64_t flags = (index & 1) << 3 | (index & 2) << 3; /* PWT, PCD */

        kit_map(0x7000, KIT_BAR + PAGE_BYTES, 1, BITS_RW | flags | (index & 4 ? BIT(7) : 0));
        answer = report(0x7123);
        assert_true(answer.mapped);
        assert_int_equal(answer.gpa.v, KIT_BAR + 0x1123);
        assert_true(answer.translates);
        assert_int_equal(answer.guest_level, 1);
        assert_int_equal(answer.pwt | answer.pcd << 1 | answer.pat << 2, index);
        assert_int_equal(answer.pat_index, index);
        assert_int_equal(answer.pat_type, pat[index]);
        assert_int_equal(answer.leaf_type, MEMTYPE_WB);
        assert_int_equal(answer.leaf_level, 1);
        assert_int_equal(answer.effective, index == 2 ? MEMTYPE_UC : pat[index]);
        kit_map(0x40000000, 0, 2, BITS_RW | flags | (index & 4 ? BIT(12) : 0));
        answer = report(0x40000123);
        assert_int_equal(answer.pat_index, index);
        assert_int_equal(answer.guest_level, 2);
        assert_int_equal(answer.pwt | answer.pcd << 1 | answer.pat << 2, index);
    }
    fake_backend.state.real_cr0 = CR0_CD;
    answer = report(0x7123);
    assert_true(answer.cache_disabled);
    assert_int_equal(answer.effective, MEMTYPE_UC);
    fake_backend.state.real_cr0 = 0;
    fake_backend.state.cr0 |= CR0_CD; /* what the guest thinks does not count */
    assert_false(report(0x7123).cache_disabled);
    kit_direct(1, 0, MEMTYPE_UC);
    assert_false(report(0x7123).mapped);
    assert_int_equal(report(0x7123).gpa.v, KIT_BAR + 0x1123);
    assert_false(report(0x9000).mapped);
    fake_backend.state.efer = 0;
    fake_backend.state.cr0 = CR0_PE;
    answer = report(0x1234);
    assert_true(answer.mapped);
    assert_int_equal(answer.pat_type, MEMTYPE_WB);
    assert_int_equal(answer.guest_level, 0);
    assert_int_equal(answer.pwt | answer.pcd | answer.pat, 0);
    assert_int_equal(answer.effective, MEMTYPE_WB);
}

static void expect_sentence(const struct hv_memtype_report *answer, const char *sentence)
{
    char text[HV_MEMTYPE_TEXT_BYTES];

    hv_memtype_explain(answer, text, sizeof(text));
    assert_string_equal(text, sentence);
}

/* What really happens, and how it is told. */
static void test_explained(void **state)
{
    struct hv_memtype_report answer;

    (void)state;
    hv_caps.table_format = "EPT";
    fake_backend.state.pat = 0x0007040600070106ull; /* entry 1 is WC */
    kit_direct(1, PT_R | PT_W, MEMTYPE_WB);
    kit_map(0x7000, KIT_BAR + PAGE_BYTES, 1, BITS_RW | PTE_PWT);
    answer = report(0x7000);
    expect_sentence(&answer, "EPT says WB, guest PAT entry 1 says WC, so WC");
    fake_backend.state.real_cr0 = CR0_CD;
    answer = report(0x7000);
    expect_sentence(&answer, "EPT says WB, guest PAT entry 1 says WC, but CR0.CD is set, so UC");
    fake_backend.state.real_cr0 = 0;
    kit_direct(1, 0, MEMTYPE_UC);
    answer = report(0x7000);
    expect_sentence(&answer, "EPT has no leaf for the address");
    answer = report(0x9000);
    expect_sentence(&answer, "the guest's tables do not translate the address");
    fake_backend.state.efer = 0;
    fake_backend.state.cr0 = CR0_PE;
    answer = report(0x1234);
    expect_sentence(&answer, "EPT says WB, the guest does not page, so WB");
}

/* What the fake backend cannot do. */
static void test_explained_elsewhere(void **state)
{
    struct hv_memtype_report answer = {.translates = true,
                                       .mapped = true,
                                       .guest_level = 1,
                                       .leaf_type = MEMTYPE_WC,
                                       .ignore_pat = true,
                                       .pat_index = 3,
                                       .pat_type = MEMTYPE_UC,
                                       .effective = MEMTYPE_WC};
    char text[HV_MEMTYPE_TEXT_BYTES];

    (void)state;
    hv_caps.table_format = "EPT";
    expect_sentence(&answer, "EPT says WC and ignores the guest's PAT, so WC");
    hv_caps.table_format = "NPT";
    answer = (struct hv_memtype_report){.translates = true,
                                        .mapped = true,
                                        .guest_level = 2,
                                        .leaf_type = MEMTYPE_WB,
                                        .pat_index = 7,
                                        .pat_type = MEMTYPE_UC_MINUS,
                                        .has_mtrr = true,
                                        .mtrr_type = MEMTYPE_WT,
                                        .effective = MEMTYPE_UC};
    expect_sentence(&answer, "NPT says WB, guest PAT entry 7 says UC-, the frame's MTRR WT, so UC");
    answer.guest_level = 0;
    answer.cache_disabled = true;
    expect_sentence(&answer, "NPT says WB, the guest does not page, the frame's MTRR WT, but "
                             "CR0.CD is set, so UC");
    answer.guest_level = 1;
    hv_memtype_explain(&answer, text, sizeof(text));
    assert_true(strlen(text) < HV_MEMTYPE_TEXT_BYTES - 1); /* the longest one: nothing is cut */
    hv_memtype_explain(&answer, text, 9);
    assert_string_equal(text, "NPT says");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, kit_open, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sizes),          TEST(test_index),
        TEST(test_not_present),    TEST(test_reserved_bits),
        TEST(test_ignored_bits),   TEST(test_execute_disable),
        TEST(test_large_pages),    TEST(test_rights),
        TEST(test_tables_high),    TEST(test_tables_in_bar),
        TEST(test_tables_nowhere), TEST(test_beyond_48_bits),
        TEST(test_other_modes),    TEST(test_physical),
        TEST(test_trail_random),   TEST(test_trail_changes),
        TEST(test_trail_limits),   TEST(test_memtype),
        TEST(test_explained),      TEST(test_explained_elsewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
