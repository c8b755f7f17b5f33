#include "hv/mem/window.h"

#include "hv/base/piece.h"
#include "hv/mem/space.h"
#include "hv/x86/cpu.h"
#include "hv/x86/desc.h"

#define WINDOWS_PER_CPU 2u
#define LINE_BYTES      64u /* the smallest CLFLUSH line of any CPU with EPT or NPT */

static hva_t slot(unsigned i)
{
    return HVA(SPACE_WINDOW_BASE + (this_cpu()->index * WINDOWS_PER_CPU + i) * PAGE_BYTES);
}

void *window_open(hpa_t frame, enum memtype memtype)
{
    unsigned i = this_cpu()->windows_open++;

    ASSERT(i < WINDOWS_PER_CPU);
    space_window_set(slot(i), frame, memtype);
    return (void *)(uintptr_t)slot(i).v;
}

void window_close(void *window)
{
    unsigned i = --this_cpu()->windows_open;

    ASSERT((uint64_t)(uintptr_t)window == slot(i).v);
    space_window_clear(slot(i));
}

static hpa_t frame_of(hpa_t at)
{
    return HPA(at.v & ~PAGE_MASK);
}

void window_read(hpa_t at, enum memtype memtype, void *out, unsigned bytes)
{
    uint8_t *window = window_open(frame_of(at), memtype);

    piece_copy(out, window + (at.v & PAGE_MASK), bytes);
    window_close(window);
}

void window_write(hpa_t at, enum memtype memtype, const void *in, unsigned bytes)
{
    uint8_t *window = window_open(frame_of(at), memtype);

    piece_copy(window + (at.v & PAGE_MASK), in, bytes);
    if (memtype == MEMTYPE_WC)
        mfence(); /* what sits in the write-combining buffers must not outlive the window */
    window_close(window);
}

void window_flush_lines(hpa_t base, uint64_t pages)
{
    for (uint64_t page = 0; page < pages; page++) {
        /* CLFLUSH works on the physical line whatever the mapping's type; a cacheable one could prefetch it back. */
        uint8_t *window = window_open(HPA(base.v + page * PAGE_BYTES), MEMTYPE_UC);

        mfence();
        for (unsigned offset = 0; offset < PAGE_BYTES; offset += LINE_BYTES)
            clflush(window + offset);
        mfence();
        window_close(window);
    }
}
