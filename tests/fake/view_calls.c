#define _GNU_SOURCE
#include "tests/fake/view_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "hv/base/direct.h"
#include "hv/base/lock.h"
#include "hv/mem/space.h"
#include "tests/fake/view_ram.h"

#define MAX_VIEWS 64u

enum kind { NOTHING, OF_SECTION, OF_IO };

static struct {
    enum kind kind;
    uint8_t *base; /* page-aligned */
    uint64_t pages;
    uint8_t rights;
    struct section *section; /* OF_SECTION */
    uint64_t section_page;
    uint8_t *address; /* OF_IO: as returned */
} view[MAX_VIEWS];

struct fake_view_args fake_view_args;
hv_status_t fake_view_answer;

static void die(const char *why)
{
    perror(why);
    abort();
}

static hv_status_t take_answer(void)
{
    hv_status_t answer = fake_view_answer;

    fake_view_answer = HV_OK;
    return answer;
}

static unsigned take_place(enum kind kind, uint64_t pages, uint32_t protect)
{
    unsigned i = 0;

    while (i < MAX_VIEWS && view[i].kind != NOTHING)
        i++;
    if (i == MAX_VIEWS)
        die("fake_view: too many");
    view[i].kind = kind;
    view[i].pages = pages;
    view[i].base = fake_view_addresses(pages * PAGE_BYTES);
    view[i].rights = 0;
    if (!(protect & HV_PAGE_NOACCESS))
        view[i].rights = PT_R | (protect & HV_PAGE_READWRITE ? PT_W : 0);
    fake_view_live++;
    return i;
}

/* An old size of 0 maps shared memory once more. */
static void map_page(unsigned i, uint64_t page, hpa_t frame)
{
    uint8_t *at = view[i].base + page * PAGE_BYTES;
    int prot = (view[i].rights & PT_R ? PROT_READ : 0) | (view[i].rights & PT_W ? PROT_WRITE : 0);

    if (mremap(direct(frame), 0, PAGE_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, at) != at)
        die("fake_view: mremap");
    if (mprotect(at, PAGE_BYTES, prot) != 0)
        die("fake_view: mprotect");
}

static void forget(unsigned i)
{
    if (mmap(view[i].base, view[i].pages * PAGE_BYTES, PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != view[i].base)
        die("fake_view: mmap");
    view[i].kind = NOTHING;
    fake_view_live--;
}

static bool holds(unsigned i, uint64_t address)
{
    return view[i].kind != NOTHING &&
           address - (uintptr_t)view[i].base < view[i].pages * PAGE_BYTES;
}

/* Does the section have a frame there? */
static bool frame_at(unsigned i, uint64_t page, hpa_t *frame)
{
    uint64_t run;
    bool found;

    lock_acquire(&section_lock);
    found = section_frames(view[i].section, view[i].section_page + page, frame, &run);
    lock_release(&section_lock);
    return found;
}

hv_status_t hv_section_map_view(hv_handle_t section, hv_handle_t space, void **base,
                                uint32_t zero_bits, uint64_t commit_size, uint64_t *section_offset,
                                uint64_t *view_size, uint32_t inherit, uint32_t allocation_type,
                                uint32_t protect)
{
    hv_status_t status = take_answer();
    struct section *object;
    unsigned i;

    fake_view_args = (struct fake_view_args){.section = section,
                                             .space = space,
                                             .base = (uintptr_t)*base,
                                             .zero_bits = zero_bits,
                                             .commit_size = commit_size,
                                             .section_offset = *section_offset,
                                             .view_size = *view_size,
                                             .inherit = inherit,
                                             .allocation_type = allocation_type,
                                             .protect = protect};
    if (status == HV_OK)
        status = section_ref(section, HV_SECTION_MAP_READ, SECTION_USER_VIEW, &object);
    if (status != HV_OK)
        return status;
    if (*view_size == 0)
        *view_size = section_pages(object) * PAGE_BYTES - *section_offset;
    *view_size = ALIGN_UP(*view_size, PAGE_BYTES);
    i = take_place(OF_SECTION, *view_size / PAGE_BYTES, protect);
    view[i].section = object;
    view[i].section_page = *section_offset / PAGE_BYTES;
    for (uint64_t page = 0; page < view[i].pages; page++) {
        hpa_t frame;

        if (frame_at(i, page, &frame))
            map_page(i, page, frame);
    }
    *base = view[i].base;
    return HV_OK;
}

hv_status_t hv_section_unmap_view(hv_handle_t space, void *base)
{
    if (space != HV_SPACE_HYPERVISOR)
        return HV_E_INVALID_HANDLE;
    for (unsigned i = 0; i < MAX_VIEWS; i++)
        if (view[i].kind == OF_SECTION && holds(i, (uintptr_t)base)) {
            forget(i);
            section_unref(view[i].section, SECTION_USER_VIEW);
            return HV_OK;
        }
    return HV_E_NOT_MAPPED;
}

hv_status_t hv_io_space_map(hpa_t phys, uint64_t bytes, uint32_t protect, void **va)
{
    uint64_t offset = phys.v & PAGE_MASK;
    hv_status_t status = take_answer();
    unsigned i;

    fake_view_args = (struct fake_view_args){.phys = phys.v, .bytes = bytes, .protect = protect};
    if (status != HV_OK)
        return status;
    i = take_place(OF_IO, pages_of(offset + bytes), protect);
    for (uint64_t page = 0; page < view[i].pages; page++)
        map_page(i, page, HPA(phys.v - offset + page * PAGE_BYTES));
    view[i].address = view[i].base + offset;
    *va = view[i].address;
    return HV_OK;
}

hv_status_t hv_io_space_unmap(void *va, uint64_t bytes)
{
    for (unsigned i = 0; i < MAX_VIEWS; i++)
        if (view[i].kind == OF_IO && view[i].address == va) {
            if (pages_of(((uintptr_t)va & PAGE_MASK) + bytes) != view[i].pages)
                return HV_E_INVALID_PARAMETER_2;
            forget(i);
            return HV_OK;
        }
    return HV_E_NOT_MAPPED;
}

void view_trim(void)
{
}

bool space_lookup(hva_t address, struct pt_leaf *leaf)
{
    bool read_only;
    hpa_t frame;

    *leaf = (struct pt_leaf){.level = 1, .attr = {.memtype = MEMTYPE_WB}};
    if (fake_view_ram_at((const void *)(uintptr_t)address.v, &read_only)) {
        leaf->attr.rights = PT_R | (read_only ? 0 : PT_W);
        return true;
    }
    for (unsigned i = 0; i < MAX_VIEWS; i++)
        if (holds(i, address.v)) {
            uint64_t page = (address.v - (uintptr_t)view[i].base) / PAGE_BYTES;

            leaf->attr.rights = view[i].rights;
            return view[i].rights != 0 && (view[i].kind == OF_IO || frame_at(i, page, &frame));
        }
    return false;
}
