/*
 * Several devices at once: a frame buffer that two of them show, and the device's side of guest RAM around the hole below
 * 4 GiB. What a single device does there is in t_display.c, t_memory.c and t_transfer.c.
 */
#include "tests/guest/edu.h"

#define FRAME_NAME  7u /* of the section "lab.7", which an ivshmem device of the boot has as well */
#define FRAME_BYTES 0x800000ull
#define FRAME_PAGES (FRAME_BYTES / PAGE)
#define AT          0x3000u /* BAR2 page of the second window */
#define WC_TYPE     1u
#define CHUNK       LAB_BUFFER_BYTES
#define LARGE_RAM   0x80000000ull /* from there on the copies are as large as the scenario has them */
#define OFFSET      0x123u

/* ---- one frame buffer, two devices ---- */

static struct pci_function card;

static bool two_windows(void)
{
    struct pci_function f;

    card.present = false;
    for (unsigned n = 0; !card.present && share_find(&f, false, n); n++)
        if (f.bar[2].bytes == FRAME_BYTES)
            card = f;
    if (!card.present)
        skip("no ivshmem device with the lab's section");
    return card.present;
}

static uint64_t pixels(uint64_t page, uint64_t word, unsigned seed)
{
    return share_word(page, seed) ^ word << 40;
}

static void draw(uint64_t gva, unsigned seed)
{
    for (uint64_t p = 0; p < FRAME_PAGES; p++)
        for (uint64_t w = 0; w < 512; w += 127)
            store(gva + p * PAGE + w * 8, 8, pixels(p, w, seed));
    __asm__ volatile("sfence" ::: "memory");
}

static bool shows(uint64_t gva, unsigned seed, const char *where)
{
    for (uint64_t p = 0; p < FRAME_PAGES; p++)
        for (uint64_t w = 0; w < 512; w += 127)
            if (!expect_eq(where, load(gva + p * PAGE + w * 8, 8), pixels(p, w, seed)))
                return false;
    return true;
}

static void hypervisor_sees(uint32_t section, unsigned seed)
{
    uint64_t view;

    if (!expect_status(
            "view", LAB(LAB_CMD_VIEW_MAP, section, 0, 0, 0, 0, 0, 0, 1, 0, PROT_R | PROT_COMBINE),
            HV_OK))
        return;
    view = lab_result(0);
    for (uint64_t p = 0; p < FRAME_PAGES && !failed(); p += 61) {
        expect_status("read", LAB(LAB_CMD_MAPPING_READ, view, p * PAGE + 127 * 8, 8), HV_OK);
        expect_eq("pixels in the view", lab_result(0), pixels(p, 127, seed));
    }
    expect_status("unmap the view", LAB(LAB_CMD_VIEW_UNMAP, view, 0), HV_OK);
}

static void nothing_at(uint64_t gva, uint64_t base)
{
    for (uint64_t p = 0; p < FRAME_PAGES && !failed(); p += 97)
        expect_eq("leaf left behind", leaf_at(base + p * PAGE).present, 0);
    expect_eq("old address", load(gva, 8), ~0ull);
}

static void show_card(uint64_t gva)
{
    bar_show(&card, 2, gva, FRAME_BYTES, LARGE, PAT_WC);
}

/* The section is open: drawn through one device, seen through the other, which moves. */
static void drawn_and_moved(uint32_t section)
{
    uint64_t window = GVA_BAR2_2M + AT * PAGE, home = card.bar[2].base;
    uint64_t away = free_address(FRAME_BYTES);

    draw(GVA_FRAME, 1);
    shows(GVA_FRAME, 1, "where it was drawn");
    shows(window, 1, "the other device");
    hypervisor_sees(section, 1);
    command_set(&card, COMMAND_MEMORY, false);
    expect_eq("with decode off", load(GVA_FRAME, 8), ~0ull);
    store(GVA_FRAME, 8, 0);
    shows(window, 1, "the other device, with decode off");
    bar_set(&card, 2, away);
    show_card(GVA_MOVED);
    nothing_at(GVA_FRAME, home);
    shows(GVA_MOVED, 1, "moved");
    draw(window, 2);
    shows(GVA_MOVED, 2, "drawn by the other");
    hypervisor_sees(section, 2);
    bar_set(&card, 2, home); /* with decode on */
    nothing_at(GVA_MOVED, away);
    shows(GVA_FRAME, 2, "home again");
    unmap(GVA_MOVED, FRAME_BYTES, LARGE);
}

