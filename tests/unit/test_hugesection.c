/* Sections of a GiB. All of the memory is the same 2 MiB again and again, so that zeroing it costs no memory. */
#define _GNU_SOURCE
#include "tests/fake/host.h"

#include <sys/mman.h>
#include <unistd.h>

#include "hv/mem/frames.h"
#include "hv/mem/section.h"
#include "tests/fake/phys.h"
#include "tests/fake/slab.h"
#include "tests/fake/window.h"

#define RAM_BASE   (GIB(1ull) - MIB(2))
#define RAM_BYTES  (GIB(1ull) + MIB(8))
#define HUGE_BYTES (HUGE_PAGES * PAGE_BYTES)

static int group(void **state)
{
    int memory = memfd_create("frames", 0);

    (void)state;
    assert_true(memory >= 0 && ftruncate(memory, MIB(2)) == 0);
    fake_phys_init(GIB(3ull));
    /* The allocator's own bitmap lies in the first 2 MiB, which stay alone. */
    for (uint64_t at = RAM_BASE + MIB(2); at < RAM_BASE + RAM_BYTES; at += MIB(2))
        assert_ptr_equal(mmap(direct(HPA(at)), MIB(2), PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_FIXED, memory, 0),
                         direct(HPA(at)));
    close(memory);
    assert_int_equal(frames_add(&hv_frames, HPA(RAM_BASE), RAM_BYTES / PAGE_BYTES), HV_OK);
    return 0;
}

static struct section *make(hv_handle_t *h, uint64_t bytes, uint32_t attributes)
{
    struct section *s;

    assert_int_equal(hv_section_create(h, HV_SECTION_MAP_READ, NULL, bytes, HV_PAGE_READWRITE,
                                       HV_SEC_COMMIT | attributes, NULL),
                     HV_OK);
    assert_int_equal(section_ref(*h, HV_SECTION_MAP_READ, SECTION_USER_VIEW, &s), HV_OK);
    return s;
}

static void drop(hv_handle_t h, struct section *s)
{
    section_unref(s, SECTION_USER_VIEW);
    assert_int_equal(hv_handle_close(h), HV_OK);
    assert_int_equal(section_live_count(), 0);
    assert_int_equal(fake_window.removed_pages, 0);
    assert_int_equal(fake_slab_live(), 0);
}

static void a_gib_is_one_aligned_run(void **state)
{
    hv_handle_t h;
    struct section *s = make(&h, HUGE_BYTES + MIB(1), 0);
    uint64_t run;

    (void)state;
    assert_int_equal(section_frame(s, 0, &run).v, GIB(1ull));
    assert_int_equal(run, HUGE_PAGES + 256);
    drop(h, s);
}

static void without_an_aligned_gib(void **state)
{
    uint64_t run;
    hv_handle_t h;
    hpa_t taken;
    struct section *s;

    (void)state;
    /* First fit: up to the first frame of the aligned GiB. 2 MiB pieces in a row are left. */
    do
        assert_int_equal(frames_alloc(&hv_frames, 1, 1, &taken), HV_OK);
    while (taken.v != GIB(1ull));
    s = make(&h, HUGE_BYTES, HV_SEC_CONTIGUOUS);
    assert_int_equal(section_frame(s, 0, &run).v, GIB(1ull) + MIB(2));
    assert_int_equal(run, HUGE_PAGES);
    drop(h, s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gib_is_one_aligned_run),
        cmocka_unit_test(without_an_aligned_gib),
    };

    return cmocka_run_group_tests(tests, group, NULL);
}
