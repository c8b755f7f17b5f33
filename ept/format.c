#include "ept/format.h"

#define PT_NONE   (~0ull)

#define EPT_R     BIT(0)
#define EPT_W     BIT(1)
#define EPT_X     BIT(2)
#define EPT_TYPE  BITS(5, 3)
#define EPT_IPAT  BIT(6)
#define EPT_LARGE BIT(7)
#define EPT_A     BIT(8)
#define EPT_D     BIT(9)

#define EPT_TYPES                                                                      \
    {                                                                                  \
        [MEMTYPE_UC] = FIELD_PREP(EPT_TYPE, MEMTYPE_UC),                               \
        [MEMTYPE_WC] = FIELD_PREP(EPT_TYPE, MEMTYPE_WC), [2] = PT_NONE, [3] = PT_NONE, \
        [MEMTYPE_WT] = FIELD_PREP(EPT_TYPE, MEMTYPE_WT),                               \
        [MEMTYPE_WP] = FIELD_PREP(EPT_TYPE, MEMTYPE_WP),                               \
        [MEMTYPE_WB] = FIELD_PREP(EPT_TYPE, MEMTYPE_WB), [MEMTYPE_UC_MINUS] = PT_NONE  \
    }

/* A right that is added needs no flush: a violation drops the stale entry, and its handler walks again. */
const struct pt_format pt_format_ept = {
    .name = "EPT",
    .read = EPT_R,
    .present_any = EPT_R | EPT_W | EPT_X,
    .write = EPT_W,
    .exec = EPT_X,
    .rights = PT_RIGHTS(0, EPT_R, EPT_W, EPT_X, 0),
    .table = EPT_R | EPT_W | EPT_X,
    .large = EPT_LARGE,
    .ignore_pat = EPT_IPAT,
    .ad_mask = EPT_A | EPT_D,
    .quiet_set = EPT_R | EPT_W | EPT_X,
    .type_mask_4k = EPT_TYPE,
    .type_mask_large = EPT_TYPE,
    .type_4k = EPT_TYPES,
    .type_large = EPT_TYPES,
};

#define S1_P         BIT(0)
#define S1_RW        BIT(1)
#define S1_US        BIT(2)
#define S1_PWT       BIT(3)
#define S1_PCD       BIT(4)
#define S1_A         BIT(5)
#define S1_D         BIT(6)
#define S1_PS        BIT(7)
#define S1_PAT_4K    BIT(7)
#define S1_PAT_LARGE BIT(12)
#define S1_XD        BIT(63)

/* Indices into HV_PAT; `pat` is the leaf's PAT bit. */
#define S1_TYPES(pat)                                                                            \
    {                                                                                            \
        [MEMTYPE_UC] = S1_PCD | S1_PWT, [MEMTYPE_WC] = S1_PWT, [2] = PT_NONE, [3] = PT_NONE,     \
        [MEMTYPE_WT] = (pat) | S1_PCD | S1_PWT, [MEMTYPE_WP] = (pat) | S1_PWT, [MEMTYPE_WB] = 0, \
        [MEMTYPE_UC_MINUS] = S1_PCD                                                              \
    }

/* quiet_set is empty: a stale entry with fewer rights would be a page fault in the hypervisor itself. */
const struct pt_format pt_format_stage1 = {
    .name = "stage 1",
    .read = S1_P,
    .present_any = S1_P,
    .write = S1_RW,
    .no_exec = S1_XD,
    .rights = PT_RIGHTS(0, S1_P, S1_RW, 0, S1_XD),
    .table = S1_P | S1_RW,
    .large = S1_PS,
    .ad_mask = S1_A | S1_D,
    .type_mask_4k = S1_PAT_4K | S1_PCD | S1_PWT,
    .type_mask_large = S1_PAT_LARGE | S1_PCD | S1_PWT,
    .type_4k = S1_TYPES(S1_PAT_4K),
    .type_large = S1_TYPES(S1_PAT_LARGE),
};

/*
 * The host's 4-level format; every entry is a user entry, for nested walks count as user accesses. Rights that are
 * added are flushed for: nothing promises that a stale entry is dropped by the fault that it causes.
 */
const struct pt_format pt_format_npt = {
    .name = "NPT",
    .read = S1_P,
    .present_any = S1_P,
    .write = S1_RW,
    .no_exec = S1_XD,
    .rights = PT_RIGHTS(S1_US, S1_P, S1_RW, 0, S1_XD),
    .table = S1_P | S1_RW | S1_US,
    .large = S1_PS,
    .ad_mask = S1_A | S1_D,
    .type_mask_4k = S1_PAT_4K | S1_PCD | S1_PWT,
    .type_mask_large = S1_PAT_LARGE | S1_PCD | S1_PWT,
    .type_4k = S1_TYPES(S1_PAT_4K),
    .type_large = S1_TYPES(S1_PAT_LARGE),
};

uint64_t pt_encode(const struct pt_format *fmt, hpa_t frame, const struct pt_attr *attr,
                   unsigned level)
{
    ASSERT(level >= 1 && level < PT_LEVELS);
    ASSERT((frame.v & (((PAGE_BYTES << (9 * (level - 1))) - 1) | ~PT_ADDR_MASK)) == 0);
    return frame.v | pt_leaf_bits(fmt, attr, level);
}

static unsigned decode_rights(const struct pt_format *fmt, uint64_t entry)
{
    unsigned rights = 0;

    if (entry & fmt->read)
        rights |= PT_R;
    if (entry & fmt->write)
        rights |= PT_W;
    if (fmt->exec != 0 ? (entry & fmt->exec) != 0 : (entry & fmt->no_exec) == 0)
        rights |= PT_X;
    return rights;
}

struct pt_attr pt_decode(const struct pt_format *fmt, uint64_t entry, unsigned level)
{
    const uint64_t *types = level == 1 ? fmt->type_4k : fmt->type_large;
    uint64_t type_bits = entry & (level == 1 ? fmt->type_mask_4k : fmt->type_mask_large);
    unsigned type = ARRAY_COUNT(fmt->type_4k) - 1;

    while (type > 0 && types[type] != type_bits)
        type--;
    if (types[type] != type_bits)
        type = PT_MEMTYPE_NONE;
    return (struct pt_attr){
        .rights = (uint8_t)decode_rights(fmt, entry),
        .memtype = (uint8_t)type,
        .ignore_pat = (entry & fmt->ignore_pat) != 0,
        .max_level = (uint8_t)level,
    };
}
