/*
 * Trapped accesses in every place: each width, direction and alignment over each pair of neighbouring pages, piece by
 * piece; the other page refused by the guest's tables; a world that changes in the middle of an access.
 */
#include "tests/unit/vm_kit.h"

#include <string.h>

#include "tests/fake/window.h"

/* What lies behind one of the two operand pages. */
enum kind { TRAPPED, DIRECT, READ_ONLY, LOW_RAM, HIGH_RAM, NOBODY, KINDS };

#define BEFORE PAGE_BYTES /* a device's region begins this far before the page */

static uint64_t page_gpa[2];
static enum kind page_kind[2];

/* The two pages are neighbours for the guest alone: their guest-physical order is the other way round. */
static void place(unsigned slot, enum kind kind)
{
    const unsigned bar_page = slot == 0 ? 9 : 4;
    uint64_t gpa = KIT_BAR + bar_page * PAGE_BYTES;

    if (kind == LOW_RAM || kind == HIGH_RAM)
        gpa = (kind == LOW_RAM ? 0x40000u : KIT_HIGH) + (slot == 0 ? 0x9000u : 0x2000u);
    page_kind[slot] = kind;
    page_gpa[slot] = gpa;
    kit_map(KIT_DATA + slot * PAGE_BYTES, gpa, 1, KIT_LINK);
    if (kind == DIRECT || kind == READ_ONLY)
        kit_direct(bar_page, kind == DIRECT ? PT_R | PT_W : PT_R,
                   slot == 0 ? MEMTYPE_WT : MEMTYPE_WC);
    if (kind == TRAPPED || kind == READ_ONLY) /* a callback is behind direct pages too */
        kit_attach(slot, gpa - BEFORE, BEFORE + PAGE_BYTES);
    if (kind == DIRECT)
        kit_attach(slot, gpa, PAGE_BYTES);
}

static void remove_page(unsigned slot)
{
    const unsigned bar_page = slot == 0 ? 9 : 4;

    if (page_kind[slot] == DIRECT)
        kit_detach(slot, page_gpa[slot]);
    if (page_kind[slot] == TRAPPED || page_kind[slot] == READ_ONLY)
        kit_detach(slot, page_gpa[slot] - BEFORE);
    if (page_kind[slot] == DIRECT || page_kind[slot] == READ_ONLY)
        kit_direct(bar_page, 0, MEMTYPE_WB);
}

static bool is_memory(enum kind kind, bool write)
{
    return kind == DIRECT || kind == LOW_RAM || kind == HIGH_RAM || (kind == READ_ONLY && !write);
}

/* Byte i of the operand before the access, wherever it is. */
static uint8_t old_byte(unsigned i)
{
    return (uint8_t)(0xc0 + i * 3);
}

/* ---- a model: what the access has to do ---- */

struct model {
    unsigned count, unclaimed;
    struct kit_access piece[KIT_ACCESSES];
    uint64_t loaded;
};

/* The largest naturally aligned piece at `off` that ends at or before `end`, by trying. */
static unsigned piece_at(unsigned off, unsigned end)
{
    for (unsigned bytes = 8; bytes > 1; bytes /= 2)
        if (off % bytes == 0 && off + bytes <= end)
            return bytes;
    return 1;
}

static void model_page(struct model *m, unsigned slot, unsigned off, unsigned end, unsigned done,
                       bool write, uint64_t value)
{
    while (off < end) {
        unsigned bytes = piece_at(off, end);
        uint64_t got = 0;

        for (unsigned i = 0; i < bytes; i++) {
            uint8_t byte = 0xff;

            if (is_memory(page_kind[slot], write))
                byte = old_byte(done + i);
            else if (page_kind[slot] != NOBODY)
                byte = (uint8_t)(write ? value >> ((done + i) * 8)
                                       : kit_answer(slot, BEFORE + off + i));
            got |= (uint64_t)byte << (i * 8);
        }
        if (page_kind[slot] == NOBODY)
            m->unclaimed++;
        else if (!is_memory(page_kind[slot], write))
            m->piece[m->count++] = (struct kit_access){
                .who = slot, .write = write, .offset = BEFORE + off, .bytes = bytes, .value = got};
        m->loaded |= got << (done * 8);
        off += bytes;
        done += bytes;
    }
}

