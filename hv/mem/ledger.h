/*
 * Owns:     the one memory type in force of everything on a line of pages that is mapped: the machine's frames, or the
 *           pages of a section that nobody else can name.
 * Promises: a type is fixed by a page's first mapping and forgotten with its last; a request with
 *           another type is refused before anything changes; records are extents, never frames.
 * Needs:    a record per mapping, the caller's from ledger_add() to ledger_remove(), so that neither of
 *           them can fail.
 * Never:    table bits. The direct map needs no entry: a section's frames are never in it (section.h).
 *
 * The line is cut at every first and last edge of a live mapping. Each cut is a node; the segment to
 * its right has one type and one count of mappings:
 *
 *      page  ---0-----------a===========b=======c--------------->
 *                     refs=1, WC    refs=2, WC   refs=0
 *
 * A mapping adds one to every segment between its edges. Edges of several mappings at one page form a ring:
 * one of them leads, is in the tree and speaks for all; when its mapping goes, the next one takes its place.
 *
 * As long as all mappings of a ledger have one type nobody asks where they lie: they are only listed (plain), and the
 * edges are drawn when a wish of another type, or a question, comes.
 *
 * Most mappings overlap no other one. Such an island, or several mappings of exactly the same run, is in the
 * tree with its first edge only; the last edge is parked at that one (twin) and goes into the tree when
 * another mapping overlaps the island.
 *
 * A RAM frame without a type in force may have cache lines of an earlier write-back mapping. Whoever makes
 * its first mapping with another type than WB drops them before first use (window_flush_lines); going
 * back to WB needs nothing, since the other types leave no dirty and no stale lines.
 */
#ifndef HV_MEM_LEDGER_H
#define HV_MEM_LEDGER_H

#include "ept/memtype.h"
#include "hv/base/status.h"
#include "hv/base/tree.h"

struct ledger_edge {
    struct tree_node node;           /* key: page number of the edge */
    struct ledger_edge *next, *prev; /* ring of the edges at this page */
    bool leads;                      /* what follows is valid in the leading edge only */
    uint8_t memtype;                 /* of the segment to the right; meaningless when refs is 0 */
    uint32_t refs;                   /* live mappings over that segment */
    struct ledger_edge *twin;        /* an island's leading last edge, not in the tree; else NULL */
};

/* One mapping of a run of pages. The ledger's; the caller only gives the memory, in any state. */
struct ledger_mapping {
    struct ledger_edge first, last;
};

struct ledger {
    struct tree edges; /* empty: the mappings are plain */
    uint64_t mappings;
    struct ledger_edge *plain; /* first edges of plain mappings, doubly linked */
    enum memtype plain_type;   /* of all of them */
};

/* Where a page lies between the edges of the tree. Valid until the ledger changes. */
struct ledger_place {
    struct ledger_edge *left;  /* the last edge at or left of the page, or NULL */
    struct ledger_edge *right; /* the first edge right of it, or NULL */
};

/* A type to map with; when it is not fixed, memtype is what it is where no type is in force. */
struct ledger_wish {
    enum memtype memtype;
    bool fixed;
    struct ledger_place
        place; /* out: of the run that was checked last; empty while the mappings are plain */
};

/* A part of a run. */
struct ledger_part {
    uint64_t first;
    uint64_t pages;
};

/* Draw the edges of plain mappings. What needs them calls it; the outcome of no call depends on it. */
void ledger_draw(struct ledger *l);

/* True when only the list of mappings is kept. */
static inline bool ledger_is_plain(const struct ledger *l)
{
    return l->edges.root == NULL;
}

/* True, and *memtype set, when the page has a type in force. */
bool ledger_type(struct ledger *l, uint64_t page, enum memtype *memtype);

/*
 * HV_OK, or HV_E_CACHE_CONFLICT when a page of the run is in force with another type than the wish has. The
 * first type in force that is found fixes a wish that was open. pages is not 0, here and below.
 */
hv_status_t ledger_check(struct ledger *l, uint64_t first, uint64_t pages,
                         struct ledger_wish *wish) MUST_CHECK;

/*
 * Parts of the run of which no page has a type in force: true, and *part is the first one that lies at or
 * behind part->first + part->pages. Start with {first, 0}.
 */
bool ledger_next_free(struct ledger *l, uint64_t first, uint64_t pages, struct ledger_part *part);

/*
 * Record a mapping. ledger_check() has said HV_OK; when it was asked for this run and nothing changed since,
 * `place` is what it found, and saves a search, else NULL.
 */
void ledger_add(struct ledger *l, struct ledger_mapping *mapping, uint64_t first, uint64_t pages,
                enum memtype memtype, const struct ledger_place *place);

/* Forget a mapping; its record is the caller's again. */
void ledger_remove(struct ledger *l, struct ledger_mapping *mapping);

/*
 * ledger_remove() from one plain ledger and ledger_add() to another one of the same type that has a mapping already, but
 * for the counts, which follow with ledger_moved() for all that were moved.
 */
static inline void ledger_move(struct ledger *from, struct ledger *to,
                               struct ledger_mapping *mapping, uint64_t first, uint64_t end)
{
    struct ledger_edge *edge = &mapping->first;
    struct ledger_edge *next = edge->next, *prev = edge->prev;

    if (next != NULL)
        next->prev = prev;
    if (prev != NULL)
        prev->next = next;
    else
        from->plain = next;
    edge->node.key = first;
    mapping->last.node.key = end;
    next = to->plain;
    edge->prev = NULL;
    edge->next = next;
    next->prev = edge;
    to->plain = edge;
}

static inline void ledger_moved(struct ledger *from, struct ledger *to, uint64_t count)
{
    from->mappings -= count;
    to->mappings += count;
}

/*
 * Cut a recorded mapping in two at page `at`, strictly inside it, as if it had been added
 * as two; `tail` becomes the second.
 */
void ledger_split(struct ledger *l, struct ledger_mapping *mapping, uint64_t at,
                  struct ledger_mapping *tail);

/* The inverse of ledger_split(): `tail` is forgotten, `mapping` reaches to its end. */
void ledger_unsplit(struct ledger *l, struct ledger_mapping *mapping, struct ledger_mapping *tail);

#endif
