/*
 * Owns:     what the tests of a guest's paging modes share: chains of tables, and the manual's words on entries and rights.
 * Promises: says by itself what an entry means, without the tables of hv/vm/walk.c.
 * Needs:    vm_kit: the kit is open.
 * Never:    expectations of one test.
 */
#ifndef TESTS_UNIT_PAGING_KIT_H
#define TESTS_UNIT_PAGING_KIT_H

#include "tests/unit/vm_kit.h"

#include "hv/vm/walk.h"

/* 32-bit paging without and with CR4.PSE, PAE, 4-level. */
enum pg_mode { PG_NONE, PG_TWO, PG_TWO_PSE, PG_PAE, PG_FOUR, PG_MODES };

#define PG_RW   (PTE_P | PTE_W | PTE_U)
#define PG_GVA  0x8d6f7abcull /* some index at every level of every mode */
#define PG_ROOT MIB(1)

extern struct guest_paging pg_how; /* what every call below walks with */

/* WP, NXE, tables at PG_ROOT. */
void pg_set_mode(enum pg_mode mode);

unsigned pg_levels_of(enum pg_mode mode);
unsigned pg_entry_bytes(enum pg_mode mode);
/* Bits of the offset into a page that a leaf at `level` maps. */
unsigned pg_span_shift(enum pg_mode mode, unsigned level);
bool pg_can_be_leaf(enum pg_mode mode, unsigned level);

uint64_t pg_load(uint64_t at, unsigned bytes);
void pg_store(uint64_t at, unsigned bytes, uint64_t entry);

/* A chain of tables for gva, alone, with a leaf at `level`: the root at CR3, the others pages behind each other. */
void pg_chain(enum pg_mode mode, uint64_t gva, unsigned level, uint64_t leaf);
void pg_chain_in(enum pg_mode mode, uint64_t tables, uint64_t gva, unsigned level, uint64_t leaf);
/* Where its entry at `level` is. */
uint64_t pg_entry_at(enum pg_mode mode, uint64_t gva, unsigned level);
uint64_t pg_entry_in(enum pg_mode mode, uint64_t tables, uint64_t gva, unsigned level);

void pg_expect(uint64_t gva, enum walk_result result);
void pg_expect_ok(uint64_t gva, uint64_t gpa, unsigned level);
void pg_expect_translation(uint64_t gva, const struct guest_access *access, bool allowed,
                           uint64_t gpa, uint32_t error);

/* What must be 0, as the manual's tables have it. */
uint64_t pg_must_be_zero(enum pg_mode mode, unsigned level, bool large, bool nxe, unsigned bits);
/* The manual's list of rights, case by case. `leaf`: what all entries together give. */
bool pg_manual_allows(uint64_t leaf, const struct guest_access *a);
uint32_t pg_manual_error(enum walk_result result, const struct guest_access *a);
/* An access of which the low four bits of `word` choose everything. */
struct guest_access pg_access_of(unsigned word);

#endif