static struct model model_access(unsigned off, unsigned bytes, bool write, uint64_t value)
{
    struct model m;
    unsigned first = MIN(bytes, (unsigned)PAGE_BYTES - off);

    memset(&m, 0, sizeof(m));
    model_page(&m, 0, off, off + first, 0, write, value);
    model_page(&m, 1, 0, bytes - first, first, write, value);
    return m;
}

static void check_pieces(const struct model *m)
{
    assert_int_equal(kit.seen_count, m->count);
    for (unsigned i = 0; i < m->count; i++) {
        assert_int_equal(kit.seen[i].who, m->piece[i].who);
        assert_int_equal(kit.seen[i].write, m->piece[i].write);
        assert_int_equal(kit.seen[i].offset, m->piece[i].offset);
        assert_int_equal(kit.seen[i].bytes, m->piece[i].bytes);
        assert_int_equal(kit.seen[i].value, m->piece[i].value);
    }
    assert_int_equal(kit.vm.stats.unclaimed, m->unclaimed);
}

/* ---- one access ---- */

#define GUARD 8u /* bytes on either side that must stay */

static uint8_t *operand_byte(unsigned off)
{
    return kit_byte(page_gpa[off >= PAGE_BYTES] + off % PAGE_BYTES);
}

static bool has_byte(unsigned off)
{
    enum kind kind = page_kind[off >= PAGE_BYTES];

    return kind != TRAPPED && kind != NOBODY && off < 2 * PAGE_BYTES;
}

static void fill(unsigned off, unsigned bytes)
{
    for (unsigned at = off - MIN(off, GUARD); at < off + bytes + GUARD; at++)
        if (has_byte(at))
            *operand_byte(at) = at >= off && at < off + bytes ? old_byte(at - off) : 0x77;
}

static void check_memory(unsigned off, unsigned bytes, bool write, uint64_t value)
{
    for (unsigned at = off - MIN(off, GUARD); at < off + bytes + GUARD; at++) {
        bool inside = at >= off && at < off + bytes;
        uint8_t expected = inside ? old_byte(at - off) : 0x77;

        if (!has_byte(at))
            continue;
        if (inside && write && is_memory(page_kind[at >= PAGE_BYTES], true))
            expected = (uint8_t)(value >> ((at - off) * 8));
        assert_int_equal(*operand_byte(at), expected);
    }
}

/* The address of the fault: that of the first page which does not take the access. 0: no fault. */
static uint64_t fault_address(unsigned off, unsigned bytes, bool write)
{
    if (!is_memory(page_kind[0], write))
        return page_gpa[0] + off;
    if (off + bytes > PAGE_BYTES && !is_memory(page_kind[1], write))
        return page_gpa[1];
    return 0;
}

static enum hv_resume touch(unsigned off, unsigned bytes, bool write)
{
    uint8_t code[4];

    kit_code(KIT_CODE, code, kit_mov(code, bytes, write));
    kit.vp.gpr[GPR_RBX] = KIT_DATA + off;
    return kit_fault(KIT_CODE, fault_address(off, bytes, write),
                     write ? HV_ACCESS_WRITE : HV_ACCESS_READ);
}

