#include "hv/mem/slab.h"

#include "hv/base/assert.h"
#include "hv/base/direct.h"
#include "hv/base/string.h"
#include "hv/mem/frames.h"

#define RECORD_ALIGN     16u
#define RECORD_MAX_BYTES 2000u /* two in a page */
#define WORD_BITS        64u
#define FREE_WORDS       4u /* a page of the smallest records: fewer than 256 */

/*
 * The head of a page; the records follow. A record's address alone finds its page.
 *
 *      page ---[ head | record 0 | record 1 | ... | record n-1 | rest ]
 */
struct slab_page {
    struct slab *owner;
    struct slab_page *next;
    struct slab_page *prev;
    uint32_t free_count;
    uint32_t count;
    uint64_t free[FREE_WORDS]; /* bit per record, 1 = free */
} ALIGNED(RECORD_ALIGN);

_Static_assert((PAGE_BYTES - sizeof(struct slab_page)) / RECORD_ALIGN <= FREE_WORDS * WORD_BITS,
               "every record has a free bit");

static uint8_t *records_of(struct slab_page *page)
{
    return (uint8_t *)page + sizeof(*page);
}

static void link_page(struct slab *slab, struct slab_page *page)
{
    page->prev = NULL;
    page->next = slab->partial;
    if (page->next != NULL)
        page->next->prev = page;
    slab->partial = page;
}

static void unlink_page(struct slab *slab, struct slab_page *page)
{
    if (page->next != NULL)
        page->next->prev = page->prev;
    if (page->prev != NULL)
        page->prev->next = page->next;
    else
        slab->partial = page->next;
}

static struct slab_page *add_page(struct slab *slab)
{
    struct slab_page *page;
    hpa_t frame;

    ASSERT(slab->record_bytes != 0 && slab->record_bytes <= RECORD_MAX_BYTES);
    ASSERT(IS_ALIGNED(slab->record_bytes, RECORD_ALIGN));
    if (frames_alloc(&hv_frames, 1, 1, &frame) != HV_OK)
        return NULL;
    page = direct(frame);
    memset(page, 0, sizeof(*page));
    page->owner = slab;
    page->count = (uint32_t)((PAGE_BYTES - sizeof(*page)) / slab->record_bytes);
    page->free_count = page->count;
    for (unsigned i = 0; i < page->count; i++)
        page->free[i / WORD_BITS] |= 1ull << (i % WORD_BITS);
    link_page(slab, page);
    slab->pages++;
    return page;
}

static void drop_page(struct slab *slab, struct slab_page *page)
{
    unlink_page(slab, page);
    page->owner = NULL;
    slab->pages--;
    frames_free(&hv_frames, direct_to_hpa(page), 1);
}

static inline void *take_record(struct slab *slab, struct slab_page *page)
{
    unsigned word = 0;
    unsigned bit;

    while (page->free[word] == 0)
        word++;
    bit = (unsigned)__builtin_ctzll(page->free[word]);
    page->free[word] &= page->free[word] - 1;
    if (--page->free_count == 0)
        unlink_page(slab, page);
    slab->live++;
    return records_of(page) + (word * WORD_BITS + bit) * slab->record_bytes;
}

/* The lock is held, and released here. */
static __attribute__((noinline)) void *take_from_new_page(struct slab *slab)
{
    struct slab_page *page = add_page(slab);
    void *record = page != NULL ? take_record(slab, page) : NULL;

    lock_release(&slab->lock);
    return record;
}

void *slab_take(struct slab *slab)
{
    struct slab_page *page;
    void *record;

    lock_acquire(&slab->lock);
    page = slab->partial;
    if (UNLIKELY(page == NULL))
        return take_from_new_page(slab);
    record = take_record(slab, page);
    lock_release(&slab->lock);
    return record;
}

void *slab_alloc(struct slab *slab)
{
    void *record = slab_take(slab);

    if (record != NULL)
        memset(record, 0, slab->record_bytes);
    return record;
}

static void return_record(struct slab *slab, struct slab_page *page, unsigned offset)
{
    unsigned index = offset / slab->record_bytes;
    uint64_t bit = 1ull << (index % WORD_BITS);
    uint64_t *word = &page->free[index / WORD_BITS];

    ASSERT(index < page->count && offset % slab->record_bytes == 0);
    ASSERT((*word & bit) == 0); /* else a double free */
    *word |= bit;
    if (page->free_count++ == 0)
        link_page(slab, page);
    slab->live--;
}

void slab_free(struct slab *slab, void *record)
{
    uintptr_t at = (uintptr_t)record;
    struct slab_page *page = (struct slab_page *)ALIGN_DOWN(at, PAGE_BYTES);

    if (record == NULL)
        return;
    lock_acquire(&slab->lock);
    ASSERT(page->owner == slab && (at & PAGE_MASK) >= sizeof(*page));
    return_record(slab, page, (unsigned)((at & PAGE_MASK) - sizeof(*page)));
    if (page->free_count == page->count && (page->next != NULL || page->prev != NULL))
        drop_page(slab, page);
    lock_release(&slab->lock);
}

void slab_trim(struct slab *slab)
{
    struct slab_page *page;

    lock_acquire(&slab->lock);
    page = slab->partial;
    while (page != NULL) {
        struct slab_page *next = page->next;

        if (page->free_count == page->count)
            drop_page(slab, page);
        page = next;
    }
    lock_release(&slab->lock);
}
