#include "ept/memtype.h"

#define TYPES 8u

static const char *const names[TYPES] = {"UC", "WC", "??", "??", "WT", "WP", "WB", "UC-"};

const char *memtype_name(unsigned type)
{
    return type < TYPES ? names[type] : "??";
}

bool memtype_is_valid(unsigned type)
{
    switch (type) {
    case MEMTYPE_UC:
    case MEMTYPE_WC:
    case MEMTYPE_WT:
    case MEMTYPE_WP:
    case MEMTYPE_WB:
        return true;
    default:
        return false;
    }
}

/*
 * SDM 3A "Effective Page-Level Memory Types", with the leaf's type in the place of the MTRR's. Row: leaf,
 * column: guest PAT entry. Encodings 2 and 3 reach neither: what is not listed is 0, which is UC.
 */
static const uint8_t combined[TYPES][TYPES] = {
    [MEMTYPE_UC] = {[MEMTYPE_WC] = MEMTYPE_WC},
    [MEMTYPE_WC] =
        {[MEMTYPE_UC_MINUS] = MEMTYPE_WC, [MEMTYPE_WC] = MEMTYPE_WC, [MEMTYPE_WB] = MEMTYPE_WC},
    [MEMTYPE_WT] = {[MEMTYPE_WC] = MEMTYPE_WC,
                    [MEMTYPE_WT] = MEMTYPE_WT,
                    [MEMTYPE_WB] = MEMTYPE_WT,
                    [MEMTYPE_WP] = MEMTYPE_WP},
    [MEMTYPE_WP] = {[MEMTYPE_UC_MINUS] = MEMTYPE_WC,
                    [MEMTYPE_WC] = MEMTYPE_WC,
                    [MEMTYPE_WT] = MEMTYPE_WT,
                    [MEMTYPE_WB] = MEMTYPE_WP,
                    [MEMTYPE_WP] = MEMTYPE_WP},
    [MEMTYPE_WB] = {[MEMTYPE_WC] = MEMTYPE_WC,
                    [MEMTYPE_WT] = MEMTYPE_WT,
                    [MEMTYPE_WB] = MEMTYPE_WB,
                    [MEMTYPE_WP] = MEMTYPE_WP},
};

enum memtype memtype_combine_ept(enum memtype leaf, bool ignore_pat, unsigned guest_pat)
{
    if (ignore_pat)
        return leaf;
    return (enum memtype)combined[leaf % TYPES][guest_pat % TYPES];
}

/* Short names for the two tables. */
enum {
    UC = MEMTYPE_UC,
    UC_ = MEMTYPE_UC_MINUS,
    WC = MEMTYPE_WC,
    WP = MEMTYPE_WP,
    WT = MEMTYPE_WT,
    WB = MEMTYPE_WB,
    CD = MEMTYPE_CD,
    WC_PLUS = MEMTYPE_WC_PLUS,
};

/* Row: guest PAT entry, column: nested leaf. As above, what is not listed is UC. */
static const uint8_t npt_pages[TYPES][TYPES] = {
    [UC_] = {[UC_] = UC_, [WC] = WC},
    [WC] = {[UC] = WC, [UC_] = WC, [WC] = WC, [WP] = WC_PLUS, [WT] = WC_PLUS, [WB] = WC_PLUS},
    [WP] = {[WP] = WP, [WB] = WP},
    [WT] = {[WT] = WT, [WB] = WT},
    [WB] = {[WC] = WC, [WP] = WP, [WT] = WT, [WB] = WB},
};

/* Row: outcome of the table above, column: MTRR type of the frame. */
static const uint8_t npt_frame[MEMTYPE_NPT_COUNT][TYPES] = {
    [UC] = {[UC] = UC, [WC] = CD, [WP] = CD, [WT] = CD, [WB] = CD},
    [UC_] = {[UC] = UC, [WC] = WC, [WP] = CD, [WT] = CD, [WB] = CD},
    [WC] = {[UC] = WC, [WC] = WC, [WP] = WC, [WT] = WC, [WB] = WC},
    [WC_PLUS] = {[UC] = WC, [WC] = WC, [WP] = WC_PLUS, [WT] = WC_PLUS, [WB] = WC_PLUS},
    [WP] = {[UC] = UC, [WC] = CD, [WP] = WP, [WT] = CD, [WB] = WP},
    [WT] = {[UC] = UC, [WC] = CD, [WP] = CD, [WT] = WT, [WB] = WT},
    [WB] = {[UC] = UC, [WC] = WC, [WP] = WP, [WT] = WT, [WB] = WB},
};

unsigned memtype_npt_pages(enum memtype nested, unsigned guest_pat)
{
    return npt_pages[guest_pat % TYPES][nested % TYPES];
}

unsigned memtype_npt_frame(unsigned pages, unsigned mtrr)
{
    return npt_frame[pages % MEMTYPE_NPT_COUNT][mtrr % TYPES];
}

enum memtype memtype_combine_npt(enum memtype nested, unsigned guest_pat, unsigned mtrr)
{
    unsigned type = memtype_npt_frame(memtype_npt_pages(nested, guest_pat), mtrr);

    if (type == MEMTYPE_CD)
        return MEMTYPE_UC;
    return type == MEMTYPE_WC_PLUS ? MEMTYPE_WC : (enum memtype)type;
}