static void check_access(unsigned off, unsigned bytes, bool write)
{
    const uint64_t value = 0xf1e2d3c4b5a69788ull;
    uint64_t gpr[GPR_COUNT], kept = bytes == 4 ? 0 : value & ~ones_of(bytes);
    struct model m = model_access(off, bytes, write, value);
    uint8_t code[4];

    if (fault_address(off, bytes, write) == 0)
        return;
    kit_forget();
    fill(off, bytes);
    kit.vp.gpr[GPR_RAX] = value;
    kit.vp.gpr[GPR_RBX] = KIT_DATA + off;
    memcpy(gpr, kit.vp.gpr, sizeof(gpr));
    assert_int_equal(touch(off, bytes, write), HV_ADVANCE);
    assert_int_equal(kit_length, kit_mov(code, bytes, write));
    check_pieces(&m);
    check_memory(off, bytes, write, value);
    if (!write)
        gpr[GPR_RAX] = kept | (m.loaded & ones_of(bytes));
    assert_memory_equal(kit.vp.gpr, gpr, sizeof(gpr));
    assert_int_equal(kit.vp.event.kind, VP_EVENT_NONE);
    assert_int_equal(kit.vm.stats.trapped_reads, write ? 0 : m.count);
    assert_int_equal(kit.vm.stats.trapped_writes, write ? m.count : 0);
    assert_int_equal(kit.vm.stats.spurious + kit.vm.stats.unsupported, 0);
}

static void test_every_place(void **state)
{
    (void)state;
    for (unsigned kinds = 0; kinds < KINDS * KINDS; kinds++) {
        place(0, kinds % KINDS);
        place(1, kinds / KINDS);
        for (unsigned bytes = 1; bytes <= 8; bytes *= 2)
            for (unsigned write = 0; write < 2; write++) {
                for (unsigned off = 0; off < 17; off++)
                    check_access(off, bytes, write);
                for (unsigned off = PAGE_BYTES - 17; off < PAGE_BYTES; off++)
                    check_access(off, bytes, write);
            }
        remove_page(0);
        remove_page(1);
    }
}

/* Direct pieces are done on the section's memory with the type that the page has. */
static void test_direct_type(void **state)
{
    (void)state;
    place(0, TRAPPED);
    place(1, DIRECT);
    check_access(PAGE_BYTES - 4, 8, true);
    assert_int_equal(fake_window.last_type, MEMTYPE_WC);
    assert_int_equal(fake_window.last_bytes, 4);
    remove_page(0);
    remove_page(1);
    place(0, DIRECT);
    place(1, TRAPPED);
    check_access(PAGE_BYTES - 2, 4, false);
    assert_int_equal(fake_window.last_type, MEMTYPE_WT);
    assert_int_equal(fake_window.last_bytes, 2);
}

/* ---- the guest's tables refuse a page ---- */

#define CPL_3 (3u << 5)
#define CS_64 0xa09bu

static const struct refusal {
    bool write, user, no_wp;
    uint64_t clear; /* of the page's entry */
    bool refused;
    uint32_t error;
    bool smap, ac;
} refusals[] = {
    {false, false, false, PTE_P, true, 0, false, false},
    {true, false, false, PTE_P, true, PF_WRITE, false, false},
    {false, true, false, PTE_P, true, PF_USER, false, false},
    {true, true, false, PTE_P, true, PF_USER | PF_WRITE, false, false},
    {true, false, false, PTE_W, true, PF_PRESENT | PF_WRITE, false, false},
    {true, true, false, PTE_W, true, PF_PRESENT | PF_USER | PF_WRITE, false, false},
    {true, true, true, PTE_W, true, PF_PRESENT | PF_USER | PF_WRITE, false, false},
    {false, true, false, PTE_U, true, PF_PRESENT | PF_USER, false, false},
    {true, true, true, PTE_U, true, PF_PRESENT | PF_USER | PF_WRITE, false, false},
    {false, false, false, 0, true, PF_PRESENT, true, false}, /* a user page, touched from CPL 0 */
    {true, false, true, 0, true, PF_PRESENT | PF_WRITE, true, false},
    /* and these pass */
    {true, false, true, PTE_W, false, 0, false, false},
    {false, false, false, PTE_W, false, 0, false, false},
    {false, true, false, PTE_W, false, 0, false, false},
    {true, false, false, PTE_U, false, 0, false, false},
    {true, true, false, 0, false, 0, false, false},
    {true, false, false, 0, false, 0, true, true},
    {true, true, false, 0, false, 0, true, false},
};

