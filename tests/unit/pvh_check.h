/*
 * Owns:     a guest's RAM in four runs and one call of the loader under test.
 * Promises: an accepted image equals what a naive loader written against <elf.h> makes of it; a refused
 *           one has left RAM and result alone. Files and runs are heap blocks of their exact length, so
 *           that ASan sees each byte read or written too many.
 * Needs:    cmocka; fresh_ram and drop_ram around each test.
 * Never:    linked into the image.
 */
#ifndef TESTS_UNIT_PVH_CHECK_H
#define TESTS_UNIT_PVH_CHECK_H

#include "tests/fake/host.h"

#include "hv/vm/loader.h"
#include "tests/unit/pvh_file.h"

#define RUNS        4u
#define MODULE_ROOM 0x1801u

/* 0..8000h in two runs that touch, 10000h..14000h, and a page from 4 GiB on; not in order. */
extern struct loader_ram ram[RUNS];
extern struct loader_image image; /* a test may set everything but `elf` */
extern struct loader_entry entry;
extern uint8_t module_bytes[MODULE_ROOM];

int fresh_ram(void **state);
int drop_ram(void **state);

/* NULL: accepted, and checked byte by byte. Else the reason. */
const char *load(const struct file *file);
void expect_good(const struct file *file);
void expect_refused(const struct file *file, const char *reason);

#endif
