/* What the records of a BAR's ranges say. Nothing here touches a table. */
#include "hv/pci/range.h"

#include "hv/mem/slab.h"

/* The machine's range records. Lock: its own, a leaf lock. */
static struct slab range_slab = SLAB_INIT("range", struct hv_range);

struct hv_range *record_take(void)
{
    return slab_take(&range_slab);
}

void record_free(struct hv_range *range)
{
    slab_free(&range_slab, range);
}

void record_trim(void)
{
    slab_trim(&range_slab);
}

struct hv_range *range_find(const struct hv_bar_state *bar, uint64_t bar_page)
{
    struct hv_range *range = range_of(tree_find_le(&bar->ranges, bar_page));

    return range && bar_page < range_end(range) ? range : NULL;
}

struct hv_range *records_overlap(const struct hv_bar_state *bar, uint64_t first, uint64_t pages)
{
    struct hv_range *range = range_find(bar, first);

    if (range)
        return range;
    range = range_of(tree_find_ge(&bar->ranges, first));
    return range && range->node.key < first + pages ? range : NULL;
}

/* The range that a cut before `page` would split, or NULL. */
static struct hv_range *straddler(const struct hv_bar_state *bar, uint64_t page)
{
    struct hv_range *range = page == 0 ? NULL : range_find(bar, page - 1);

    return range && range_end(range) > page ? range : NULL;
}

bool records_reserve(const struct hv_bar_state *bar, uint64_t first, uint64_t pages,
                     struct records_change *change)
{
    const uint64_t edges[2] = {first, first + pages};

    for (unsigned i = 0; i < ARRAY_COUNT(edges); i++) {
        change->cut[i] = NULL;
        if (!straddler(bar, edges[i]))
            continue;
        change->cut[i] = record_take();
        if (!change->cut[i]) {
            if (i == 1)
                record_free(change->cut[0]);
            return false;
        }
    }
    return true;
}

int64_t records_carve_count(const struct hv_bar_state *bar, uint64_t first, uint64_t pages)
{
    int64_t count = 0;

    for (struct hv_range *range = records_overlap(bar, first, pages);
         range && range->node.key < first + pages; range = range_of(tree_next(&range->node))) {
        count--;
        count += range->node.key < first;
        count += range_end(range) > first + pages;
    }
    return count;
}

void records_remove(struct hv_range *range)
{
    struct hv_bar_state *bar = range->bar;

    tree_remove(&bar->ranges, &range->node);
    range->listed = false;
    bar->device->range_count--;
}

/* `tail` becomes what lies from `page` on. */
static void cut(struct hv_range *range, uint64_t page, struct hv_range *tail)
{
    uint64_t pages;

    ASSERT(range != NULL);
    pages = page - range->node.key;
    *tail = (struct hv_range){
        .node.key = page,
        .bar = range->bar,
        .attr = range->attr,
        .flags = range->flags,
        .typed = true,
    };
    mapping_split(&range->map, pages, &tail->map);
    records_insert(tail, range);
}

static void uncut(struct hv_range *range, struct hv_range *tail)
{
    ASSERT(range != NULL);
    records_remove(tail);
    mapping_unsplit(&range->map, &tail->map);
    record_free(tail);
}

void records_carve(struct hv_bar_state *bar, uint64_t first, uint64_t pages,
                   struct records_change *change)
{
    const uint64_t edges[2] = {first, first + pages};

    for (unsigned i = 0; i < ARRAY_COUNT(edges); i++)
        if (change->cut[i])
            cut(straddler(bar, edges[i]), edges[i], change->cut[i]);
    change->gone = NULL;
    for (struct hv_range *range = records_overlap(bar, first, pages), *next; range; range = next) {
        next = range_of(tree_next(&range->node));
        if (next && next->node.key >= first + pages)
            next = NULL;
        records_remove(range);
        range->next = change->gone;
        change->gone = range;
    }
}

/* What a range is besides its place; its types are not entered now. */
static inline void aim(struct hv_range *range, struct section *section, uint64_t section_page,
                       uint32_t flags, struct pt_attr attr)
{
    range->map.section = section;
    range->map.section_page = section_page;
    range->map.memtype = (enum memtype)attr.memtype;
    range->flags = flags;
    range->attr = attr;
    if (UNLIKELY(attr.memtype != MEMTYPE_WB))
        mapping_flush_stale(section, section_page, range->map.pages);
    mapping_add(&range->map, NULL);
}

void records_retarget(struct hv_range *range, struct section *section, uint64_t section_page,
                      uint32_t flags, struct pt_attr attr, struct records_change *change)
{
    change->made = range;
    change->old_section = range->map.section;
    change->old_section_page = range->map.section_page;
    change->old_flags = range->flags;
    change->old_attr = range->attr;
    mapping_remove(&range->map);
    aim(range, section, section_page, flags, attr);
}

void records_undo(struct hv_bar_state *bar, uint64_t first, struct records_change *change)
{
    struct hv_range *range = change->made;

    if (change->old_section) {
        mapping_remove(&range->map);
        section_ref_undo(range->map.section, SECTION_USER_RANGE);
        aim(range, change->old_section, change->old_section_page, change->old_flags,
            change->old_attr);
        return;
    }
    if (range) {
        records_remove(range);
        mapping_remove(&range->map);
        section_ref_undo(range->map.section, SECTION_USER_RANGE);
        record_free(range);
    }
    while ((range = change->gone)) {
        change->gone = range->next;
        if (!range->typed)
            mapping_add(&range->map, NULL);
        range->typed = true;
        records_insert(range, range_of(tree_find_le(&bar->ranges, range->node.key)));
    }
    /* What was split off at the end first: it may be a part of what was split off before. */
    if (change->cut[1])
        uncut(range_find(bar, first + change->pages - 1), change->cut[1]);
    if (change->cut[0])
        uncut(range_find(bar, first - 1), change->cut[0]);
}
