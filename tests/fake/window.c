#define _GNU_SOURCE
#include "tests/fake/window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hv/base/direct.h"
#include "hv/mem/space.h"
#include "hv/mem/window.h"

#define FRAMES  (FAKE_WINDOW_LIMIT / PAGE_BYTES)
#define NESTING 2u

struct fake_window fake_window;

enum { IN_DIRECT_MAP, REMOVED, REMOVED_AND_FLUSHED };
static uint8_t state[FRAMES];
static unsigned fail_in;
static void (*meanwhile)(void);
static bool is_strict;

static void die(const char *why)
{
    fprintf(stderr, "fake_window: %s\n", why);
    abort();
}

static uint64_t frame_of(hpa_t at, uint64_t pages)
{
    uint64_t frame = at.v / PAGE_BYTES;

    if (at.v % PAGE_BYTES != 0 || pages == 0 || frame >= FRAMES || pages > FRAMES - frame)
        die("frames not aligned, none, or past FAKE_WINDOW_LIMIT");
    return frame;
}

static void protect(hpa_t base, uint64_t pages, int rights)
{
    if (is_strict && mprotect(direct(base), pages * PAGE_BYTES, rights) != 0)
        die("mprotect failed");
}

/* ---- the direct map ---- */

hv_status_t space_direct_remove(hpa_t base, uint64_t pages)
{
    uint64_t frame = frame_of(base, pages);
    void (*hook)(void) = meanwhile;

    meanwhile = NULL;
    if (hook != NULL)
        hook();
    fake_window.removals++;
    for (uint64_t i = 0; i < pages; i++) {
        if (state[frame + i] != IN_DIRECT_MAP)
            die("removed twice from the direct map");
    }
    if (fail_in != 0 && --fail_in == 0)
        return HV_E_NO_MEMORY;
    for (uint64_t i = 0; i < pages; i++)
        state[frame + i] = REMOVED;
    fake_window.removed_pages += pages;
    protect(base, pages, PROT_NONE);
    return HV_OK;
}

void space_direct_restore(hpa_t base, uint64_t pages)
{
    uint64_t frame = frame_of(base, pages);

    for (uint64_t i = 0; i < pages; i++) {
        if (state[frame + i] == IN_DIRECT_MAP)
            die("restored, but is in the direct map");
        state[frame + i] = IN_DIRECT_MAP;
    }
    fake_window.removed_pages -= pages;
    protect(base, pages, PROT_READ | PROT_WRITE);
}

void fake_direct_fail(unsigned nth)
{
    fail_in = nth;
}

void fake_direct_hook(void (*hook)(void))
{
    meanwhile = hook;
}

void fake_direct_strict(bool strict)
{
    if (fake_window.removed_pages != 0)
        die("strict is changed while frames are removed");
    is_strict = strict;
}

bool fake_direct_has(hpa_t frame)
{
    return state[frame_of(frame, 1)] == IN_DIRECT_MAP;
}

/* ---- windows ---- */

static bool is_hidden(hpa_t at)
{
    return at.v < FAKE_WINDOW_LIMIT && state[at.v / PAGE_BYTES] != IN_DIRECT_MAP;
}

/* What an EPT leaf and a stage-1 window of ours may carry; ept/memtype.c is not linked for this alone. */
static bool is_type(enum memtype memtype)
{
    return memtype == MEMTYPE_UC || memtype == MEMTYPE_WC || memtype == MEMTYPE_WT ||
           memtype == MEMTYPE_WP || memtype == MEMTYPE_WB;
}

void *window_open(hpa_t frame, enum memtype memtype)
{
    if (frame.v % PAGE_BYTES != 0 || !is_type(memtype))
        die("window_open: not a frame, or not a type");
    if (++fake_window.open > NESTING)
        die("windows nested too deep");
    fake_window.last_type = memtype;
    fake_window.last_at = frame;
    fake_window.last_bytes = PAGE_BYTES;
    if (is_hidden(frame))
        protect(frame, 1, PROT_READ | PROT_WRITE);
    return direct(frame);
}

void window_close(void *window)
{
    hpa_t frame = direct_to_hpa(window);

    if (fake_window.open-- == 0)
        die("window_close without window_open");
    if (is_hidden(frame))
        protect(frame, 1, PROT_NONE);
}

static uint8_t *open_piece(hpa_t at, enum memtype memtype, unsigned bytes)
{
    uint8_t *window = window_open(HPA(ALIGN_DOWN(at.v, PAGE_BYTES)), memtype);

    if (bytes > PAGE_BYTES - (at.v & PAGE_MASK))
        die("copy over a page border");
    fake_window.last_at = at;
    fake_window.last_bytes = bytes;
    return window;
}

void window_read(hpa_t at, enum memtype memtype, void *out, unsigned bytes)
{
    uint8_t *window = open_piece(at, memtype, bytes);

    fake_window.reads++;
    memcpy(out, window + (at.v & PAGE_MASK), bytes);
    window_close(window);
}

void window_write(hpa_t at, enum memtype memtype, const void *in, unsigned bytes)
{
    uint8_t *window = open_piece(at, memtype, bytes);

    fake_window.writes++;
    memcpy(window + (at.v & PAGE_MASK), in, bytes);
    window_close(window);
}

void window_flush_lines(hpa_t base, uint64_t pages)
{
    uint64_t frame = frame_of(base, pages);

    for (uint64_t i = 0; i < pages; i++) {
        if (state[frame + i] == IN_DIRECT_MAP)
            die("lines flushed while the direct map can still fill them");
        state[frame + i] = REMOVED_AND_FLUSHED;
    }
    fake_window.flushed_pages += pages;
}

bool fake_window_is_flushed(hpa_t frame)
{
    return state[frame_of(frame, 1)] == REMOVED_AND_FLUSHED;
}
