#include "tests/unit/commit_kit.h"

#include <string.h>

#include "hv/base/lock.h"
#include "hv/mem/frames.h"
#include "tests/fake/phys.h"
#include "tests/fake/slab.h"
#include "tests/fake/window.h"

hv_handle_t reserve(uint64_t pages, uint32_t attributes)
{
    hv_handle_t h;

    assert_int_equal(hv_section_create(&h, ALL, NULL, pages * PAGE_BYTES, HV_PAGE_READWRITE,
                                       HV_SEC_RESERVE | attributes, NULL),
                     HV_OK);
    return h;
}

void commit(hv_handle_t h, uint64_t page, uint64_t count)
{
    assert_int_equal(hv_section_commit(h, page, count), HV_OK);
}

bool frame_at(struct section *s, uint64_t page, hpa_t *frame, uint64_t *run)
{
    bool has_frame;

    lock_acquire(&section_lock);
    has_frame = section_frames(s, page, frame, run);
    lock_release(&section_lock);
    return has_frame;
}

/* `run` pages of hole, or of contiguous frames, start at `page`. */
void expect_run(struct section *s, uint64_t page, bool has_frames, uint64_t run)
{
    uint64_t got;
    hpa_t frame;

    assert_int_equal(frame_at(s, page, &frame, &got), has_frames);
    assert_int_equal(got, run);
}

uint64_t committed_in(struct section *s, uint64_t first, uint64_t end)
{
    uint64_t count = 0;

    for (uint64_t at = first, run; at < end; at += run) {
        hpa_t frame;
        bool has_frames = section_frames(s, at, &frame, &run);

        run = MIN(run, end - at);
        count += has_frames ? run : 0;
    }
    return count;
}

/* ---- a range or view that writes down what it is told ---- */

struct owner_log owner_log;

static void note(enum call call, struct mapping *mapping, uint64_t page, uint64_t pages)
{
    assert_true(lock_is_held(&section_lock));
    assert_true(owner_log.count < ARRAY_COUNT(owner_log.call));
    assert_true(pages != 0 && page + pages <= mapping->pages);
    owner_log.call[owner_log.count++] = (struct owner_call){call, mapping, page, pages};
}

static uint64_t frames_of(struct mapping *mapping, uint64_t page, uint64_t pages)
{
    uint64_t first = mapping->section_page + page;

    return committed_in(mapping->section, first, first + pages);
}

static hv_status_t prepare(struct mapping *mapping, uint64_t page, uint64_t pages)
{
    note(PREPARE, mapping, page, pages);
    assert_true(frames_of(mapping, page, pages) < pages || owner_log.is_loose);
    return owner_log.fail_in != 0 && --owner_log.fail_in == 0 ? HV_E_NO_MEMORY : HV_OK;
}

static void committed(struct mapping *mapping, uint64_t page, uint64_t pages)
{
    note(COMMIT, mapping, page, pages);
    assert_int_equal(frames_of(mapping, page, pages), pages);
}

static void cancel(struct mapping *mapping, uint64_t page, uint64_t pages)
{
    note(CANCEL, mapping, page, pages);
    assert_true(frames_of(mapping, page, pages) < pages);
}

static const struct mapping_owner owner = {
    .user = SECTION_USER_RANGE, .prepare = prepare, .commit = committed, .cancel = cancel};

void map(struct mapping *mapping, struct section *s, uint64_t page, uint64_t pages)
{
    *mapping = (struct mapping){
        .section = s, .owner = &owner, .section_page = page, .pages = pages, .memtype = MEMTYPE_WB};
    lock_acquire(&section_lock);
    mapping_add(mapping, NULL);
    lock_release(&section_lock);
}

void unmap(struct mapping *mapping)
{
    lock_acquire(&section_lock);
    mapping_remove(mapping);
    lock_release(&section_lock);
}

void expect_call(unsigned i, enum call call, struct mapping *mapping, uint64_t page, uint64_t pages)
{
    const struct owner_call *got = &owner_log.call[i];

    assert_true(i < owner_log.count);
    assert_int_equal(got->call, call);
    assert_ptr_equal(got->mapping, mapping);
    assert_int_equal(got->page, page);
    assert_int_equal(got->pages, pages);
}

/* ---- set-up ---- */

void poison_free_frames(void)
{
    hpa_t all;
    uint64_t left = hv_frames.free_pages;

    assert_int_equal(frames_alloc(&hv_frames, left, 1, &all), HV_OK);
    memset(direct(all), 0xa5, left * PAGE_BYTES);
    frames_free(&hv_frames, all, left);
}

int commit_kit_setup(void **state)
{
    memset(&owner_log, 0, sizeof(owner_log));
    section_lock = (struct lock){0}; /* a test that failed inside an owner's call left it held */
    fake_slab_fail(0);
    fake_direct_fail(0);
    fake_direct_hook(NULL);
    return section_kit_setup(state);
}

int commit_kit_check(void **state)
{
    assert_int_equal(fake_slab_live(), 0);
    return section_kit_check(state);
}