/* A and D of the page's leaf: as the CPU leaves them after an access that it has made itself. */
static void expect_marked(const uint64_t *entry, bool write)
{
    assert_int_equal(*entry & (PTE_A | PTE_D), PTE_A | (write ? PTE_D : 0));
}

static void check_refusal(const struct refusal *r, unsigned slot, unsigned level)
{
    const unsigned off = PAGE_BYTES - 3, bytes = 8;
    uint64_t gpr[GPR_COUNT], *entry = kit_entry(KIT_DATA + slot * PAGE_BYTES, level);
    uint64_t *other = kit_entry(KIT_DATA + (1 - slot) * PAGE_BYTES, 1);

    fake_backend.state.cr0 = CR0_PE | CR0_PG | (r->no_wp ? 0 : CR0_WP);
    fake_backend.state.seg[INSN_SS].attributes = r->user ? CPL_3 : 0;
    fake_backend.state.seg[INSN_CS].attributes =
        r->user ? CS_64 : CS_64 | CPL_3; /* SS is what counts */
    fake_backend.state.cr4 = CR4_PAE | (r->smap ? CR4_SMAP : 0);
    fake_backend.state.rflags = r->ac ? RFLAGS_AC : 0;
    *entry &= ~(r->clear | PTE_A | PTE_D);
    if (r->smap && !r->user) /* the other page is the supervisor's: only this one is refused */
        *other &= ~PTE_U;
    kit_forget();
    fill(off, bytes);
    kit.vp.gpr[GPR_RBX] = KIT_DATA + off;
    memcpy(gpr, kit.vp.gpr, sizeof(gpr));
    if (!r->refused) {
        assert_int_equal(touch(off, bytes, r->write), HV_ADVANCE);
        assert_int_equal(kit.vp.event.kind, VP_EVENT_NONE);
        if (level == 1)
            expect_marked(entry, r->write);
    } else {
        assert_int_equal(*entry & (PTE_A | PTE_D), 0);
        assert_int_equal(touch(off, bytes, r->write), HV_RESUME);
        kit_expect_event(VECTOR_PF, true, r->error);
        /* CR2 is the first byte that is refused, not the operand's first. */
        assert_int_equal(kit.vp.event.address, slot == 0 ? KIT_DATA + off : KIT_DATA + PAGE_BYTES);
        kit_expect_untouched(gpr);
        check_memory(off, bytes, false, 0);
    }
    *other |= PTE_U;
    *entry |= r->clear;
}

static void test_refused_second(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < KINDS; kind++) {
        place(0, TRAPPED);
        place(1, kind);
        for (unsigned i = 0; i < ARRAY_COUNT(refusals); i++)
            check_refusal(&refusals[i], 1, 1);
        remove_page(0);
        remove_page(1);
    }
}

/* The first page is memory, the second one traps; the guest's tables have changed since. */
static void test_refused_first(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < KINDS; kind++) {
        place(0, kind);
        place(1, TRAPPED);
        for (unsigned i = 0; i < ARRAY_COUNT(refusals); i++)
            check_refusal(&refusals[i], 0, 1);
        remove_page(0);
        remove_page(1);
    }
}

