#include "hv/mem/ledger.h"

#include "hv/base/assert.h"

static struct ledger_edge *edge_of(struct tree_node *node)
{
    return node != NULL ? CONTAINER_OF(node, struct ledger_edge, node) : NULL;
}

static struct ledger_edge *next_of(struct ledger_edge *edge)
{
    return edge_of(tree_next(&edge->node));
}

/* Both neighbours in one descent: most calls need no more of the tree. */
static inline struct ledger_place find(const struct ledger *l, uint64_t page)
{
    struct tree_node *at = l->edges.root;
    struct tree_node *left = NULL, *right = NULL;

    while (at != NULL) {
        if (at->key <= page) {
            left = at;
            at = at->child[1];
        } else {
            right = at;
            at = at->child[0];
        }
    }
    return (struct ledger_place){.left = edge_of(left), .right = edge_of(right)};
}

/* True when the segment right of `edge`, as the tree has it, is in force at `page` (>= the edge). */
static bool is_in_force(const struct ledger_edge *edge, uint64_t page)
{
    return edge->refs != 0 && (edge->twin == NULL || page < edge->twin->node.key);
}

bool ledger_type(struct ledger *l, uint64_t page, enum memtype *memtype)
{
    const struct ledger_edge *edge;

    ledger_draw(l);
    edge = find(l, page).left;
    if (edge == NULL || !is_in_force(edge, page))
        return false;
    *memtype = (enum memtype)edge->memtype;
    return true;
}

/* Can a wish live with a type in force? */
static bool meets(struct ledger_wish *wish, const struct ledger_edge *edge)
{
    if (!wish->fixed) {
        wish->memtype = (enum memtype)edge->memtype;
        wish->fixed = true;
    }
    return edge->memtype == wish->memtype;
}

/* The segments from `edge` on, up to `end`. */
static __attribute__((noinline)) hv_status_t check_segments(struct ledger_edge *edge, uint64_t end,
                                                            struct ledger_wish *wish)
{
    do {
        if (edge->refs != 0 && !meets(wish, edge))
            return HV_E_CACHE_CONFLICT;
        edge = next_of(edge);
    } while (edge != NULL && edge->node.key < end);
    return HV_OK;
}

hv_status_t ledger_check(struct ledger *l, uint64_t first, uint64_t pages, struct ledger_wish *wish)
{
    uint64_t end = first + pages;
    struct ledger_place place;

    ASSERT(pages != 0);
    wish->place = (struct ledger_place){0};
    if (LIKELY(ledger_is_plain(l)) && (l->mappings == 0 || wish->memtype == l->plain_type))
        return HV_OK;
    ledger_draw(l);
    place = find(l, first);
    wish->place = place;
    if (place.left != NULL && is_in_force(place.left, first) && !meets(wish, place.left))
        return HV_E_CACHE_CONFLICT;
    if (place.right != NULL && place.right->node.key < end)
        return check_segments(place.right, end, wish);
    return HV_OK;
}

bool ledger_next_free(struct ledger *l, uint64_t first, uint64_t pages, struct ledger_part *part)
{
    uint64_t end = first + pages;
    uint64_t page = part->first + part->pages;

    ledger_draw(l);
    while (page < end) {
        struct ledger_place place = find(l, page);
        const struct ledger_edge *left = place.left, *right = place.right;

        if (left == NULL || !is_in_force(left, page)) {
            if (right != NULL)
                end = MIN(end, right->node.key);
            *part = (struct ledger_part){page, end - page};
            return true;
        }
        page = left->twin != NULL ? left->twin->node.key : right->node.key;
    }
    return false;
}

/* ---- rings ---- */

static void edge_init(struct ledger_edge *edge, uint64_t page)
{
    edge->node.key = page; /* the tree sets the rest of the node */
    edge->next = edge;
    edge->prev = edge;
    edge->leads = true;
    edge->memtype = 0;
    edge->refs = 0;
    edge->twin = NULL;
}

/* `edge`, alone or the leader of a ring, with all of its ring into the ring of `leader`. */
static void join(struct ledger_edge *leader, struct ledger_edge *edge)
{
    struct ledger_edge *after = leader->next, *last = edge->prev;

    edge->leads = false;
    leader->next = edge;
    edge->prev = leader;
    last->next = after;
    after->prev = last;
}

static void leave(struct ledger_edge *edge)
{
    edge->next->prev = edge->prev;
    edge->prev->next = edge->next;
    edge->leads = false;
}

