/*
 * Owns:     the memory-type range registers of this machine, as read at boot, and what they say of a frame.
 * Promises: mtrr_type() is a pure function of the structure; types are the architecture's encodings.
 * Needs:    SDM 3A "Memory Type Range Registers (MTRRs)", APM 2 "MTRRs". The firmware's setting stays.
 * Never:    a write to an MTRR.
 *
 *   first that answers:  fixed ranges (below 1 MiB) -> variable ranges -> AMD: RAM from 4 GiB to TOP_MEM2 -> default
 */
#ifndef HV_X86_MTRR_H
#define HV_X86_MTRR_H

#include "hv/base/bits.h"
#include "hv/base/types.h"

#define MTRR_FIXED        11u /* registers of 8 ranges each: 1 of 64 KiB, 2 of 16 KiB, 8 of 4 KiB */
#define MTRR_MAX_VARIABLE 40u /* more MSR pairs than that would run into the fixed ranges' */

#define MTRR_DEF_TYPE     BITS(7, 0) /* in IA32_MTRR_DEF_TYPE ... */
#define MTRR_DEF_FIXED    BIT(10)
#define MTRR_DEF_ENABLE   BIT(11)
#define MTRR_CAP_COUNT    BITS(7, 0) /* in IA32_MTRRCAP ... */
#define MTRR_CAP_FIXED    BIT(8)
#define MTRR_BASE_TYPE    BITS(7, 0)   /* in PHYSBASE */
#define MTRR_MASK_VALID   BIT(11)      /* in PHYSMASK */
#define MTRR_ADDRESS      BITS(51, 12) /* in both */
#define SYSCFG_TOM2       BIT(21)      /* in AMD_SYSCFG: TOP_MEM2 counts ... */
#define SYSCFG_TOM2_WB    BIT(22)      /* ... and is write-back up to there without a range */
#define TOP_MEM2_ADDRESS  BITS(51, 23)

struct mtrr_range {
    uint64_t base; /* PHYSBASE and PHYSMASK as they are */
    uint64_t mask;
};

struct mtrr {
    uint64_t def_type; /* IA32_MTRR_DEF_TYPE; without MTRR_DEF_ENABLE every frame is UC */
    uint64_t fixed[MTRR_FIXED];
    unsigned variable_count;
    struct mtrr_range variable[MTRR_MAX_VARIABLE];
    uint64_t
        top_mem2; /* 0, or the end of what is write-back from 4 GiB when no range says otherwise */
};

/*
 * Reads the registers. `amd`: the CPU has SYSCFG and TOP_MEM2. A CPU without MTRRs is as one where all is WB, the
 * type that takes nothing away.
 */
void mtrr_read(struct mtrr *mtrr, bool amd);

/*
 * The type of a frame: UC, WC, WT, WP or WB. Where variable ranges overlap UC wins, WT wins over WB, and what the
 * manuals leave undefined is UC.
 */
uint8_t mtrr_type(const struct mtrr *mtrr, hpa_t frame);

/* How many pages from the frame on have its type for certain: at least 1, and there may be more. */
uint64_t mtrr_run(const struct mtrr *mtrr, hpa_t frame);

#endif
