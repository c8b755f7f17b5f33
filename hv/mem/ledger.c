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

static uint64_t frame_of(hpa_t at)
{
    return at.v >> PAGE_SHIFT;
}

/* Where a frame lies between the edges of the tree. */
struct place {
    struct ledger_edge *left;  /* the last edge at or left of the frame, or NULL */
    struct ledger_edge *right; /* the first edge right of it, or NULL */
};

/* Both neighbours in one descent: most calls need no more of the tree. */
static struct place find(const struct ledger *l, uint64_t frame)
{
    struct tree_node *at = l->edges.root;
    struct tree_node *left = NULL, *right = NULL;

    while (at != NULL) {
        if (at->key <= frame) {
            left = at;
            at = at->child[1];
        } else {
            right = at;
            at = at->child[0];
        }
    }
    return (struct place){.left = edge_of(left), .right = edge_of(right)};
}

/* True when the segment right of `edge`, as the tree has it, is in force at `frame` (>= the edge). */
static bool is_in_force(const struct ledger_edge *edge, uint64_t frame)
{
    return edge->refs != 0 && (edge->twin == NULL || frame < edge->twin->node.key);
}

bool ledger_type(const struct ledger *l, hpa_t frame, enum memtype *memtype)
{
    const struct ledger_edge *edge = find(l, frame_of(frame)).left;

    if (edge == NULL || !is_in_force(edge, frame_of(frame)))
        return false;
    *memtype = (enum memtype)edge->memtype;
    return true;
}

hv_status_t ledger_check(const struct ledger *l, hpa_t base, uint64_t pages, enum memtype memtype)
{
    uint64_t first = frame_of(base);
    uint64_t end = first + pages;
    struct place place = find(l, first);
    struct ledger_edge *edge = place.right;

    ASSERT(pages != 0);
    if (place.left != NULL && place.left->memtype != memtype && is_in_force(place.left, first))
        return HV_E_CACHE_CONFLICT;
    while (edge != NULL && edge->node.key < end) {
        if (edge->memtype != memtype && edge->refs != 0)
            return HV_E_CACHE_CONFLICT;
        edge = next_of(edge);
    }
    return HV_OK;
}

/* A node of the caller's becomes the edge at `frame`; it is not in the tree yet. */
static struct ledger_edge *take(struct ledger_edge **spare, uint64_t frame)
{
    struct ledger_edge *edge = *spare;

    ASSERT(edge != NULL);
    *spare = NULL;
    edge->node.key = frame; /* tree_insert() sets the rest of the node */
    edge->twin = NULL;
    edge->edges = 0;
    edge->refs = 0;
    edge->memtype = 0;
    return edge;
}

/* The edge at `frame`, cut out of what lies right of `left` (NULL: nothing does). */
static struct ledger_edge *cut(struct ledger *l, uint64_t frame, const struct ledger_edge *left,
                               struct ledger_edge **spare)
{
    struct ledger_edge *edge = take(spare, frame);

    if (left != NULL && is_in_force(left, frame)) {
        edge->refs = left->refs;
        edge->memtype = left->memtype;
    }
    tree_insert(&l->edges, &edge->node);
    return edge;
}

/* Put the parked last edge of an island into the tree; no-op on other edges. */
static void open_island(struct ledger *l, struct ledger_edge *edge)
{
    struct ledger_edge *last = edge->twin;

    if (last == NULL)
        return;
    edge->twin = NULL;
    last->edges = edge->edges;
    tree_insert(&l->edges, &last->node);
}

/* The general case of ledger_add(). `edge` is the first one's left neighbour or itself. */
static void add_overlapping(struct ledger *l, struct ledger_edge *edge, uint64_t first,
                            uint64_t end, enum memtype memtype, struct ledger_edge *spare[2])
{
    struct ledger_edge *last;

    if (edge == NULL || edge->node.key != first)
        edge = cut(l, first, edge, &spare[0]);
    edge->edges++;
    do {
        ASSERT(edge->refs == 0 || edge->memtype == memtype); /* else nobody asked ledger_check() */
        last = edge;
        edge = next_of(edge);
        if (edge == NULL || edge->node.key > end)
            edge = cut(l, end, last, &spare[1]);
        else
            open_island(l, edge);
        last->refs++;
        last->memtype = (uint8_t)memtype;
    } while (edge->node.key != end);
    edge->edges++;
}

