/*
 * Owns:     x86 memory types and how they combine, for every second-level format.
 * Promises: values are the architecture's encodings (SDM 3A "Memory Types", "PAT"). Nothing here fails: an
 *           encoding that no register may hold (2, 3) combines to UC.
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
    MEMTYPE_UC_MINUS = 7, /* a PAT entry's only; never in an EPT or MTRR field */
};

/*
 * Two outcomes beside those, of the combination under NPT alone. No register holds them, so the numbers are ours.
 * CD: not cached, as UC, but the access looks into the caches: the line may be there through another mapping.
 * WC+: write-combining, as WC, and looks into the caches likewise.
 */
enum memtype_npt {
    MEMTYPE_CD = 8,
    MEMTYPE_WC_PLUS = 9,
    MEMTYPE_NPT_COUNT,
};

/* "UC" "WC" "WT" "WP" "WB" "UC-", or "??" for 2 and 3. Never NULL. */
const char *memtype_name(unsigned type);

/* True for the five types that may be asked for: those of an EPT leaf or an MTRR. UC- is none of them. */
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

/*
 * The effective type of an access under NPT: the nested leaf's type (through the host's PAT), the guest's PAT entry
 * (without guest paging: WB) and the MTRR type of the frame that was reached. CD is told as UC and WC+ as WC, which
 * is how they behave towards memory. Neither side's CR0.CD plays a part here; either of them makes everything CD.
 *
 *     guest PAT entry --+
 *                       +--> memtype_npt_pages --+
 *     nested leaf ------+                        +--> memtype_npt_frame --> CD is UC, WC+ is WC
 *     MTRR of the system-physical address -------+
 */
enum memtype memtype_combine_npt(enum memtype nested, unsigned guest_pat, unsigned mtrr);

/* The two steps, APM 2 "Combining Memory Types, MTRRs": an enum memtype or enum memtype_npt each. */
unsigned memtype_npt_pages(enum memtype nested, unsigned guest_pat);
unsigned memtype_npt_frame(unsigned pages, unsigned mtrr);

#endif
