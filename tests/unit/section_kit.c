#include "tests/unit/section_kit.h"

#include <string.h>

#include "hv/base/lock.h"
#include "hv/mem/frames.h"
#include "hv/mem/mapping.h"
#include "tests/fake/phys.h"
#include "tests/fake/window.h"

static uint64_t free_before;

uint64_t free_now(void)
{
    section_trim();
    return hv_frames.free_pages;
}

int section_kit_group(void **state)
{
    (void)state;
    fake_phys_init(PHYS_BYTES);
    fake_direct_strict(true);
    assert_int_equal(frames_add(&hv_frames, HPA(RAM_BASE), RAM_PAGES), HV_OK);
    memset(direct(HPA(MODULE_BASE)), 0xee, 3 * PAGE_BYTES);
    section_add_module(MODULE, HPA(MODULE_BASE), MODULE_BYTES);
    section_add_module(LARGE_MODULE, HPA(MODULE_BASE + MIB(2)), MIB(2));
    section_forbid(HPA(DEVICE + MIB(64) + 5), PAGE_BYTES);
    section_set_physical_limit(CPU_LIMIT);
    return 0;
}

int section_kit_setup(void **state)
{
    (void)state;
    free_before = free_now();
    return 0;
}

/* Nothing is left of any test. */
int section_kit_check(void **state)
{
    (void)state;
    assert_int_equal(section_live_count(), 0);
    assert_int_equal(section_ram_pages(), 0);
    assert_int_equal(fake_window.removed_pages, 0);
    assert_int_equal(fake_window.open, 0);
    assert_int_equal(mapping_live_count(), 0);
    assert_false(lock_is_held(&section_lock));
    assert_int_equal(free_now(), free_before);
    return 0;
}

/* ---- short forms ---- */

hv_status_t create(hv_handle_t *h, uint64_t bytes, uint32_t attributes)
{
    return hv_section_create(h, ALL, NULL, bytes, HV_PAGE_READWRITE, HV_SEC_COMMIT | attributes,
                             NULL);
}

hv_handle_t make(uint64_t bytes, uint32_t attributes)
{
    hv_handle_t h = 0;

    assert_int_equal(create(&h, bytes, attributes), HV_OK);
    assert_int_not_equal(h, 0);
    return h;
}

hv_handle_t make_named(const char *name)
{
    hv_handle_t h;

    assert_int_equal(
        hv_section_create(&h, ALL, name, PAGE_BYTES, HV_PAGE_READWRITE, HV_SEC_COMMIT, NULL),
        HV_OK);
    return h;
}

hv_status_t create_backed(hv_handle_t *h, uint64_t bytes, uint32_t attributes,
                          struct hv_section_backing backing)
{
    return hv_section_create(h, ALL, NULL, bytes, HV_PAGE_READWRITE, HV_SEC_COMMIT | attributes,
                             &backing);
}

struct hv_section_backing physical(uint64_t base, uint64_t bytes)
{
    return (struct hv_section_backing){
        .kind = HV_BACKING_PHYSICAL, .base = HPA(base), .bytes = bytes};
}

struct hv_section_backing module(uint32_t index)
{
    return (struct hv_section_backing){.kind = HV_BACKING_MODULE, .module = index};
}

void close_handle(hv_handle_t h)
{
    assert_int_equal(hv_handle_close(h), HV_OK);
}

struct section *ref(hv_handle_t h)
{
    struct section *s = NULL;

    assert_int_equal(section_ref(h, HV_SECTION_MAP_READ, SECTION_USER_RANGE, &s), HV_OK);
    return s;
}

void unref(struct section *s)
{
    section_unref(s, SECTION_USER_RANGE);
}

struct hv_section_info query(hv_handle_t h)
{
    struct hv_section_info info;

    memset(&info, 0xa5, sizeof(info));
    assert_int_equal(hv_section_query(h, &info), HV_OK);
    return info;
}

void get_bytes(struct section *s, uint64_t offset, void *out, uint64_t bytes)
{
    assert_int_equal(section_read(s, offset, out, bytes), HV_OK);
}

void put_bytes(struct section *s, uint64_t offset, const void *in, uint64_t bytes)
{
    assert_int_equal(section_write(s, offset, in, bytes), HV_OK);
}

uint64_t checksum_of(struct section *s, uint64_t offset, uint64_t bytes)
{
    uint64_t checksum = 0;

    assert_int_equal(section_checksum(s, offset, bytes, &checksum), HV_OK);
    return checksum;
}

void fragment(hpa_t *all, uint64_t *pages, bool give_back)
{
    static const uint64_t hole[][2] = {{512, 512}, {1100, 1}, {1102, 1}, {1104, 1}, {2048, 517}};
    uint64_t first = RAM_BASE / PAGE_BYTES;

    if (!give_back) {
        *pages = hv_frames.free_pages;
        assert_int_equal(frames_alloc(&hv_frames, *pages, 1, all), HV_OK);
    }
    for (unsigned i = 0; i < ARRAY_COUNT(hole); i++) {
        hpa_t base = HPA((first + hole[i][0]) * PAGE_BYTES);
        hpa_t got;

        if (!give_back) {
            frames_free(&hv_frames, base, hole[i][1]);
        } else {
            assert_int_equal(frames_alloc(&hv_frames, hole[i][1], 1, &got), HV_OK);
            assert_int_equal(got.v, base.v);
        }
    }
    if (give_back)
        frames_free(&hv_frames, *all, *pages);
}