static void add_island(struct ledger *l, uint64_t first, uint64_t end, enum memtype memtype,
                       struct ledger_edge *spare[2])
{
    struct ledger_edge *edge = take(&spare[0], first);

    edge->twin = take(&spare[1], end);
    edge->edges = 1;
    edge->refs = 1;
    edge->memtype = (uint8_t)memtype;
    tree_insert(&l->edges, &edge->node);
}

/* True when no live mapping touches [first, end], ends included. */
static bool is_apart(const struct place *place, uint64_t first, uint64_t end)
{
    const struct ledger_edge *left = place->left;

    if (left != NULL && (left->node.key == first || is_in_force(left, first)))
        return false;
    return place->right == NULL || place->right->node.key > end;
}

void ledger_add(struct ledger *l, hpa_t base, uint64_t pages, enum memtype memtype,
                struct ledger_edge *spare[2])
{
    uint64_t first = frame_of(base);
    uint64_t end = first + pages;
    struct place place = find(l, first);
    struct ledger_edge *left = place.left;
    struct ledger_edge *last = left != NULL ? left->twin : NULL;

    ASSERT(pages != 0);
    l->mappings++;
    if (last != NULL && last->node.key >= first) {
        if (left->node.key == first && last->node.key == end) {
            ASSERT(left->memtype == memtype);
            left->edges++;
            left->refs++;
            return;
        }
        open_island(l, left);
        place = find(l, first);
    }
    if (is_apart(&place, first, end))
        add_island(l, first, end, memtype, spare);
    else
        add_overlapping(l, place.left, first, end, memtype, spare);
}

/* One mapping less starts or ends at this edge: an edge of none falls out, both its sides are equal. */
static struct ledger_edge *release(struct ledger *l, struct ledger_edge *edge)
{
    ASSERT(edge->edges != 0);
    if (--edge->edges != 0)
        return NULL;
    tree_remove(&l->edges, &edge->node);
    return edge;
}

static void remove_island(struct ledger *l, struct ledger_edge *edge, struct ledger_edge *freed[2])
{
    edge->refs--;
    freed[0] = release(l, edge);
    freed[1] = freed[0] != NULL ? edge->twin : NULL;
}

static void remove_overlapping(struct ledger *l, struct ledger_edge *start, uint64_t end,
                               struct ledger_edge *freed[2])
{
    struct ledger_edge *edge = start;

    do {
        ASSERT(edge->refs != 0);
        edge->refs--;
        edge = next_of(edge);
        ASSERT(edge != NULL && edge->node.key <= end);
    } while (edge->node.key != end);
    freed[0] = release(l, start);
    freed[1] = release(l, edge);
}

void ledger_remove(struct ledger *l, hpa_t base, uint64_t pages, struct ledger_edge *freed[2])
{
    uint64_t end = frame_of(base) + pages;
    struct ledger_edge *start = edge_of(tree_find(&l->edges, frame_of(base)));

    ASSERT(pages != 0 && start != NULL);
    if (start->twin != NULL) {
        ASSERT(start->twin->node.key == end);
        remove_island(l, start, freed);
    } else {
        remove_overlapping(l, start, end, freed);
    }
    l->mappings--;
}

void ledger_split(struct ledger *l, uint64_t at_frame, struct ledger_edge *spare[1])
{
    struct ledger_edge *edge = find(l, at_frame).left;

    ASSERT(edge != NULL && is_in_force(edge, at_frame));
    ASSERT(edge->twin == NULL || edge->node.key != at_frame);
    open_island(l, edge);
    if (edge->node.key != at_frame)
        edge = cut(l, at_frame, edge, &spare[0]);
    edge->edges += 2;
    l->mappings++;
}
