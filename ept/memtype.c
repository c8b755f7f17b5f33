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
