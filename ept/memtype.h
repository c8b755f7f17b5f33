/*
 * Owns:     x86 memory types and how two of them combine.
 * Promises: values are the architecture's encodings (SDM 3A "Memory Types", "PAT").
 * Needs:    base.
 * Never:    a default type; "no type chosen" is not a memory type.
 */
#ifndef EPT_MEMTYPE_H
#define EPT_MEMTYPE_H

#include "hv/base/types.h"

enum memtype {
    MEMTYPE_UC = 0,
    MEMTYPE_WC = 1,
    MEMTYPE_WT = 4,
    MEMTYPE_WP = 5,
    MEMTYPE_WB = 6,
    MEMTYPE_UC_MINUS = 7, /* PAT only; never in an EPT or MTRR field */
};

/* "UC" "WC" "WT" "WP" "WB" "UC-", or "??" for 2 and 3. Never NULL. */
const char *memtype_name(unsigned type);

/* True for the five types an EPT leaf or an MTRR may carry. */
bool memtype_is_valid(unsigned type);

/* Entry `index` (0..7) of an IA32_PAT value. */
static inline unsigned pat_entry(uint64_t pat, unsigned index)
{
    return (unsigned)(pat >> (index * 8)) & 7;
}

/* The PAT index that a guest leaf selects; `pat_bit` is 7 in a 4 KiB entry, 12 in a larger one. */
static inline unsigned pat_index(uint64_t entry, unsigned pat_bit)
{
    return (unsigned)(((entry >> 3) & 3) | (((entry >> pat_bit) & 1) << 2));
}

/*
 * The effective type of an access under EPT: leaf type, IPAT and the guest's PAT entry (0, 1, 4..7).
 * Guest CR0.CD and MTRRs play no part here; see SDM 3C "Determining the Memory Type Used for a
 * Translated Guest-Physical Address".
 */
enum memtype memtype_combine_ept(enum memtype leaf, bool ignore_pat, unsigned guest_pat);

#endif
