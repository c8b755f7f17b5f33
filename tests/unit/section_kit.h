/*
 * Owns:     what the section tests share: a machine with RAM, two boot modules and a device, short forms.
 * Promises: section_kit_check() fails a test that leaves a section, a removed frame, a ledger entry or a
 *           frame behind.
 * Needs:    tests/fake/phys.h, tests/fake/window.h.
 * Never:    expectations of one test.
 */
#ifndef TESTS_UNIT_SECTION_KIT_H
#define TESTS_UNIT_SECTION_KIT_H

#include "tests/fake/host.h"

#include "hv/mem/event.h"
#include "hv/mem/section.h"

#define PHYS_BYTES   GIB(4ull)
#define RAM_BASE     MIB(16)
#define RAM_PAGES    16384u /* 64 MiB */
#define MODULE_BASE  MIB(512)
#define MODULE_BYTES 10000u
#define MODULE       3u
#define LARGE_MODULE 4u
#define DEVICE       GIB(2ull)
#define CPU_LIMIT    (1ull << 39)

#define ALL          (HV_SECTION_QUERY | HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE | HV_SECTION_MAP_EXECUTE)

/* As long as a name may be. */
#define NAME_63 "123456789 123456789 123456789 123456789 123456789 123456789 123"

int section_kit_group(void **state); /* once per program */
int section_kit_setup(void **state);
int section_kit_check(void **state);

uint64_t free_now(void);

/* Anonymous, read-write, committed. */
hv_status_t create(hv_handle_t *h, uint64_t bytes, uint32_t attributes);
hv_handle_t make(uint64_t bytes, uint32_t attributes);
hv_handle_t make_named(const char *name);

hv_status_t create_backed(hv_handle_t *h, uint64_t bytes, uint32_t attributes,
                          struct hv_section_backing backing);
struct hv_section_backing physical(uint64_t base, uint64_t bytes);
struct hv_section_backing module(uint32_t index);

void close_handle(hv_handle_t h);
struct section *ref(hv_handle_t h); /* as a range, to read */
void unref(struct section *s);
struct hv_section_info query(hv_handle_t h);

/* section_read() and its like, which must go well. */
void get_bytes(struct section *s, uint64_t offset, void *out, uint64_t bytes);
void put_bytes(struct section *s, uint64_t offset, const void *in, uint64_t bytes);
uint64_t checksum_of(struct section *s, uint64_t offset, uint64_t bytes);

/*
 * Takes frames so that the free ones lie as 2 MiB, 3 single frames and 2 MiB + 5 frames; with give_back,
 * the other way round.
 */
void fragment(hpa_t *all, uint64_t *pages, bool give_back);

#define TEST(name) cmocka_unit_test_setup_teardown(name, section_kit_setup, section_kit_check)

#endif