static void one_picture(unsigned i)
{
    uint64_t window = GVA_BAR2_2M + AT * PAGE;
    struct world before;
    uint32_t section;

    (void)i;
    if (!two_windows())
        return;
    show_card(GVA_FRAME);
    world_note(&before);
    if (!expect_status("open", LAB(LAB_CMD_SECTION_OPEN, SA_QUERY | SA_READ | SA_WRITE, FRAME_NAME),
                       HV_OK))
        return;
    section = (uint32_t)lab_result(0);
    expect_status("as WB, which it is not in force as",
                  bar_map(2, AT, FRAME_PAGES, F_TYPE(4), section, 0), HV_E_CACHE_CONFLICT);
    expect_status("map", bar_map(2, AT, FRAME_PAGES, F_WRITE, section, 0), HV_OK);
    leaf_is(lab.base[2] + AT * PAGE, 1, WC_TYPE, large_or_small(2));
    map(window, lab.base[2] + AT * PAGE, FRAME_BYTES, LARGE, 0);
    leaf_is(card.bar[2].base, 1, WC_TYPE, large_or_small(2));
    drawn_and_moved(section);
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    shows(GVA_FRAME, 2, "what is left");
    handle_drop(section);
    world_same(&before, "after the window went");
}

/* ---- RAM on both sides of the hole ---- */

static uint64_t low_end, high_end;
static uint8_t kept[LAB_BUFFER_BYTES] __attribute__((aligned(4096)));

static bool ram_on_both_sides(void)
{
    ram_ends(&low_end, &high_end);
    if (high_end == 0)
        skip("no RAM above 4 GiB");
    return high_end != 0;
}

/* The device writes a part of RAM and the guest reads it; then the other way round. It is left as it was. */
static bool chunk(uint64_t gpa, uint64_t seed)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    uint8_t *at = (uint8_t *)(uintptr_t)GVA_TMP;

    map(GVA_TMP, gpa, CHUNK, PAGE, 0);
    memcpy(kept, at, CHUNK);
    expect_status("write", LAB(LAB_CMD_GUEST_WRITE, 0, gpa, CHUNK, seed), HV_OK);
    for (uint64_t o = 0; o < CHUNK && !failed(); o += 8)
        expect_eq("the device's word", load(GVA_TMP + o, 8), LAB_PATTERN(seed, o));
    for (uint64_t o = 0; o < CHUNK; o += 8)
        store(GVA_TMP + o, 8, LAB_PATTERN(seed + 1, o));
    for (uint64_t o = 0; o < CHUNK; o++)
        hash = (hash ^ at[o]) * 0x100000001b3ull;
    expect_status("read", LAB(LAB_CMD_GUEST_READ, 0, gpa, CHUNK), HV_OK);
    expect_eq("its first word", lab_result(0), LAB_PATTERN(seed + 1, 0));
    expect_eq("its checksum", lab_result(1), hash);
    memcpy(at, kept, CHUNK);
    return !failed();
}

/* 32 MiB on either side when there is much RAM: the sizes of the scenario. */
static void across_the_top(unsigned i)
{
    uint64_t bytes;

    (void)i;
    if (!ram_on_both_sides())
        return;
    bytes = low_end >= LARGE_RAM ? 0x2000000 : 0x10000;
    say("# RAM up to 0x%lx and up to 0x%lx; 0x%lx bytes on either side\n", low_end, high_end,
        bytes);
    for (uint64_t o = 0; o < bytes; o += CHUNK)
        if (!chunk(low_end - bytes + o, o) || !chunk(FOUR_GIB + o, ~o))
            return;
    unmap(GVA_TMP, CHUNK, PAGE);
}

