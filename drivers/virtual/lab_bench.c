/* Benchmarks: set up, time one call again and again, and leave everything as it was. */
#include "drivers/virtual/lab_commands.h"

struct bench {
    enum hv_bar bar;
    uint64_t bar_page, pages, section_page;
    unsigned section;
    bool unmap; /* time the destroy, not the create */
};

static hv_status_t bench_choose(const struct lab *lab, struct bench *bench)
{
    switch (lab->arg[0]) {
    case LAB_BENCH_MAP_1_PAGE:
    case LAB_BENCH_UNMAP_1_PAGE:
        *bench = (struct bench){.bar = HV_BAR2,
                                .bar_page = LAB_BENCH_PAGE,
                                .pages = 1,
                                .section_page = LAB_BENCH_PAGE,
                                .section = LAB_SECTION_MAIN,
                                .unmap = lab->arg[0] == LAB_BENCH_UNMAP_1_PAGE};
        return HV_OK;
    case LAB_BENCH_MAP_1_GIB_2M:
    case LAB_BENCH_UNMAP_1_GIB_2M:
        /* An offset between BAR and section keeps 1 GiB leaves away; it needs room. */
        *bench = (struct bench){.bar = HV_BAR4,
                                .bar_page = lab->bar4_bytes > GIB(1) ? LARGE_PAGES : 0,
                                .pages = HUGE_PAGES,
                                .section = LAB_SECTION_BAR4,
                                .unmap = lab->arg[0] == LAB_BENCH_UNMAP_1_GIB_2M};
        return HV_OK;
    default:
        return HV_E_INVALID_PARAMETER_1;
    }
}

/* One create and destroy; *ticks is what the timed one took, an empty pair subtracted. */
static hv_status_t bench_once(struct lab *lab, const struct bench *bench, uint64_t *ticks)
{
    hv_handle_t section = lab->section[bench->section];
    uint64_t at[5];
    hv_status_t made, gone;

    at[0] = bench_clock();
    made = hv_mmio_range_create(lab->device, bench->bar, bench->bar_page, bench->pages,
                                HV_MMIO_WRITEABLE, section, bench->section_page);
    at[1] = bench_clock();
    if (made != HV_OK)
        return made;
    at[2] = bench_clock();
    gone = hv_mmio_range_destroy(lab->device, bench->bar, bench->bar_page);
    at[3] = bench_clock();
    at[4] = bench_clock();
    *ticks = bench->unmap ? at[3] - at[2] : at[1] - at[0];
    *ticks -= MIN(*ticks, at[4] - at[3]);
    return gone;
}

hv_status_t lab_bench(struct lab *lab)
{
    struct bench bench;
    uint64_t ticks = 0;
    hv_status_t status = bench_choose(lab, &bench);

    if (status == HV_OK && (lab->arg[1] == 0 || lab->arg[1] > LAB_BENCH_MAX))
        status = HV_E_INVALID_PARAMETER_2;
    for (uint64_t i = 0; i < lab->arg[1] && status == HV_OK; i++)
        status = bench_once(lab, &bench, &ticks);
    if (status == HV_OK)
        lab->result[0] = ticks;
    return status;
}
