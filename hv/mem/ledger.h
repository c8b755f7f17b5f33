/*
 * Owns:     the one memory type in force of every frame that the hypervisor has mapped.
 * Promises: a type is fixed by a frame's first mapping and forgotten with its last; a request with
 *           another type is refused before anything changes; records are extents, never frames.
 * Needs:    two nodes per mapping, brought by the caller, so that adding cannot fail and removing needs
 *           nothing.
 * Never:    table bits. The direct map needs no entry: a section's frames are never in it (section.h).
 *
 * The frame line is cut at every first and last edge of a live mapping. Each cut is a node; the segment to
 * its right has one type and one count of mappings:
 *
 *      frame ---0-----------a===========b=======c--------------->
 *                     refs=1, WC    refs=2, WC   refs=0
 *
 * A mapping adds one to every segment between its edges.
 *
 * Most mappings touch no other one. Such an island, or several mappings of exactly the same run, is in the
 * tree with its first edge only; the last edge is parked at that one (twin) and goes into the tree when
 * another mapping touches the island.
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
    struct tree_node node;    /* key: frame number of the edge */
    struct ledger_edge *twin; /* an island's last edge, not in the tree; else NULL */
    uint32_t edges;           /* live mappings that start or end here */
    uint32_t refs;            /* live mappings over the segment to the right */
    uint8_t memtype;          /* of that segment; meaningless when refs is 0 */
};

struct ledger {
    struct tree edges;
    uint64_t mappings;
};

/* The two nodes that a mapping of one contiguous run brings. Owner: the mapping's record. */
struct ledger_nodes {
    struct ledger_edge *edge[2];
};

/* True, and *memtype set, when the frame has a type in force. */
bool ledger_type(const struct ledger *l, hpa_t frame, enum memtype *memtype);

/*
 * HV_OK, or HV_E_CACHE_CONFLICT when a frame of the run is in force with another type. pages is not 0,
 * here and below.
 */
hv_status_t ledger_check(const struct ledger *l, hpa_t base, uint64_t pages, enum memtype memtype) MUST_CHECK;

/*
 * Record a mapping. ledger_check() has said HV_OK. Takes from `spare` the nodes it needs and leaves NULL in
 * the places taken; a node not needed (the edge existed) stays with the caller, who frees it.
 */
void ledger_add(struct ledger *l, hpa_t base, uint64_t pages, enum memtype memtype,
                struct ledger_edge *spare[2]);

/*
 * Forget a mapping that was added with exactly this run. Nodes that fall out go to freed[0..1] (NULL
 * when none).
 */
void ledger_remove(struct ledger *l, hpa_t base, uint64_t pages, struct ledger_edge *freed[2]);

/*
 * Cut a recorded mapping in two at frame number `at_frame`, strictly inside it, as if it had been added
 * as two. Takes spare[0] if the edge did not exist.
 */
void ledger_split(struct ledger *l, uint64_t at_frame, struct ledger_edge *spare[1]);

#endif
