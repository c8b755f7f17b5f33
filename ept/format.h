/*
 * Owns:     the page-table formats, each as one table of masks.
 * Promises: the walk knows no format; a format is data and nothing else.
 * Needs:    ept/memtype.h.
 * Never:    a function pointer, a vendor test.
 */
#ifndef EPT_FORMAT_H
#define EPT_FORMAT_H

#include "ept/memtype.h"
#include "hv/base/assert.h"
#include "hv/base/bits.h"
#include "hv/base/types.h"

/* Rights of a leaf. Write without read does not exist in any format here. */
enum pt_rights {
    PT_R = 1,
    PT_W = 2,
    PT_X = 4,
};

#define PT_ADDR_MASK BITS(51, 12)
#define PT_LEVELS    4u /* level 1: 4 KiB entries .. level 4: the root */

/* pt_decode's memtype for bits that are the encoding of no type; memtype_name() says "??". */
#define PT_MEMTYPE_NONE 2u

#define PT_NONE         (~0ull) /* in a format: this type cannot be expressed */

struct pt_format {
    const char *name;
    uint64_t read;        /* set when readable: what makes an entry present */
    uint64_t present_any; /* an entry is present when any of these is set */
    uint64_t write;       /* set when writable */
    uint64_t exec;        /* set when executable (EPT) */
    uint64_t no_exec;     /* set when not executable (NPT, stage 1) */
    uint64_t table;       /* all bits of a present non-leaf entry besides the address */
    uint64_t large;       /* set in a leaf above level 1 */
    uint64_t ignore_pat;  /* EPT: IPAT. 0: the format has none */
    uint64_t ad_mask;     /* accessed and dirty: written by hardware, masked in comparisons */
    uint64_t
        rights[8]; /* by enum pt_rights: PT_RIGHTS of the masks above, and what every leaf has */
    uint64_t quiet_set;    /* rights that a present leaf may gain without a flush */
    uint64_t type_mask_4k; /* bits that hold the memory type, in a level-1 leaf */
    uint64_t type_mask_large;
    uint64_t type_4k[8]; /* encoding by enum memtype, or PT_NONE */
    uint64_t type_large[8];
};

/*
 * The `rights` of a format from its masks; `always` is set in every present leaf (NPT: U/S). Without an
 * execute bit, executable alone is nothing.
 */
#define PT_RIGHTS(always, r, w, x, nx)                                          \
    {                                                                           \
        PT_NONE, (always) | (r) | (nx), PT_NONE, (always) | (r) | (w) | (nx),   \
            (x) != 0 ? (always) | (x) : PT_NONE, (always) | (r) | (x), PT_NONE, \
            (always) | (r) | (w) | (x),                                         \
    }

extern const struct pt_format pt_format_ept; /* SDM 3C "EPT Translation Mechanism" */
extern const struct pt_format
    pt_format_npt; /* APM 2 "Nested Paging", with the host's PAT: HV_PAT */
extern const struct pt_format pt_format_stage1; /* SDM 3A "4-Level Paging", with HV_PAT below */

/*
 * The hypervisor's own PAT: PA0 WB, PA1 WC, PA2 UC-, PA3 UC, PA4 WB, PA5 WP, PA6 UC-, PA7 WT.
 * Slots 0 to 3 need no PAT bit.
 */
#define HV_PAT 0x0407050600070106ull

/* What a leaf says, decoded. */
struct pt_attr {
    uint8_t rights;  /* enum pt_rights; 0 is not a mapping */
    uint8_t memtype; /* enum memtype */
    bool ignore_pat;
    uint8_t max_level; /* largest leaf allowed: 1 = 4 KiB, 2 = 2 MiB, 3 = 1 GiB */
};

/*
 * All bits of a leaf entry besides its frame. rights are PT_R with any others, or PT_X alone where the
 * format has it; the type and IPAT exist in the format.
 */
static inline uint64_t pt_leaf_bits(const struct pt_format *fmt, const struct pt_attr *attr,
                                    unsigned level)
{
    const uint64_t *types = level == 1 ? fmt->type_4k : fmt->type_large;
    uint64_t bits;

    ASSERT(attr->rights < ARRAY_COUNT(fmt->rights) && attr->memtype < ARRAY_COUNT(fmt->type_4k));
    bits = fmt->rights[attr->rights] | types[attr->memtype];
    ASSERT(bits != PT_NONE);
    if (attr->ignore_pat) {
        ASSERT(fmt->ignore_pat != 0);
        bits |= fmt->ignore_pat;
    }
    return level > 1 ? bits | fmt->large : bits;
}

/* One leaf entry. level 1..3; frame is aligned to the leaf; attr as for pt_leaf_bits. */
uint64_t pt_encode(const struct pt_format *fmt, hpa_t frame, const struct pt_attr *attr,
                   unsigned level);

/* The attributes of a present leaf at `level`; max_level becomes `level`. */
struct pt_attr pt_decode(const struct pt_format *fmt, uint64_t entry, unsigned level);

static inline bool pt_is_present(const struct pt_format *fmt, uint64_t entry)
{
    return (entry & fmt->present_any) != 0;
}

static inline bool pt_is_leaf(const struct pt_format *fmt, uint64_t entry, unsigned level)
{
    return level == 1 || (entry & fmt->large) != 0;
}

static inline hpa_t pt_frame(uint64_t entry, unsigned level)
{
    return HPA(entry & PT_ADDR_MASK & ~((PAGE_BYTES << (9 * (level - 1))) - 1));
}

#endif