static struct ledger_edge *leader_of(const struct ledger *l, struct ledger_edge *edge)
{
    if (!edge->leads)
        edge = edge_of(tree_find(&l->edges, edge->node.key));
    ASSERT(edge != NULL); /* else it was never added */
    return edge;
}

/* One mapping less starts or ends here: an edge of none falls out, both its sides are equal. */
static void release(struct ledger *l, struct ledger_edge *edge)
{
    struct ledger_edge *next = edge->next;

    if (edge->leads && next == edge) {
        tree_remove(&l->edges, &edge->node);
    } else if (edge->leads) {
        tree_replace(&l->edges, &edge->node, &next->node);
        next->leads = true;
        next->memtype = edge->memtype;
        next->refs = edge->refs;
        next->twin = edge->twin;
    }
    leave(edge);
}

/* ---- plain mappings: a list through the links that rings need later ---- */

static inline void list(struct ledger *l, struct ledger_mapping *mapping, uint64_t first,
                        uint64_t end)
{
    struct ledger_edge *edge = &mapping->first, *next = l->plain;

    edge->node.key = first;
    mapping->last.node.key = end;
    edge->prev = NULL;
    edge->next = next;
    if (next != NULL)
        next->prev = edge;
    l->plain = edge;
}

static inline void unlist(struct ledger *l, struct ledger_mapping *mapping)
{
    struct ledger_edge *next = mapping->first.next, *prev = mapping->first.prev;

    if (next != NULL)
        next->prev = prev;
    if (prev != NULL)
        prev->next = next;
    else
        l->plain = next;
}

/* ---- adding ---- */

/* Cut what lies right of `left` (NULL: nothing does) at the page of `edge`. */
static void cut(struct ledger *l, struct ledger_edge *left, struct ledger_edge *edge)
{
    if (left != NULL && is_in_force(left, edge->node.key)) {
        edge->refs = left->refs;
        edge->memtype = left->memtype;
    }
    tree_insert_after(&l->edges, left != NULL ? &left->node : NULL, &edge->node);
}

/* Put the parked last edge of an island into the tree; no-op on other edges. */
static void open_island(struct ledger *l, struct ledger_edge *edge)
{
    struct ledger_edge *last = edge->twin, *next;

    if (last == NULL)
        return;
    edge->twin = NULL;
    next = next_of(edge);
    if (next != NULL && next->node.key == last->node.key)
        join(next, last);
    else
        tree_insert_after(&l->edges, &edge->node, &last->node);
}

/* Lay the mapping over what is there. `edge` is its first one's left neighbour or at the same page. */
static void add_overlapping(struct ledger *l, struct ledger_edge *edge,
                            struct ledger_mapping *mapping, enum memtype memtype)
{
    uint64_t first = mapping->first.node.key, end = mapping->last.node.key;
    struct ledger_edge *before;

    if (edge != NULL && is_in_force(edge, first))
        open_island(l, edge);
    if (edge != NULL && edge->node.key == first) {
        join(edge, &mapping->first);
    } else {
        cut(l, edge, &mapping->first);
        edge = &mapping->first;
    }
    do {
        ASSERT(edge->refs == 0 || edge->memtype == memtype); /* else nobody asked ledger_check() */
        before = edge;
        edge = next_of(edge);
        if (edge == NULL || edge->node.key > end) {
            cut(l, before, &mapping->last);
            edge = &mapping->last;
        } else if (edge->node.key == end) {
            join(edge, &mapping->last);
        } else {
            open_island(l, edge);
        }
        before->refs++;
        before->memtype = (uint8_t)memtype;
    } while (edge->node.key != end);
}

/* A mapping that is no island of its own. Not inlined: the island's way keeps its registers. */
static __attribute__((noinline)) void add_to_others(struct ledger *l, struct ledger_edge *left,
                                                    struct ledger_mapping *mapping,
                                                    enum memtype memtype)
{
    if (left != NULL && left->node.key == mapping->first.node.key && left->twin != NULL &&
        left->twin->node.key == mapping->last.node.key) {
        ASSERT(left->memtype == memtype);
        left->refs++;
        join(left, &mapping->first);
        join(left->twin, &mapping->last);
    } else {
        add_overlapping(l, left, mapping, memtype);
    }
}

/* True when no live mapping overlaps [first, end) and none has an edge at `first`. */
static bool is_apart(const struct ledger_place *place, uint64_t first, uint64_t end)
{
    const struct ledger_edge *left = place->left;

    if (left != NULL && (left->node.key == first || is_in_force(left, first)))
        return false;
    return place->right == NULL || place->right->node.key >= end;
}

