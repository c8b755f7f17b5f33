#include "hv/mem/view_area.h"

#include "hv/base/assert.h"

static struct area_slot *slot_of(struct tree_node *node)
{
    return CONTAINER_OF(node, struct area_slot, node);
}

static struct area_slot *hole_owner(struct tree_node *node)
{
    return CONTAINER_OF(node, struct area_slot, hole);
}

static uint64_t hole_start(const struct area_slot *slot)
{
    return ALIGN_UP(slot->end, AREA_BLOCK);
}

static uint64_t hole_end(const struct area_slot *slot)
{
    return ALIGN_DOWN(slot->free_end, AREA_BLOCK);
}

static bool has_hole(const struct area_slot *slot)
{
    return hole_start(slot) < hole_end(slot);
}

void area_init(struct area *area, uint64_t base, uint64_t end)
{
    ASSERT(base < end && IS_ALIGNED(base | end, AREA_BLOCK));
    *area = (struct area){.start = {.end = base, .free_end = end}};
    area->start.node.key = base;
    area->start.hole.key = base;
    tree_insert(&area->holes, &area->start.hole);
}

/* ---- where ---- */

/* The base that `want` gets in the hole behind `slot`. */
static bool fits(const struct area_slot *slot, const struct area_want *want, uint64_t *base)
{
    uint64_t start = ALIGN_UP(hole_start(slot), want->align), end = hole_end(slot);
    uint64_t bytes = ALIGN_UP(want->bytes, AREA_BLOCK);

    if (start >= want->limit || start >= end || bytes > end - start)
        return false;
    *base = want->top_down ? ALIGN_DOWN(MIN(end - bytes, want->limit - 1), want->align) : start;
    return true;
}

static struct tree_node *first_hole(const struct area *area, const struct area_want *want)
{
    return want->top_down ? tree_find_le(&area->holes, want->limit - 1) : tree_first(&area->holes);
}

bool area_find(struct area *area, const struct area_want *want, struct area_spot *spot)
{
    struct tree_node *node = first_hole(area, want);

    while (node != NULL && !fits(hole_owner(node), want, &spot->base))
        node = want->top_down ? tree_prev(node) : tree_next(node);
    if (node == NULL)
        return false;
    spot->area = area;
    spot->before = hole_owner(node);
    return true;
}

/* The last slot that begins at or before the address; the start, when there is none. */
static struct area_slot *slot_before(struct area *area, uint64_t address)
{
    struct tree_node *node = tree_find_le(&area->slots, address);

    return node != NULL ? slot_of(node) : &area->start;
}

bool area_find_at(struct area *area, uint64_t base, uint64_t bytes, struct area_spot *spot)
{
    struct area_slot *before = slot_before(area, base);

    if (base < before->end || base >= before->free_end || bytes > before->free_end - base)
        return false;
    *spot = (struct area_spot){.area = area, .before = before, .base = base};
    return true;
}

struct area_slot *area_at(const struct area *area, uint64_t address)
{
    struct tree_node *node = tree_find_le(&area->slots, address);

    return node != NULL && address < slot_of(node)->end ? slot_of(node) : NULL;
}

/* ---- taking and releasing ---- */

void area_take(const struct area_spot *spot, struct area_slot *slot, uint64_t bytes)
{
    struct area *area = spot->area;
    struct area_slot *before = spot->before;
    bool had = has_hole(before);

    ASSERT(spot->base >= before->end && spot->base + bytes <= before->free_end);
    slot->node.key = spot->base;
    slot->end = spot->base + bytes;
    slot->free_end = before->free_end;
    slot->hole.key = hole_start(slot);
    before->free_end = spot->base;
    tree_insert_after(&area->slots, before != &area->start ? &before->node : NULL, &slot->node);
    if (has_hole(slot)) { /* then there was a hole before: it reached at least as far */
        if (has_hole(before)) {
            tree_insert_after(&area->holes, &before->hole, &slot->hole);
        } else {
            before->hole.key = slot->hole.key; /* no other hole lies between */
            tree_replace(&area->holes, &before->hole, &slot->hole);
        }
    } else if (had && !has_hole(before)) {
        tree_remove(&area->holes, &before->hole);
    }
}

void area_release(struct area *area, struct area_slot *slot)
{
    struct tree_node *prev = tree_prev(&slot->node);
    struct area_slot *before = prev != NULL ? slot_of(prev) : &area->start;
    bool had = has_hole(before);

    before->free_end = slot->free_end;
    before->hole.key = had ? before->hole.key : hole_start(before);
    tree_remove(&area->slots, &slot->node);
    if (has_hole(slot)) {
        if (had) {
            tree_remove(&area->holes, &slot->hole);
        } else {
            slot->hole.key = before->hole.key; /* no other hole lies between */
            tree_replace(&area->holes, &slot->hole, &before->hole);
        }
    } else if (!had && has_hole(before)) {
        tree_insert(&area->holes, &before->hole);
    }
}
