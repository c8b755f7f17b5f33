/*
 * Owns:     what the tests of reserved sections share: short forms, and an owner of mappings that writes down what
 *           it is told.
 * Promises: a test that leaves a record behind fails; the owner checks which pages have frames when it is called.
 * Needs:    section_kit.h, tests/fake/slab.h, so that every record can fail.
 * Never:    expectations of one test.
 */
#ifndef TESTS_UNIT_COMMIT_KIT_H
#define TESTS_UNIT_COMMIT_KIT_H

#include "tests/unit/section_kit.h"

#include "hv/mem/mapping.h"

#define PAGES 64u /* of most sections here */

hv_handle_t reserve(uint64_t pages, uint32_t attributes);
void commit(hv_handle_t h, uint64_t page, uint64_t count);

/* section_frames(), with the lock. */
bool frame_at(struct section *s, uint64_t page, hpa_t *frame, uint64_t *run);

/* `run` pages of hole, or of contiguous frames, start at `page`. */
void expect_run(struct section *s, uint64_t page, bool has_frames, uint64_t run);

/* How many pages of [first, end) have frames. */
uint64_t committed_in(struct section *s, uint64_t first, uint64_t end);

void poison_free_frames(void);

enum call { PREPARE, COMMIT, CANCEL };

struct owner_call {
    enum call call;
    struct mapping *mapping;
    uint64_t page, pages;
};

struct owner_log {
    struct owner_call call[64];
    unsigned count;
    unsigned fail_in; /* the n-th prepare from now fails, once. 0: none */
    bool is_loose;    /* a window may have all its frames before */
};

extern struct owner_log owner_log;

/* A mapping of that owner. It takes no reference. */
void map(struct mapping *mapping, struct section *s, uint64_t page, uint64_t pages);
void unmap(struct mapping *mapping);

void expect_call(unsigned i, enum call call, struct mapping *mapping, uint64_t page,
                 uint64_t pages);

int commit_kit_setup(void **state);
int commit_kit_check(void **state);

#define COMMIT_TEST(name) cmocka_unit_test_setup_teardown(name, commit_kit_setup, commit_kit_check)

#endif
