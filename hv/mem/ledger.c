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

bool ledger_type(const struct ledger *l, hpa_t frame, enum memtype *memtype)
{
    const struct ledger_edge *edge = edge_of(tree_find_le(&l->edges, frame_of(frame)));

    if (edge == NULL || edge->refs == 0)
        return false;
    *memtype = (enum memtype)edge->memtype;
    return true;
}

hv_status_t ledger_check(const struct ledger *l, hpa_t base, uint64_t pages, enum memtype memtype)
{
    uint64_t first = frame_of(base);
    uint64_t end = first + pages;
    struct ledger_edge *edge;

    ASSERT(pages != 0);
    edge = edge_of(tree_find_le(&l->edges, first));
    if (edge == NULL)
        edge = edge_of(tree_first(&l->edges));
    while (edge != NULL && edge->node.key < end) {
        if (edge->refs != 0 && edge->memtype != memtype)
            return HV_E_CACHE_CONFLICT;
        edge = next_of(edge);
    }
    return HV_OK;
}

/* The edge at `frame`, cut out of the segment of `left` (NULL: nothing lies left) when there is none. */
static struct ledger_edge *cut(struct ledger *l, uint64_t frame, const struct ledger_edge *left,
                               struct ledger_edge **spare)
{
    struct ledger_edge *edge = *spare;

    ASSERT(edge != NULL);
    *spare = NULL;
    edge->node.key = frame;
    edge->edges = 0;
    edge->refs = left != NULL ? left->refs : 0;
    edge->memtype = left != NULL ? left->memtype : 0;
    tree_insert(&l->edges, &edge->node);
    return edge;
}

void ledger_add(struct ledger *l, hpa_t base, uint64_t pages, enum memtype memtype,
                struct ledger_edge *spare[2])
{
    uint64_t first = frame_of(base);
    uint64_t end = first + pages;
    struct ledger_edge *edge = edge_of(tree_find_le(&l->edges, first));
    struct ledger_edge *last;

    ASSERT(pages != 0);
    if (edge == NULL || edge->node.key != first)
        edge = cut(l, first, edge, &spare[0]);
    edge->edges++;
    do {
        ASSERT(edge->refs == 0 || edge->memtype == memtype); /* else ledger_check() was not asked */
        last = edge;
        edge = next_of(edge);
        if (edge == NULL || edge->node.key > end)
            edge = cut(l, end, last, &spare[1]);
        last->refs++;
        last->memtype = (uint8_t)memtype;
    } while (edge->node.key != end);
    edge->edges++;
    l->mappings++;
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

void ledger_remove(struct ledger *l, hpa_t base, uint64_t pages, struct ledger_edge *freed[2])
{
    uint64_t first = frame_of(base);
    uint64_t end = first + pages;
    struct ledger_edge *start = edge_of(tree_find(&l->edges, first));
    struct ledger_edge *edge = start;

    ASSERT(pages != 0 && start != NULL);
    do {
        ASSERT(edge->refs != 0);
        edge->refs--;
        edge = next_of(edge);
        ASSERT(edge != NULL && edge->node.key <= end);
    } while (edge->node.key != end);
    freed[0] = release(l, start);
    freed[1] = release(l, edge);
    l->mappings--;
}

void ledger_split(struct ledger *l, uint64_t at_frame, struct ledger_edge *spare[1])
{
    struct ledger_edge *edge = edge_of(tree_find_le(&l->edges, at_frame));

    ASSERT(edge != NULL);
    if (edge->node.key != at_frame) {
        ASSERT(edge->refs != 0);
        edge = cut(l, at_frame, edge, &spare[0]);
    }
    edge->edges += 2;
    l->mappings++;
}
