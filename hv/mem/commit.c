/*
 * Frames for the holes of a reserved section. They are taken, zeroed and hidden with no lock held, which may take
 * long; then, under section_lock, nobody may have filled one of the holes meanwhile, every mapping says that it
 * can take the frames, and they become the section's. Else they go back.
 */
#include "hv/mem/section.h"

#include "hv/base/assert.h"
#include "hv/base/lock.h"
#include "hv/mem/mapping.h"
#include "hv/mem/section_object.h"

/* Half-open, in section pages. */
struct window {
    uint64_t first, end;
};

/* The first hole of the section inside the window; false: none. section_lock is held. */
static bool first_hole(const struct section *section, const struct window *window,
                       struct window *hole)
{
    uint64_t at = window->first, run;
    hpa_t frame;

    while (at < window->end && section_frames(section, at, &frame, &run))
        at += run;
    if (at >= window->end)
        return false;
    *hole = (struct window){at, at + MIN(run, window->end - at)};
    return true;
}

/* New frames for all holes of the window. What was taken before a failure stays in `fresh`. */
static hv_status_t fill_holes(const struct section *section, const struct window *window,
                              struct extents *fresh)
{
    struct window left = *window, hole;
    hv_status_t status = HV_OK;

    while (status == HV_OK) {
        bool found;

        lock_acquire(&section_lock);
        found = first_hole(section, &left, &hole);
        lock_release(&section_lock);
        if (!found)
            break;
        status = extents_fill(fresh, hole.first, hole.end - hole.first, section->attributes);
        left.first = hole.end;
    }
    return status;
}

/* Every run of `fresh` in the window lies in a hole still. section_lock is held. */
static bool are_holes(const struct section *section, const struct window *window,
                      const struct extents *fresh)
{
    for (uint64_t at = window->first, run; at < window->end; at += run) {
        uint64_t hole;
        hpa_t frame;

        if (extents_find(fresh, at, &frame, &run)) {
            if (section_frames(section, at, &frame, &hole) || hole < run)
                return false;
        }
        run = MIN(run, window->end - at);
    }
    return true;
}

/* The least window that holds all of `fresh`, which is not empty and lies inside `window`. */
static struct window window_of(const struct extents *fresh, const struct window *window)
{
    struct window least = {window->end, window->first};

    for (uint64_t at = window->first, run; at < window->end; at += run) {
        hpa_t frame;

        if (extents_find(fresh, at, &frame, &run)) {
            least.first = MIN(least.first, at);
            least.end = at + run;
        } else {
            run = MIN(run, window->end - at);
        }
    }
    return least;
}

/* The part of a mapping inside the window, in pages of the mapping. */
static bool part_of(const struct mapping *mapping, const struct window *window, struct window *part)
{
    uint64_t start = mapping->section_page;
    uint64_t first = MAX(start, window->first);
    uint64_t end = MIN(start + mapping->pages, window->end);

    if (first >= end)
        return false;
    *part = (struct window){first - start, end - start};
    return true;
}

static hv_status_t prepare_all(const struct section *section, const struct window *window,
                               struct mapping **failed)
{
    struct window part;

    for (struct mapping *m = section->mappings; m != NULL; m = m->next) {
        hv_status_t status = HV_OK;

        if (part_of(m, window, &part))
            status = m->owner->prepare(m, part.first, part.end - part.first);
        if (status != HV_OK) {
            *failed = m;
            return status;
        }
    }
    return HV_OK;
}

static void cancel_before(const struct section *section, const struct window *window,
                          const struct mapping *failed)
{
    struct window part;

    for (struct mapping *m = section->mappings; m != failed; m = m->next)
        if (part_of(m, window, &part))
            m->owner->cancel(m, part.first, part.end - part.first);
}

/* `fresh` becomes the section's, in all mappings at once. section_lock is held. */
static hv_status_t enter(struct section *section, const struct window *window,
                         struct extents *fresh)
{
    struct window changed = window_of(fresh, window), part;
    struct mapping *failed;
    hv_status_t status = prepare_all(section, &changed, &failed);

    if (status != HV_OK) {
        cancel_before(section, &changed, failed);
        return status;
    }
    extents_join(&section->backing.extents, fresh);
    for (struct mapping *m = section->mappings; m != NULL; m = m->next)
        if (part_of(m, &changed, &part))
            m->owner->commit(m, part.first, part.end - part.first);
    return HV_OK;
}

/* One attempt. False: somebody else filled a part of the window meanwhile, nothing was changed. */
static bool try_commit(struct section *section, const struct window *window, hv_status_t *status)
{
    struct extents fresh = {.pages = 0};
    bool is_settled = true;

    *status = fill_holes(section, window, &fresh);
    if (*status == HV_OK && fresh.pages != 0) {
        lock_acquire(&section_lock);
        is_settled = are_holes(section, window, &fresh);
        if (is_settled)
            *status = enter(section, window, &fresh);
        lock_release(&section_lock);
    }
    extents_release(&fresh);
    return is_settled;
}

static hv_status_t check(const struct section *section, uint64_t page, uint64_t count)
{
    uint64_t pages = section_pages(section);

    if (count == 0)
        return HV_E_INVALID_PARAMETER_3;
    if (page > pages || count > pages - page)
        return HV_E_INVALID_VIEW_SIZE;
    if (section->facts.is_reserved && (section->attributes & HV_SEC_LARGE_PAGES) &&
        !IS_ALIGNED(page | count, LARGE_PAGES))
        return HV_E_MAPPED_ALIGNMENT;
    return HV_OK;
}

hv_status_t section_commit(struct section *section, uint64_t page, uint64_t count)
{
    const struct window window = {page, page + count};
    hv_status_t status = check(section, page, count);

    if (status != HV_OK || !section->facts.is_reserved)
        return status;
    while (!try_commit(section, &window, &status))
        ;
    return status;
}

hv_status_t hv_section_commit(hv_handle_t section, uint64_t page, uint64_t count)
{
    struct section *found;
    hv_status_t status;

    lock_acquire(&section_lock);
    status = section_of_handle(section, HV_SECTION_MAP_WRITE, &found);
    if (status == HV_OK)
        found->commits++; /* the handle may be closed while frames are zeroed */
    lock_release(&section_lock);
    if (status != HV_OK)
        return status;
    status = section_commit(found, page, count);
    lock_acquire(&section_lock);
    found->commits--;
    section_unlock_unused(found);
    return status;
}

bool section_is_committed(const struct section *section, uint64_t page, uint64_t count)
{
    const struct window window = {page, page + count};
    struct window hole;
    bool found;

    if (!section->facts.is_reserved)
        return true;
    lock_acquire(&section_lock);
    found = first_hole(section, &window, &hole);
    lock_release(&section_lock);
    return !found;
}
