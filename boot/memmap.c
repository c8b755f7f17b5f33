#include "boot/memmap.h"

#include "hv/base/bits.h"
#include "hv/base/string.h"

/* UEFI 2.10 "EFI_BOOT_SERVICES.GetMemoryMap()": the types that are or become ours. */
#define TYPE_LOADER_CODE  1u
#define TYPE_LOADER_DATA  2u
#define TYPE_BOOT_CODE    3u
#define TYPE_BOOT_DATA    4u
#define TYPE_CONVENTIONAL 7u
#define ATTRIBUTE_WB      BIT(3)
#define ATTRIBUTE_RUNTIME BIT(63)

/* Spans count pages, so that the top of the address space is a number like any other. */
#define TOP_PAGE (1ull << (64 - PAGE_SHIFT))

struct span {
    uint64_t first;
    uint64_t end;
    enum memmap_use use;
};

_Static_assert(sizeof(struct memmap_descriptor) == 40, "EFI_MEMORY_DESCRIPTOR version 1");

static enum memmap_use use_of(const struct memmap_descriptor *descriptor)
{
    if (!(descriptor->attribute & ATTRIBUTE_WB) || (descriptor->attribute & ATTRIBUTE_RUNTIME))
        return MEMMAP_FIRMWARE;
    switch (descriptor->type) {
    case TYPE_CONVENTIONAL:
        return MEMMAP_FREE;
    case TYPE_BOOT_CODE:
    case TYPE_BOOT_DATA:
        return MEMMAP_BOOT;
    case TYPE_LOADER_CODE:
    case TYPE_LOADER_DATA:
        return MEMMAP_KEPT;
    default:
        return MEMMAP_FIRMWARE;
    }
}

/* The whole pages a descriptor stands for; first == end when there are none. */
static struct span span_of(const struct memmap_descriptor *descriptor)
{
    struct span span = {.use = use_of(descriptor)};
    uint64_t first = descriptor->physical >> PAGE_SHIFT;
    bool ragged = !IS_ALIGNED(descriptor->physical, PAGE_BYTES);
    bool past_top = descriptor->pages > TOP_PAGE - first - ragged;

    if (descriptor->pages == 0)
        return span;
    if (span.use <= MEMMAP_BOOT) {
        if (!past_top) {
            span.first = first + ragged;
            span.end = first + descriptor->pages;
        }
        return span;
    }
    span.first = first;
    span.end = past_top ? TOP_PAGE : first + descriptor->pages + ragged;
    return span;
}

static struct span span_read(const void *map, size_t stride, size_t index)
{
    struct memmap_descriptor descriptor;

    memcpy(&descriptor, (const uint8_t *)map + index * stride, sizeof(descriptor));
    return span_of(&descriptor);
}

/* Add pages first..end behind the runs so far; returns their new number, max + 1 when full. */
static unsigned run_append(struct memmap_run *out, unsigned count, unsigned max, struct span span)
{
    if (span.first == 0 && span.use <= MEMMAP_BOOT)
        span.first = 1;
    if (span.first >= span.end)
        return count;

    if (count > 0) {
        struct memmap_run *last = &out[count - 1];

        if (last->use == span.use && (last->base >> PAGE_SHIFT) + last->pages == span.first) {
            last->pages += span.end - span.first;
            return count;
        }
    }
    if (count == max)
        return max + 1;
    out[count] = (struct memmap_run){
        .base = span.first << PAGE_SHIFT,
        .pages = span.end - span.first,
        .use = span.use,
    };
    return count + 1;
}

/*
 * Sweep upwards. Between two neighbouring edges of any spans the use is the same, so each step looks at
 * every span once: the strongest one that covers `at`, and the nearest edge above `at`.
 */
unsigned memmap_digest(const void *map, size_t map_bytes, size_t stride, struct memmap_run *out,
                       unsigned max)
{
    if (stride < sizeof(struct memmap_descriptor))
        return 0;

    /* The last descriptor may end with the struct, short of the stride. */
    size_t total = map_bytes / stride + (map_bytes % stride >= sizeof(struct memmap_descriptor));
    unsigned count = 0;

    for (uint64_t at = 0, next; at < TOP_PAGE; at = next) {
        bool covered = false;
        enum memmap_use use = MEMMAP_FREE;

        next = TOP_PAGE;
        for (size_t i = 0; i < total; i++) {
            struct span span = span_read(map, stride, i);

            if (span.first >= span.end || span.end <= at)
                continue;
            if (span.first > at) {
                next = MIN(next, span.first);
                continue;
            }
            next = MIN(next, span.end);
            covered = true;
            use = MAX(use, span.use);
        }
        if (!covered)
            continue;
        count = run_append(out, count, max, (struct span){at, next, use});
        if (count > max)
            return count;
    }
    return count;
}

const char *memmap_use_name(enum memmap_use use)
{
    switch (use) {
    case MEMMAP_FREE:
        return "free";
    case MEMMAP_BOOT:
        return "boot";
    case MEMMAP_KEPT:
        return "kept";
    case MEMMAP_FIRMWARE:
        return "firmware";
    }
    return "?";
}