/* An access across a 2 MiB border: the upper tables differ too. */
static void test_refused_above(void **state)
{
    (void)state;
    place(0, TRAPPED);
    for (unsigned level = 2; level <= 4; level++)
        for (unsigned i = 0; i < ARRAY_COUNT(refusals); i++) {
            const struct refusal *r = &refusals[i];
            uint64_t border = BIT(40), gpa = KIT_HIGH + 0x2000, *entry, word = 0;

            if (r->smap)
                continue; /* both pages are the user's here */
            fake_backend.state.cr0 = CR0_PE | CR0_PG | (r->no_wp ? 0 : CR0_WP);
            fake_backend.state.seg[INSN_SS].attributes = r->user ? CPL_3 : 0;
            kit_map(border - PAGE_BYTES, page_gpa[0], 1, KIT_LINK);
            kit_map(border, gpa, 1, KIT_LINK);
            entry = kit_entry(border, level);
            *entry &= ~r->clear;
            kit_forget();
            kit_code(KIT_CODE, r->write ? "\x89\x03" : "\x8b\x03", 2);
            kit.vp.gpr[GPR_RBX] = border - 2;
            kit.vp.gpr[GPR_RAX] = 0x44332211;
            memcpy(kit_byte(gpa), &word, sizeof(word));
            assert_int_equal(kit_fault(KIT_CODE, page_gpa[0] + PAGE_BYTES - 2,
                                       r->write ? HV_ACCESS_WRITE : HV_ACCESS_READ),
                             r->refused ? HV_RESUME : HV_ADVANCE);
            if (r->refused) {
                kit_expect_event(VECTOR_PF, true, r->error);
                assert_int_equal(kit.vp.event.address, border);
                assert_int_equal(kit.seen_count, 0);
            }
            *entry |= r->clear;
        }
}

/* ---- the world changes in the middle ---- */

static void detach_first(unsigned n)
{
    if (n == 0)
        kit_detach(0, page_gpa[0] - BEFORE);
}

/* A device that goes away in its own callback: the rest of the access is nobody's. */
static void test_unregister_itself(void **state)
{
    (void)state;
    for (unsigned write = 0; write < 2; write++)
        for (unsigned off = 8; off < 16; off++) {
            place(0, TRAPPED);
            kit_forget();
            kit.on_access = detach_first;
            kit.vp.gpr[GPR_RAX] = 0;
            assert_int_equal(touch(off, 8, write), HV_ADVANCE);
            assert_int_equal(kit.seen_count, 1);
            assert_int_equal(kit.vm.stats.unclaimed != 0, off % 8 != 0);
            if (!write) {
                uint64_t got = kit.seen[0].value;

                if (kit.seen[0].bytes < 8)
                    got |= ~0ull << (kit.seen[0].bytes * 8);
                assert_int_equal(kit.vp.gpr[GPR_RAX], got);
            }
        }
}

static void add_below(unsigned n)
{
    if (n == 0) { /* the sorted arrays move, and with them every index */
        kit_attach(5, KIT_BAR, 0x10);
        kit_attach(6, KIT_BAR + 0x20, 0x10);
    }
}

static void test_register_below(void **state)
{
    (void)state;
    place(0, TRAPPED);
    place(1, TRAPPED);
    for (unsigned write = 0; write < 2; write++)
        for (unsigned round = 0; round < 2; round++) {
            unsigned off = round ? PAGE_BYTES - 3 : 0x101;

            kit.on_access = add_below;
            check_access(off, 8, write); /* as if nothing had happened */
            kit_detach(5, KIT_BAR);
            kit_detach(6, KIT_BAR + 0x20);
        }
}

static void swap_second(unsigned n)
{
    if (n == 0) {
        kit_detach(1, page_gpa[1] - BEFORE);
        kit_attach(3, page_gpa[1], PAGE_BYTES);
    }
}

/* Another device takes the place of the second page's before its turn comes. */
static void test_replace_second(void **state)
{
    (void)state;
    place(0, TRAPPED);
    place(1, TRAPPED);
    kit.on_access = swap_second;
    assert_int_equal(touch(PAGE_BYTES - 1, 2, false), HV_ADVANCE);
    assert_int_equal(kit.seen_count, 2);
    assert_int_equal(kit.seen[1].who, 3);
    assert_int_equal(kit.seen[1].offset, 0);
}

static void toggle_second(unsigned n)
{
    if (n == 0)
        kit_direct(4, page_kind[1] == DIRECT ? 0 : PT_R | PT_W, MEMTYPE_WB);
}

