#include "hv/mem/frames.h"

#include "hv/base/assert.h"
#include "hv/base/bits.h"
#include "hv/base/direct.h"
#include "hv/base/string.h"

#define WORD_BITS 64u

struct frames hv_frames;

static uint64_t frame_of(hpa_t at)
{
    return at.v >> PAGE_SHIFT;
}

static hpa_t page_to_hpa(const struct frames_region *r, uint64_t page)
{
    return HPA(r->base.v + (page << PAGE_SHIFT));
}

/* The pages that a region's bitmap itself takes. */
static uint64_t bitmap_pages(uint64_t pages)
{
    return pages_of((pages + WORD_BITS - 1) / WORD_BITS * sizeof(uint64_t));
}

/*
 * The first page in [from, end) whose bit is `used`, else end. Whole words are skipped: XOR with `skip`
 * turns the wanted bits into ones.
 */
static uint64_t next_with(const struct frames_region *r, uint64_t from, uint64_t end, bool used)
{
    uint64_t skip = used ? 0 : ~0ull;
    uint64_t index = from / WORD_BITS;
    uint64_t word;

    if (from >= end)
        return end;
    word = (r->used[index] ^ skip) & (~0ull << (from % WORD_BITS));
    while (word == 0) {
        if (++index * WORD_BITS >= end)
            return end;
        word = r->used[index] ^ skip;
    }
    from = index * WORD_BITS + (uint64_t)__builtin_ctzll(word);
    return MIN(from, end);
}

static uint64_t next_free(const struct frames_region *r, uint64_t from)
{
    return next_with(r, from, r->pages, false);
}

/* Turn `pages` bits from `page` over; every one of them has the other value now. */
static void flip(struct frames_region *r, uint64_t page, uint64_t pages, bool used)
{
    while (pages != 0) {
        unsigned shift = (unsigned)(page % WORD_BITS);
        uint64_t count = MIN(pages, WORD_BITS - shift);
        uint64_t mask = (~0ull >> (WORD_BITS - count)) << shift;
        uint64_t *word = &r->used[page / WORD_BITS];

        ASSERT((*word & mask) == (used ? 0 : mask)); /* else a double free, or a broken bitmap */
        *word ^= mask;
        page += count;
        pages -= count;
    }
}

static void take(struct frames *f, struct frames_region *r, uint64_t page, uint64_t pages)
{
    flip(r, page, pages, true);
    if (page == r->hint)
        r->hint = page + pages;
    r->free_pages -= pages;
    f->free_pages -= pages;
}

static void insert_region(struct frames *f, const struct frames_region *region)
{
    uint64_t first = frame_of(region->base);
    unsigned at = f->count;

    while (at > 0 && frame_of(f->region[at - 1].base) > first) {
        f->region[at] = f->region[at - 1];
        at--;
    }
    f->region[at] = *region;
    f->count++;
}

hv_status_t frames_add(struct frames *f, hpa_t base, uint64_t pages)
{
    struct frames_region r = {.base = base, .pages = pages, .used = direct(base)};
    uint64_t own = bitmap_pages(pages);
    uint64_t words = own * (PAGE_BYTES / sizeof(uint64_t));

    ASSERT(IS_ALIGNED(base.v, PAGE_BYTES) && pages != 0);
    lock_acquire(&f->lock);
    ASSERT(!frames_owns(f, base, pages));
    if (f->count == FRAMES_MAX_REGIONS) {
        lock_release(&f->lock);
        return HV_E_QUOTA;
    }
    /* Bits past the end stay used, so that no scan ever takes them for free. */
    memset(r.used, 0xff, words * sizeof(uint64_t));
    r.free_pages = pages - own;
    r.hint = own;
    flip(&r, own, r.free_pages, false);
    insert_region(f, &r);
    f->free_pages += r.free_pages;
    f->total_pages += pages;
    lock_release(&f->lock);
    return HV_OK;
}

/* First fit at or after the hint. */
static bool find_run(struct frames_region *r, uint64_t pages, uint64_t align, uint64_t *found)
{
    uint64_t first = frame_of(r->base);
    uint64_t page;

    if (r->free_pages < pages)
        return false;
    page = r->hint = next_free(r, r->hint);
    while (pages != 1 || align != 1) {
        uint64_t busy;

        page = ALIGN_UP(first + next_free(r, page), align) - first;
        if (page >= r->pages || pages > r->pages - page)
            return false;
        busy = next_with(r, page, page + pages, true);
        if (busy == page + pages)
            break;
        page = busy + 1;
    }
    *found = page;
    return true;
}

