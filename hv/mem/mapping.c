#include "hv/mem/mapping.h"

#include "hv/base/assert.h"
#include "hv/mem/window.h"

static uint64_t live; /* mappings entered now. Lock: section_lock */

static uint64_t ledger_page(const struct section_facts *facts, uint64_t section_page)
{
    return facts->ledger_first + section_page;
}

hv_status_t mapping_choose_type(struct section *section, uint64_t section_page, uint64_t pages,
                                struct ledger_wish *wish)
{
    const struct section_facts *facts = section_facts(section);
    hv_status_t status;

    if (!wish->fixed)
        wish->memtype = facts->default_type;
    status = ledger_check(facts->ledger, ledger_page(facts, section_page), pages, wish);
    if (status != HV_OK)
        return status;
    /* Under second-level translation no MTRR would stop the CPU from caching device memory. */
    if (wish->memtype != MEMTYPE_UC && wish->memtype != MEMTYPE_WC && !facts->is_ram)
        return HV_E_CACHE_CONFLICT;
    return HV_OK;
}

/* Only commit asks which mappings a section has. */
static void list_add(struct mapping *mapping)
{
    struct mapping **head = section_mappings(mapping->section);

    mapping->prev = NULL;
    mapping->next = *head;
    if (*head)
        (*head)->prev = mapping;
    *head = mapping;
}

static void list_remove(struct mapping *mapping)
{
    if (mapping->next)
        mapping->next->prev = mapping->prev;
    if (mapping->prev)
        mapping->prev->next = mapping->next;
    else
        *section_mappings(mapping->section) = mapping->next;
}

void mapping_add(struct mapping *mapping, const struct ledger_place *place)
{
    const struct section_facts *facts = section_facts(mapping->section);

    live++;
    ledger_add(facts->ledger, &mapping->types, ledger_page(facts, mapping->section_page),
               mapping->pages, mapping->memtype, place);
    if (UNLIKELY(facts->is_reserved))
        list_add(mapping);
}

void mapping_remove(struct mapping *mapping)
{
    const struct section_facts *facts = section_facts(mapping->section);

    live--;
    ledger_remove(facts->ledger, &mapping->types);
    if (UNLIKELY(facts->is_reserved))
        list_remove(mapping);
}

void mapping_split(struct mapping *mapping, uint64_t pages, struct mapping *tail)
{
    const struct section_facts *facts = section_facts(mapping->section);

    ASSERT(pages != 0 && pages < mapping->pages);
    tail->section = mapping->section;
    tail->owner = mapping->owner;
    tail->section_page = mapping->section_page + pages;
    tail->pages = mapping->pages - pages;
    tail->memtype = mapping->memtype;
    ledger_split(facts->ledger, &mapping->types, ledger_page(facts, tail->section_page),
                 &tail->types);
    mapping->pages = pages;
    live++;
    section_ref_again(tail->section, tail->owner->user);
    if (UNLIKELY(facts->is_reserved))
        list_add(tail);
}

void mapping_unsplit(struct mapping *mapping, struct mapping *tail)
{
    const struct section_facts *facts = section_facts(mapping->section);

    ledger_unsplit(facts->ledger, &mapping->types, &tail->types);
    mapping->pages += tail->pages;
    live--;
    section_ref_undo(tail->section, tail->owner->user);
    if (UNLIKELY(facts->is_reserved))
        list_remove(tail);
}

bool mapping_overlaps(const struct mapping *mapping, const struct section *section,
                      uint64_t section_page, uint64_t pages)
{
    const struct section_facts *mine = section_facts(mapping->section);
    const struct section_facts *other = section_facts(section);
    uint64_t first = ledger_page(mine, mapping->section_page);
    uint64_t other_first = ledger_page(other, section_page);

    return mine->ledger == other->ledger && first < other_first + pages &&
           other_first < first + mapping->pages;
}

/* Lines of [section_page, section_page + pages), whose frames may lie anywhere. */
static void flush_lines(const struct section *section, uint64_t section_page, uint64_t pages)
{
    struct mapping window = {.section = (struct section *)(uintptr_t)section,
                             .section_page = section_page,
                             .pages = pages};

    for (uint64_t page = 0, run; page < pages; page += run) {
        hpa_t frame;

        if (mapping_frames(&window, page, &frame, &run))
            window_flush_lines(frame, run);
    }
}

void mapping_flush_lines(const struct section *section, uint64_t section_page, uint64_t pages)
{
    const struct section_facts *facts = section_facts(section);
    uint64_t first = ledger_page(facts, section_page);
    struct ledger_part part = {.first = first};

    /* Where a type is in force this was done before; another window would break that type. */
    while (ledger_next_free(facts->ledger, first, pages, &part))
        flush_lines(section, part.first - facts->ledger_first, part.pages);
}

bool mapping_type(const struct section *section, uint64_t section_page, enum memtype *memtype)
{
    const struct section_facts *facts = section_facts(section);

    return ledger_type(facts->ledger, ledger_page(facts, section_page), memtype);
}

bool mapping_frames(const struct mapping *mapping, uint64_t page, hpa_t *frame, uint64_t *run_pages)
{
    uint64_t section_page = mapping->section_page + page;
    const struct section_facts *facts = section_facts(mapping->section);
    bool has_frame = true;
    uint64_t run;

    /* Most sections have one run of frames, whose place is at hand. */
    if (LIKELY(section_page < facts->first_pages)) {
        *frame = HPA(facts->first_frame.v + (section_page << PAGE_SHIFT));
        run = facts->first_pages - section_page;
    } else {
        has_frame = section_frames(mapping->section, section_page, frame, &run);
    }
    *run_pages = MIN(run, mapping->pages - page);
    return has_frame;
}

uint64_t mapping_live_count(void)
{
    return __atomic_load_n(&live, __ATOMIC_RELAXED);
}
