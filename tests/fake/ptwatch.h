/*
 * Owns:     a pt_store that watches one tree: after every single store it walks the tables as a CPU would
 *           and compares with what each page said before and what it is to say afterwards.
 * Promises: a test fails when a page has a third translation, an entry is one that the manual forbids, a
 *           reachable table is changed behind pt_store or is dead or free, a dead table changes before the
 *           flush, or the flush duty is not exactly that of the stores seen.
 * Needs:    tests/fake/blocks.h. Its walker shares no code with ept/.
 * Never:    watches two trees at once.
 */
#ifndef TESTS_FAKE_PTWATCH_H
#define TESTS_FAKE_PTWATCH_H

#include "ept/ept.h"

#define WATCH_UNITS 2048u

/* Watch the tree. Its model is `units` (up to WATCH_UNITS) units of `unit_bytes` from `base`, each unit
 * uniform now. No flush is pending. */
void watch_start(const struct pt_root *root, uint64_t base, uint64_t unit_bytes, unsigned units);
void watch_stop(void);

/*
 * Likewise with a model of the caller's: after a store, `check` is given the run of addresses [from, to) that the store may
 * have changed. What watch_done() says about units does not apply then.
 */
void watch_start_pages(const struct pt_root *root, void (*check)(uint64_t from, uint64_t to));

/* The stores since the last watch_flushed() ask for a flush. */
bool watch_duty(void);

/* The operation that comes: whole units. */
void watch_map(uint64_t addr, hpa_t frame, uint64_t pages, const struct pt_attr *attr);
void watch_unmap(uint64_t addr, uint64_t pages);

/* It is over: every unit is new, and `flush` says what the stores ask for (since the last watch_flushed). */
void watch_done(const struct pt_flush *flush);

/* pt_flush_done() has run: what was dead is free, and zero. */
void watch_flushed(void);

/* Hardware: sets A/D bits in present leaves of the tree, one in `one_in`; within pt_store too. */
void watch_hardware(unsigned one_in);

/* Hardware: sets all A/D bits of the leaf that maps addr. */
void watch_dirty(uint64_t addr);

/* Stores seen since watch_start. */
uint64_t watch_stores(void);

/* The independent walk: 0, or frame | 0x80 | ipat << 6 | type << 3 | rights. */
uint64_t watch_walk(const struct pt_root *root, uint64_t addr);

/* Random numbers that are the same everywhere, from 1 or from the seed. */
uint64_t watch_random(void);
void watch_seed(uint64_t seed);

#endif
