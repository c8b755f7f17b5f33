#include "tests/unit/view_kit.h"

#include "tests/fake/blocks.h"
#include "tests/fake/slab.h"
#include "tests/fake/space.h"

/* ---- sections whose pages come later ---- */

static void a_commit_makes_views_live(void **state)
{
    hv_handle_t section = reserve(MIB(4));
    struct map_call view = whole(section), tail = whole(section), none = whole(section);

    (void)state;
    tail.offset = MIB(2);
    tail.protect = HV_PAGE_READONLY;
    none.protect = HV_PAGE_NOACCESS;
    map_ok(&view);
    map_ok(&tail);
    map_ok(&none);
    assert_false(is_mapped(view.base));
    assert_int_equal(hv_section_commit(section, 510, 4), HV_OK);
    assert_false(is_mapped(view.base + 509 * PAGE_BYTES));
    for (uint64_t page = 510; page < 514; page++)
        assert_int_equal(leaf_at(view.base + page * PAGE_BYTES).frame.v,
                         frame_of_page(section, page).v);
    assert_false(is_mapped(view.base + 514 * PAGE_BYTES));
    assert_int_equal(leaf_at(tail.base).frame.v, frame_of_page(section, 512).v);
    assert_int_equal(leaf_at(tail.base).attr.rights, PT_R);
    assert_false(is_mapped(tail.base + 2 * PAGE_BYTES));
    assert_int_equal(hv_space.pool.reserved, 0);
    assert_int_equal(hv_section_commit(section, 0, 1024), HV_OK);
    for (uint64_t page = 0; page < 1024; page++)
        assert_int_equal(leaf_at(view.base + page * PAGE_BYTES).frame.v,
                         frame_of_page(section, page).v);
    assert_false(is_mapped(none.base));
    assert_int_equal(hv_space.pool.reserved, 0);
    unmap_ok(view.base);
    unmap_ok(tail.base);
    unmap_ok(none.base);
    close_handle(section);
}

static void a_view_can_commit_its_first_pages(void **state)
{
    hv_handle_t section = reserve(MIB(1)), full = make(MIB(1), 0);
    struct map_call other = whole(section), view = whole(section);

    (void)state;
    map_ok(&other);
    view.offset = KIB(64);
    view.bytes = KIB(128);
    view.commit_bytes = PAGE_BYTES + 1;
    map_ok(&view);
    assert_true(is_mapped(view.base + PAGE_BYTES));
    assert_false(is_mapped(view.base + 2 * PAGE_BYTES));
    assert_int_equal(leaf_at(other.base + KIB(64)).frame.v, leaf_at(view.base).frame.v);
    assert_false(is_mapped(other.base));
    assert_int_equal(query(section).views, 2);
    unmap_ok(view.base);
    unmap_ok(other.base);
    view = whole(full); /* has its frames: nothing to do */
    view.commit_bytes = MIB(1);
    map_ok(&view);
    unmap_ok(view.base);
    close_handle(section);
    close_handle(full);
}

static void a_commit_without_frames_leaves_no_view(void **state)
{
    hv_handle_t section = reserve(RAM_PAGES * PAGE_BYTES);
    struct map_call view = whole(section);
    struct view_state before = view_state();

    (void)state;
    view.commit_bytes = RAM_PAGES * PAGE_BYTES;
    assert_int_equal(map_try(&view), HV_E_COMMITMENT_LIMIT);
    assert_int_equal(view.base, 0);
    assert_int_equal(view.bytes, 0);
    assert_same(before);
    assert_int_equal(query(section).views, 0);
    close_handle(section);
}

/* ---- failure ---- */

/* Each allocation of the call fails in turn; then the call that is not disturbed succeeds. */
static void fail_each(void (*make_fail)(unsigned nth), struct map_call call, hv_status_t want)
{
    unsigned nth = 1;

    for (;; nth++) {
        struct map_call try = call;
        struct view_state before = view_state();
        hv_status_t status;

        make_fail(nth);
        status = map_try(&try);
        make_fail(0);
        if (status == HV_OK) {
            unmap_ok(try.base);
            view_trim();
            break;
        }
        assert_int_equal(status, want);
        assert_int_equal(try.base, call.base);
        view_trim();
        assert_same(before);
        assert_true(nth < 100);
    }
    assert_true(nth > 1);
}

static void a_failing_allocation_changes_nothing(void **state)
{
    hv_handle_t section = make(MIB(28), 0), later = reserve(MIB(28));
    struct map_call call = whole(section);

    (void)state;
    fail_each(fake_slab_fail, call, HV_E_NO_MEMORY);
    call.base = VIEW_BASE + KIB(64); /* more tables than the root's block has */
    fail_each(fake_blocks_fail, call, HV_E_NO_MEMORY);
    call.protect |= HV_PAGE_WRITECOMBINE;
    fail_each(fake_blocks_fail, call, HV_E_NO_MEMORY);
    close_handle(section);
    call = whole(later);
    call.base = VIEW_BASE + KIB(64);
    call.commit_bytes = PAGE_BYTES;
    fail_each(fake_slab_fail, call, HV_E_NO_MEMORY);
    assert_int_equal(hv_section_commit(later, 2, MIB(28) / PAGE_BYTES - 2), HV_OK);
    call.commit_bytes = 0; /* runs of frames and of none */
    fail_each(fake_blocks_fail, call, HV_E_NO_MEMORY);
    close_handle(later);
}

static void a_commit_fails_before_any_view_changes(void **state)
{
    hv_handle_t section = reserve(MIB(64));
    struct map_call one = whole(section), two = whole(section);
    struct view_state before;
    unsigned nth = 1;

    (void)state;
    map_ok(&one);
    map_ok(&two);
    view_trim();
    before = view_state();
    for (;; nth++) {
        hv_status_t status;

        fake_blocks_fail(nth);
        status = hv_section_commit(section, 0, MIB(48) / PAGE_BYTES);
        fake_blocks_fail(0);
        if (status == HV_OK)
            break;
        assert_int_equal(status, HV_E_NO_MEMORY);
        view_trim();
        assert_same(before);
    }
    assert_true(nth > 2); /* the second view's tables were missing, too */
    assert_true(is_mapped(one.base) && is_mapped(two.base + MIB(48) - 1));
    assert_int_equal(hv_space.pool.reserved, 0);
    unmap_ok(one.base);
    unmap_ok(two.base);
    close_handle(section);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        VIEW_TEST(a_commit_makes_views_live),
        VIEW_TEST(a_view_can_commit_its_first_pages),
        VIEW_TEST(a_commit_without_frames_leaves_no_view),
        VIEW_TEST(a_failing_allocation_changes_nothing),
        VIEW_TEST(a_commit_fails_before_any_view_changes),
    };

    return cmocka_run_group_tests(tests, view_kit_group, NULL);
}