/* A mapping into the tree of edges. */
static void add_edges(struct ledger *l, struct ledger_mapping *mapping, uint64_t first,
                      uint64_t end, enum memtype memtype, const struct ledger_place *place)
{
    struct ledger_place at =
        place != NULL && (place->left != NULL || place->right != NULL) ? *place : find(l, first);

    edge_init(&mapping->first, first);
    edge_init(&mapping->last, end);
    if (UNLIKELY(!is_apart(&at, first, end))) {
        add_to_others(l, at.left, mapping, memtype);
        return;
    }
    mapping->first.twin = &mapping->last;
    mapping->first.refs = 1;
    mapping->first.memtype = (uint8_t)memtype;
    tree_insert_after(&l->edges, at.left != NULL ? &at.left->node : NULL, &mapping->first.node);
}

void ledger_add(struct ledger *l, struct ledger_mapping *mapping, uint64_t first, uint64_t pages,
                enum memtype memtype, const struct ledger_place *place)
{
    ASSERT(pages != 0);
    if (l->mappings == 0)
        l->plain_type = memtype;
    if (UNLIKELY(memtype != l->plain_type))
        ledger_draw(l);
    if (LIKELY(ledger_is_plain(l))) {
        list(l, mapping, first, first + pages);
    } else {
        add_edges(l, mapping, first, first + pages, memtype, place);
    }
    l->mappings++;
}

void ledger_draw(struct ledger *l)
{
    struct ledger_edge *edge = l->plain;

    l->plain = NULL;
    while (edge != NULL) {
        struct ledger_mapping *mapping = CONTAINER_OF(edge, struct ledger_mapping, first);

        edge = edge->next;
        add_edges(l, mapping, mapping->first.node.key, mapping->last.node.key, l->plain_type, NULL);
    }
}

/* ---- removing ---- */

/* One mapping less in the island of `first`; `last` is that mapping's. */
static void remove_from_island(struct ledger_edge *first, struct ledger_edge *last)
{
    ASSERT(first->twin->node.key == last->node.key);
    if (--first->refs == 0) {
        first->twin = NULL;
    } else if (last->leads) {
        first->twin = last->next;
        first->twin->leads = true;
    }
    leave(last);
}

static __attribute__((noinline)) void remove_edges(struct ledger *l, struct ledger_mapping *mapping)
{
    uint64_t end = mapping->last.node.key;
    struct ledger_edge *edge = leader_of(l, &mapping->first);

    if (LIKELY(edge->twin != NULL)) {
        remove_from_island(edge, &mapping->last);
    } else {
        do {
            ASSERT(edge->refs != 0);
            edge->refs--;
            edge = next_of(edge);
            ASSERT(edge != NULL && edge->node.key <= end);
        } while (edge->node.key != end);
        release(l, &mapping->last);
    }
    release(l, &mapping->first);
}

void ledger_remove(struct ledger *l, struct ledger_mapping *mapping)
{
    ASSERT(l->mappings != 0);
    if (LIKELY(ledger_is_plain(l)))
        unlist(l, mapping);
    else
        remove_edges(l, mapping);
    l->mappings--;
}

void ledger_split(struct ledger *l, struct ledger_mapping *mapping, uint64_t at,
                  struct ledger_mapping *tail)
{
    struct ledger_edge *last = &mapping->last;
    struct ledger_edge *edge;

    ASSERT(mapping->first.node.key < at && at < last->node.key);
    l->mappings++;
    if (ledger_is_plain(l)) {
        list(l, tail, at, last->node.key);
        last->node.key = at;
        return;
    }
    open_island(l, leader_of(l, &mapping->first));
    edge_init(&tail->last, last->node.key);
    join(leader_of(l, last), &tail->last);
    release(l, last);

    edge_init(last, at);
    edge_init(&tail->first, at);
    edge = find(l, at).left;
    ASSERT(edge != NULL);
    if (edge->node.key == at) {
        join(edge, last);
    } else {
        cut(l, edge, last);
        edge = last;
    }
    join(edge, &tail->first);
}

void ledger_unsplit(struct ledger *l, struct ledger_mapping *mapping, struct ledger_mapping *tail)
{
    uint64_t first = mapping->first.node.key, end = tail->last.node.key;
    enum memtype memtype;

    ASSERT(mapping->last.node.key == tail->first.node.key);
    if (ledger_is_plain(l)) {
        ledger_remove(l, tail);
        mapping->last.node.key = end;
        return;
    }
    memtype = (enum memtype)leader_of(l, &mapping->first)->memtype;
    ledger_remove(l, tail);
    ledger_remove(l, mapping);
    ledger_add(l, mapping, first, end - first, memtype, NULL);
}