/* A direct page that the first page's callback takes away goes to the callback behind it. */
static void test_unmap_second(void **state)
{
    (void)state;
    for (unsigned write = 0; write < 2; write++) {
        place(0, TRAPPED);
        place(1, DIRECT);
        kit_forget();
        kit.on_access = toggle_second;
        fill(PAGE_BYTES - 4, 8);
        kit.vp.gpr[GPR_RAX] = 0x8877665544332211ull;
        assert_int_equal(touch(PAGE_BYTES - 4, 8, write), HV_ADVANCE);
        assert_int_equal(kit.seen_count, 2);
        assert_int_equal(kit.seen[1].who, 1);
        assert_int_equal(kit.seen[1].offset, 0);
        if (write)
            assert_int_equal(kit.seen[1].value, 0x88776655);
        else
            assert_int_equal(kit.vp.gpr[GPR_RAX] >> 32, kit.seen[1].value);
        check_memory(PAGE_BYTES - 4, 8, false, 0);
        remove_page(0);
        kit_detach(1, page_gpa[1]);
    }
}

/* One that becomes direct meanwhile may be met by either, but by one only, and what it had stays. */
static void test_map_second(void **state)
{
    (void)state;
    place(0, TRAPPED);
    place(1, TRAPPED);
    kit.on_access = toggle_second;
    assert_int_equal(touch(PAGE_BYTES - 4, 8, false), HV_ADVANCE);
    assert_true(kit.seen_count == 1 || kit.seen_count == 2);
    /* Not in the first page, and now it is direct: the CPU goes on by itself. */
    kit_forget();
    kit.on_access = NULL;
    assert_int_equal(kit_fault(KIT_CODE, page_gpa[1], HV_ACCESS_READ), HV_RESUME);
    assert_int_equal(kit.vm.stats.spurious, 1);
    kit_direct(4, 0, MEMTYPE_WB);
}

static void drop_translations(unsigned n)
{
    if (n == 0) {
        *kit_entry(KIT_DATA + PAGE_BYTES, 1) = 0;
        *kit_entry(KIT_CODE, 1) = 0;
    }
}

/* Both pages were translated before the first piece: what changes afterwards counts for the next instruction. */
static void test_tables_change(void **state)
{
    struct model m;

    (void)state;
    place(0, TRAPPED);
    place(1, LOW_RAM);
    fill(PAGE_BYTES - 3, 8);
    m = model_access(PAGE_BYTES - 3, 8, true, 0x8877665544332211ull);
    kit.vp.gpr[GPR_RAX] = 0x8877665544332211ull;
    kit.on_access = drop_translations;
    assert_int_equal(touch(PAGE_BYTES - 3, 8, true), HV_ADVANCE);
    check_pieces(&m);
    check_memory(PAGE_BYTES - 3, 8, true, 0x8877665544332211ull);
}

static void drop_code(struct vp *vp)
{
    (void)vp;
    *kit_entry(KIT_CODE, 1) = 0;
}

/* The code's translation goes between the short way, which gave up, and the long one. */
static void test_code_vanishes(void **state)
{
    uint64_t gpr[GPR_COUNT];

    (void)state;
    place(0, TRAPPED);
    place(1, TRAPPED);
    kit.vp.gpr[GPR_RBX] = KIT_DATA + PAGE_BYTES - 1;
    memcpy(gpr, kit.vp.gpr, sizeof(gpr));
    fake_backend.on_state_get = drop_code;
    assert_int_equal(touch(PAGE_BYTES - 1, 2, true), HV_RESUME);
    kit_expect_event(VECTOR_PF, true, PF_FETCH);
    assert_int_equal(kit.vp.event.address, KIT_CODE);
    kit_expect_untouched(gpr);
}

#define TEST(name) KIT_TEST_BOTH(name, kit_open)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_place),    TEST(test_direct_type),    TEST(test_refused_second),
        TEST(test_refused_first),  TEST(test_refused_above),  TEST(test_unregister_itself),
        TEST(test_register_below), TEST(test_replace_second), TEST(test_unmap_second),
        TEST(test_map_second),     TEST(test_tables_change),  TEST(test_code_vanishes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