static bool alloc_locked(struct frames *f, uint64_t pages, uint64_t align, hpa_t *base)
{
    uint64_t page;

    if (f->free_pages < pages)
        return false;
    for (unsigned i = 0; i < f->count; i++) {
        struct frames_region *r = &f->region[i];

        if (find_run(r, pages, align, &page)) {
            take(f, r, page, pages);
            *base = page_to_hpa(r, page);
            return true;
        }
    }
    return false;
}

hv_status_t frames_alloc(struct frames *f, uint64_t pages, uint64_t align_pages, hpa_t *base)
{
    bool done;

    ASSERT(pages != 0 && IS_POW2(align_pages));
    lock_acquire(&f->lock);
    done = alloc_locked(f, pages, align_pages, base);
    lock_release(&f->lock);
    return done ? HV_OK : HV_E_NO_MEMORY;
}

struct run {
    struct frames_region *region;
    uint64_t page;
    uint64_t pages;
};

/* What of the free pages [page, end) an extent may be: see frames_alloc_extent(). */
static void clip_run(struct run *run, uint64_t end)
{
    uint64_t first = frame_of(run->region->base);
    uint64_t aligned = ALIGN_UP(first + run->page, LARGE_PAGES) - first;

    if (aligned < end && end - aligned >= LARGE_PAGES) {
        run->page = aligned;
        run->pages = ALIGN_DOWN(end - aligned, LARGE_PAGES);
    } else {
        run->pages = MIN(end - run->page, LARGE_PAGES - 1);
    }
}

static void find_longest(struct frames_region *r, struct run *best)
{
    uint64_t page = next_free(r, r->hint);

    while (page < r->pages && r->free_pages > best->pages) {
        struct run run = {.region = r, .page = page};
        uint64_t end = next_with(r, page, r->pages, true);

        clip_run(&run, end);
        if (run.pages > best->pages)
            *best = run;
        page = next_free(r, end);
    }
}

hv_status_t frames_alloc_extent(struct frames *f, uint64_t pages, hpa_t *base, uint64_t *got)
{
    struct run best = {.pages = 0};
    bool done;

    ASSERT(pages != 0);
    lock_acquire(&f->lock);
    done = alloc_locked(f, pages, pages >= LARGE_PAGES ? LARGE_PAGES : 1, base);
    if (done) {
        *got = pages;
    } else {
        for (unsigned i = 0; i < f->count; i++)
            find_longest(&f->region[i], &best);
        best.pages = MIN(best.pages, pages);
        done = best.pages != 0;
        if (done) {
            take(f, best.region, best.page, best.pages);
            *base = page_to_hpa(best.region, best.page);
            *got = best.pages;
        }
    }
    lock_release(&f->lock);
    return done ? HV_OK : HV_E_NO_MEMORY;
}

static struct frames_region *region_of(struct frames *f, uint64_t frame)
{
    for (unsigned i = 0; i < f->count; i++) {
        struct frames_region *r = &f->region[i];

        if (frame - frame_of(r->base) < r->pages)
            return r;
    }
    return NULL;
}

void frames_free(struct frames *f, hpa_t base, uint64_t pages)
{
    struct frames_region *r;
    uint64_t page;

    ASSERT(IS_ALIGNED(base.v, PAGE_BYTES) && pages != 0);
    lock_acquire(&f->lock);
    r = region_of(f, frame_of(base));
    ASSERT(r != NULL);
    page = frame_of(base) - frame_of(r->base);
    ASSERT(page >= bitmap_pages(r->pages) && pages <= r->pages - page);
    flip(r, page, pages, false);
    r->hint = MIN(r->hint, page);
    r->free_pages += pages;
    f->free_pages += pages;
    lock_release(&f->lock);
}

bool frames_owns(const struct frames *f, hpa_t base, uint64_t pages)
{
    uint64_t first = frame_of(base);

    for (unsigned i = 0; i < f->count; i++) {
        uint64_t start = frame_of(f->region[i].base);

        if (first < start + f->region[i].pages && start < first + pages)
            return true;
    }
    return false;
}
