#include "tests/unit/paging_kit.h"

#include <string.h>

struct guest_paging pg_how;

void pg_set_mode(enum pg_mode mode)
{
    pg_how = (struct guest_paging){.cr0 = CR0_PE | CR0_WP | (mode == PG_NONE ? 0 : CR0_PG),
                                   .cr3 = PG_ROOT,
                                   .cr4 = mode == PG_TWO_PSE ? CR4_PSE
                                          : mode >= PG_PAE   ? CR4_PAE
                                                             : 0,
                                   .efer = EFER_NXE | (mode == PG_FOUR ? EFER_LME | EFER_LMA : 0)};
}

unsigned pg_levels_of(enum pg_mode mode)
{
    return mode == PG_NONE ? 0 : mode < PG_PAE ? 2 : (unsigned)mode;
}

unsigned pg_entry_bytes(enum pg_mode mode)
{
    return mode < PG_PAE ? 4 : 8;
}

unsigned pg_span_shift(enum pg_mode mode, unsigned level)
{
    return 12 + (mode < PG_PAE ? 10 : 9) * (level - 1);
}

bool pg_can_be_leaf(enum pg_mode mode, unsigned level)
{
    return level == 1 || (level == 2 && mode != PG_TWO) || (level == 3 && mode == PG_FOUR);
}

uint64_t pg_load(uint64_t at, unsigned bytes)
{
    uint64_t entry = 0;

    memcpy(&entry, kit_byte(at), bytes);
    return entry;
}

void pg_store(uint64_t at, unsigned bytes, uint64_t entry)
{
    memcpy(kit_byte(at), &entry, bytes);
}

uint64_t pg_entry_in(enum pg_mode mode, uint64_t tables, uint64_t gva, unsigned level)
{
    unsigned levels = pg_levels_of(mode), index_bits = mode < PG_PAE ? 10 : 9;
    uint64_t table = level == levels ? pg_how.cr3 : tables + (levels - 1 - level) * PAGE_BYTES;

    return table +
           (gva >> pg_span_shift(mode, level) & (BIT(index_bits) - 1)) * pg_entry_bytes(mode);
}

uint64_t pg_entry_at(enum pg_mode mode, uint64_t gva, unsigned level)
{
    return pg_entry_in(mode, PG_ROOT + PAGE_BYTES, gva, level);
}

/* PAE's top entry has no rights. */
void pg_chain_in(enum pg_mode mode, uint64_t tables, uint64_t gva, unsigned level, uint64_t leaf)
{
    memset(kit_byte(pg_how.cr3), 0, mode == PG_PAE ? 32 : PAGE_BYTES);
    for (unsigned at = pg_levels_of(mode); at > level; at--) {
        uint64_t next = tables + (pg_levels_of(mode) - at) * PAGE_BYTES;

        memset(kit_byte(next), 0, PAGE_BYTES);
        pg_store(pg_entry_in(mode, tables, gva, at), pg_entry_bytes(mode),
                 next | (mode == PG_PAE && at == 3 ? PTE_P : PG_RW));
    }
    pg_store(pg_entry_in(mode, tables, gva, level), pg_entry_bytes(mode),
             leaf | (level > 1 ? PTE_PS : 0));
}

void pg_chain(enum pg_mode mode, uint64_t gva, unsigned level, uint64_t leaf)
{
    pg_chain_in(mode, PG_ROOT + PAGE_BYTES, gva, level, leaf);
}

void pg_expect_ok(uint64_t gva, uint64_t gpa, unsigned level)
{
    struct guest_walk found;

    memset(&found, 0xa5, sizeof(found));
    assert_int_equal(guest_walk(&kit.vm, &pg_how, GVA(gva), &found), WALK_OK);
    assert_int_equal(found.gpa.v, gpa);
    assert_int_equal(found.level, level);
}

void pg_expect(uint64_t gva, enum walk_result result)
{
    struct guest_walk found;

    assert_int_equal(guest_walk(&kit.vm, &pg_how, GVA(gva), &found), result);
}

uint64_t pg_must_be_zero(enum pg_mode mode, unsigned level, bool large, bool nxe, unsigned bits)
{
    uint64_t above = bits > 51 ? 0 : BITS(51, bits), xd = nxe ? 0 : BIT(63);

    if (mode < PG_PAE)
        return large ? BITS(21, (bits < 40 ? bits : 40) - 19) : 0;
    if (mode == PG_PAE && level == 3)
        return BITS(2, 1) | BITS(8, 6) | above | BITS(63, 52);
    if (mode == PG_PAE)
        return above | BITS(62, 52) | xd | (large ? BITS(20, 13) : 0);
    if (level == 4)
        return BIT(7) | above | xd;
    return above | xd | (large ? BITS(pg_span_shift(PG_FOUR, level) - 1, 13) : 0);
}

bool pg_manual_allows(uint64_t leaf, const struct guest_access *a)
{
    bool user_page = leaf & PTE_U, write = a->access & HV_ACCESS_WRITE;
    bool executable = !(leaf & PTE_XD);

    if (a->access & HV_ACCESS_FETCH) {
        if (a->user)
            return user_page && executable;
        return user_page && (pg_how.cr4 & CR4_SMEP) ? false : executable;
    }
    if (a->user)
        return user_page && (!write || (leaf & PTE_W));
    if (user_page && (pg_how.cr4 & CR4_SMAP) && !a->smap_off)
        return false;
    return !write || !(pg_how.cr0 & CR0_WP) || (leaf & PTE_W);
}

uint32_t pg_manual_error(enum walk_result result, const struct guest_access *a)
{
    uint32_t error = a->user ? 4 : 0;

    if (result != WALK_NOT_PRESENT)
        error |= 1;
    if (result == WALK_RESERVED)
        error |= 8;
    if (a->access & HV_ACCESS_WRITE)
        error |= 2;
    if ((a->access & HV_ACCESS_FETCH) &&
        ((pg_how.cr4 & CR4_SMEP) || ((pg_how.efer & EFER_NXE) && (pg_how.cr4 & CR4_PAE))))
        error |= 16;
    return error;
}

void pg_expect_translation(uint64_t gva, const struct guest_access *access, bool allowed,
                           uint64_t gpa, uint32_t error)
{
    gpa_t got = GPA(0x5a5a);
    uint32_t code = 0x5a5a;

    assert_int_equal(guest_translate(&kit.vm, &pg_how, access, GVA(gva), &got, &code), allowed);
    assert_int_equal(got.v, allowed ? gpa : 0x5a5a);
    assert_int_equal(code, allowed ? 0x5a5a : error);
}

struct guest_access pg_access_of(unsigned word)
{
    static const uint8_t kinds[] = {HV_ACCESS_READ, HV_ACCESS_WRITE, HV_ACCESS_FETCH,
                                    HV_ACCESS_READ | HV_ACCESS_WRITE};

    return (struct guest_access){
        .access = kinds[word & 3], .user = word >> 2 & 1, .smap_off = word >> 3 & 1};
}