/* Three pages from offset 0x123 on: the last of low RAM, the first of high RAM; and none that reaches into the hole. */
static void apertures(unsigned i)
{
    static const struct {
        bool high;
        int64_t from;
        uint64_t bytes;
        hv_status_t expected;
    } rows[] = {
        {false, -3 * 4096, 3 * 4096 - OFFSET, HV_OK},
        {false, -3 * 4096, 3 * 4096 - OFFSET + 1, HV_E_GUEST_FAULT},
        {false, -1 * 4096, 3 * 4096, HV_E_GUEST_FAULT},
        {true, 0, 3 * 4096, HV_OK},
        {true, -4096, 2 * 4096, HV_E_GUEST_FAULT},
    };
    struct world before;

    (void)i;
    if (!ram_on_both_sides())
        return;
    world_note(&before);
    for (unsigned r = 0; r < COUNT_OF(rows) && !failed(); r++) {
        uint64_t gpa = (rows[r].high ? FOUR_GIB : low_end) + (uint64_t)rows[r].from + OFFSET;
        uint64_t index, last = (rows[r].bytes - 16) & ~7ull, was;

        expect_status("create", LAB(LAB_CMD_APERTURE_CREATE, 0, gpa, rows[r].bytes, 0),
                      rows[r].expected);
        if (rows[r].expected != HV_OK || failed())
            continue;
        index = lab_result(0);
        expect_eq("offset in the page", lab_result(1), OFFSET);
        map(GVA_TMP, gpa & ~(PAGE - 1), 4 * PAGE, PAGE, 0);
        last += 5; /* OFFSET + 5 is on a word */
        was = load(GVA_TMP + OFFSET + last, 8);
        expect_status("write", LAB(LAB_CMD_MAPPING_WRITE, index, last, 8, ~was), HV_OK);
        expect_eq("the device's word", load(GVA_TMP + OFFSET + last, 8), ~was);
        store(GVA_TMP + OFFSET + last, 8, was);
        expect_status("read", LAB(LAB_CMD_MAPPING_READ, index, last, 8), HV_OK);
        expect_eq("the guest's word", lab_result(0), was);
        expect_status("destroy", LAB(LAB_CMD_APERTURE_DESTROY, 0, index, 0), HV_OK);
    }
    unmap(GVA_TMP, 4 * PAGE, PAGE);
    world_same(&before, "after all of them");
}

/* edu's transfers: up to the last byte of low RAM; one more fails, and nothing is copied either way. */
static void edu_at_the_top(unsigned i)
{
    uint64_t at = GVA_TMP + PAGE - 64, was[8];

    (void)i;
    if (!ram_on_both_sides() || !edu_ready())
        return;
    if (low_end > 0x10000000) {
        skip("edu reaches 256 MiB");
        return;
    }
    map(GVA_TMP, low_end - PAGE, PAGE, PAGE, 0);
    for (unsigned k = 0; k < 8; k++) {
        was[k] = load(at + 8 * k, 8);
        store(at + 8 * k, 8, share_word(k, 3));
    }
    for (unsigned extra = 0; extra < 2; extra++) {
        /* into the device, whose buffer holds something else, and from there to other RAM */
        memset(kept, 0x44, 256);
        edu_start((uint64_t)(uintptr_t)kept, EDU_BUFFER, 256, 0, 8);
        edu_wait_while(R_COMMAND, DMA_START);
        edu_start(low_end - 64, EDU_BUFFER, 64 + extra, 0, 8);
        edu_wait_while(R_COMMAND, DMA_START);
        edu_start(EDU_BUFFER, (uint64_t)(uintptr_t)kept, 256, DMA_TO_RAM, 8);
        edu_wait_while(R_COMMAND, DMA_START);
        for (unsigned k = 0; k < 8; k++)
            expect_eq("in the device", load((uint64_t)(uintptr_t)kept + 8 * k, 8),
                      extra ? 0x4444444444444444 : share_word(k, 3));
        expect_eq("behind it", kept[64], 0x44);
        /* and out of it */
        memset(kept, 0x55 + (int)extra, 256);
        edu_start((uint64_t)(uintptr_t)kept, EDU_BUFFER, 256, 0, 8);
        edu_wait_while(R_COMMAND, DMA_START);
        edu_start(EDU_BUFFER, low_end - 64, 64 + extra, DMA_TO_RAM, 8);
        edu_wait_while(R_COMMAND, DMA_START);
        for (unsigned k = 0; k < 8; k++)
            expect_eq("in RAM", load(at + 8 * k, 8), extra ? share_word(k, 3) : 0x5555555555555555);
        for (unsigned k = 0; k < 8; k++)
            store(at + 8 * k, 8, share_word(k, 3));
    }
    for (unsigned k = 0; k < 8; k++)
        store(at + 8 * k, 8, was[k]);
    unmap(GVA_TMP, PAGE, PAGE);
}

static const struct check list[] = {
    {"scenario", "a frame buffer in two devices: one moves, both show it", NULL, 0, true,
     one_picture},
    {"scenario", "copies up to the top of low RAM and on from 4 GiB", NULL, 0, true,
     across_the_top},
    {"scenario", "apertures of three pages from offset 123h around the hole", NULL, 0, true,
     apertures},
    {"scenario", "edu's transfers end at the top of low RAM", NULL, 0, true, edu_at_the_top},
};
const struct check_list checks_scenario = {list, COUNT_OF(list)};
