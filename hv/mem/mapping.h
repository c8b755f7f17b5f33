/*
 * Owns:     what ranges and views have in common: a window of a section that somebody has mapped, with its
 *           reference and the memory type that it fixes.
 * Promises: one record per mapping, whatever its length and however scattered its frames; checks come first,
 *           and nothing that follows them can fail.
 * Needs:    hv/mem/section.h, ledger.h. Lock: section_lock, held by the caller of every function here.
 * Never:    tables. Who puts the frames where is the owner's business.
 *
 * A section counts its types in a ledger: its own one, by section page, when no one else can name its frames
 * (anonymous ones), else the machine's, by frame (windows of device memory, modules, I/O space).
 */
#ifndef HV_MEM_MAPPING_H
#define HV_MEM_MAPPING_H

#include "hv/mem/ledger.h"
#include "hv/mem/section.h"

struct mapping;

/*
 * What the owner of a mapping does when pages of a reserved section get frames. Called with section_lock held,
 * in this order for all mappings of the section: prepare for each (takes what can fail: table pages), then
 * either commit for each or cancel for each that was prepared: once per mapping, with the same window each time. The
 * pages are the mapping's own (0: its first). The window is the mapping's part of the least one that holds all pages
 * of the section that get frames now; others in between have theirs already, perhaps all of this mapping's. While
 * prepare runs the new ones have no frames yet, while commit runs every page of the window has one.
 */
struct mapping_owner {
    enum section_user user;
    hv_status_t (*prepare)(struct mapping *mapping, uint64_t page, uint64_t pages);
    void (*commit)(struct mapping *mapping, uint64_t page, uint64_t pages);
    void (*cancel)(struct mapping *mapping, uint64_t page, uint64_t pages);
};

struct mapping {
    struct section *section;
    const struct mapping_owner *owner;
    uint64_t section_page, pages;
    enum memtype memtype;        /* that it fixes */
    struct ledger_mapping types; /* its entry in the section's ledger */
    struct mapping *next, *prev; /* of a reserved section: all of its mappings */
};

/*
 * Check 7 of hv_mmio_range_create() and its like in views: may the pages have the type of `wish`? An open wish
 * (not fixed) becomes the type in force, else the section's default. HV_E_CACHE_CONFLICT: another type in force, or a
 * cacheable type on a window of device memory.
 */
hv_status_t mapping_choose_type(struct section *section, uint64_t section_page, uint64_t pages,
                                struct ledger_wish *wish) MUST_CHECK;

/*
 * The members section, owner, section_page, pages and memtype are set; memtype was allowed just now.
 * mapping_add() fixes the type and enters the mapping with its section; it does not take a reference
 * (section_ref_locked() did). `place`: see ledger_add(). mapping_remove() undoes it and leaves the reference.
 */
void mapping_add(struct mapping *mapping, const struct ledger_place *place);
void mapping_remove(struct mapping *mapping);

/* The mapping keeps its first `pages`, `tail` becomes the rest with a reference of its own. Both are entered. */
void mapping_split(struct mapping *mapping, uint64_t pages, struct mapping *tail);

/* The inverse: `mapping` gets back what mapping_split() gave `tail`, and the reference of that is gone. */
void mapping_unsplit(struct mapping *mapping, struct mapping *tail);

/* True when both name the same frames somewhere: their types depend on each other. */
bool mapping_overlaps(const struct mapping *mapping, const struct section *section,
                      uint64_t section_page, uint64_t pages);

/*
 * Drop the cache lines of RAM frames that get a type other than write-back, where no type is in force yet: a dirty
 * line left from write-back days would later overwrite what is stored there. Before mapping_add().
 */
void mapping_flush_lines(const struct section *section, uint64_t section_page, uint64_t pages);

static inline void mapping_flush_stale(const struct section *section, uint64_t section_page,
                                       uint64_t pages)
{
    if (section_facts(section)->is_ram)
        mapping_flush_lines(section, section_page, pages);
}

/* The type in force on a page of a section: false when none is. */
bool mapping_type(const struct section *section, uint64_t section_page, enum memtype *memtype);

/*
 * The frames of window page `page`: true, and how many pages follow contiguously (at most up to the window's
 * end); false: not committed, and how many of these follow.
 */
bool mapping_frames(const struct mapping *mapping, uint64_t page, hpa_t *frame,
                    uint64_t *run_pages);

/*
 * The first frame of a mapping that lies in the first run of frames of its section, mostly the only one: those of the other
 * pages follow. Else false. Needs no lock.
 */
static inline bool mapping_is_one_run(const struct mapping *mapping, hpa_t *frame)
{
    const struct section_facts *facts = section_facts(mapping->section);

    *frame = HPA(facts->first_frame.v + (mapping->section_page << PAGE_SHIFT));
    return mapping->section_page + mapping->pages <= facts->first_pages;
}

/* Mappings entered now, of all sections. */
uint64_t mapping_live_count(void);

#endif
