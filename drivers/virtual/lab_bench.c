/* Benchmarks: set up, time one call again and again, and leave everything as it was. */
#include "drivers/virtual/lab_commands.h"

#define BATCH_PAGES    64u /* in a batch, every other page */
#define MANY_PAGES     512u
#define TOGGLED_RANGES 1000u
#define READ_WRITE     HV_MMIO_WRITEABLE

/* A benchmark: `once` is repeated between the two others, which may be NULL. */
struct bench {
    hv_status_t (*set_up)(struct lab *lab, const struct bench *bench);
    hv_status_t (*once)(struct lab *lab, const struct bench *bench, uint64_t turn, uint64_t *ticks);
    void (*tear_down)(struct lab *lab, const struct bench *bench);
    uint64_t bar_page, pages, section_page;
    uint64_t others; /* ranges that lie in BAR4 meanwhile */
    enum hv_bar bar;
    unsigned section; /* LAB_SECTION_* */
    uint32_t flags;
    bool unmap; /* the destroy is timed, not the create */
};

/* What `call` takes, the time of an empty pair of readings subtracted. */
#define TIMED(ticks, status, call)                    \
    do {                                              \
        uint64_t start_ = bench_clock(), stop_, end_; \
        (status) = (call);                            \
        stop_ = bench_clock();                        \
        end_ = bench_clock();                         \
        (ticks) = stop_ - start_;                     \
        (ticks) -= MIN((ticks), end_ - stop_);        \
    } while (0)

static hv_status_t create(struct lab *lab, const struct bench *bench, uint32_t flags,
                          unsigned section)
{
    return hv_mmio_range_create(lab->device, bench->bar, bench->bar_page, bench->pages,
                                bench->flags | flags, lab->section[section], bench->section_page);
}

static hv_status_t destroy(struct lab *lab, const struct bench *bench)
{
    return hv_mmio_range_destroy(lab->device, bench->bar, bench->bar_page);
}

static hv_status_t make_range(struct lab *lab, const struct bench *bench)
{
    return create(lab, bench, 0, LAB_SECTION_MAIN);
}

static void drop_range(struct lab *lab, const struct bench *bench)
{
    (void)destroy(lab, bench);
}

/* ---- a range comes and goes ---- */

static hv_status_t pair_once(struct lab *lab, const struct bench *bench, uint64_t turn,
                             uint64_t *ticks)
{
    uint64_t making, going;
    hv_status_t status;

    (void)turn;
    TIMED(making, status, create(lab, bench, 0, bench->section));
    if (status != HV_OK)
        return status;
    TIMED(going, status, destroy(lab, bench));
    *ticks = bench->unmap ? going : making;
    return status;
}

/* An offset between BAR and section keeps 1 GiB leaves away; it needs room. */
static hv_status_t aside_once(struct lab *lab, const struct bench *bench, uint64_t turn,
                              uint64_t *ticks)
{
    struct bench moved = *bench;

    moved.bar_page = lab->bar4_bytes > GIB(1) ? LARGE_PAGES : 0;
    return pair_once(lab, &moved, turn, ticks);
}

static hv_status_t need_1g(struct lab *lab, const struct bench *bench)
{
    (void)lab;
    (void)bench;
    return hv_caps.large_1g ? HV_OK : HV_E_NOT_SUPPORTED;
}

/* ---- a range is replaced, or gets a hole ---- */

static hv_status_t replace_once(struct lab *lab, const struct bench *bench, uint64_t turn,
                                uint64_t *ticks)
{
    hv_status_t status;

    TIMED(*ticks, status,
          create(lab, bench, HV_MMIO_REPLACE, turn % 2 ? LAB_SECTION_MAIN : LAB_SECTION_ALT));
    return status;
}

static hv_status_t middle_once(struct lab *lab, const struct bench *bench, uint64_t turn,
                               uint64_t *ticks)
{
    hv_status_t status;

    (void)turn;
    TIMED(*ticks, status,
          hv_mmio_range_unmap(lab->device, bench->bar, bench->bar_page + bench->pages / 2, 1));
    if (status == HV_OK)
        status = create(lab, bench, HV_MMIO_REPLACE, LAB_SECTION_MAIN);
    return status;
}

/* ---- a batch: every other page of one section becomes one of another ---- */

static hv_handle_t batch_section[2];

static hv_status_t run_batch(struct lab *lab, const struct bench *bench, uint32_t flags,
                             hv_handle_t section, uint64_t *ticks)
{
    static struct hv_mmio_op op[BATCH_PAGES];
    uint64_t done;
    hv_status_t status;

    for (uint64_t i = 0; i < BATCH_PAGES; i++)
        op[i] = (struct hv_mmio_op){.kind = HV_MMIO_OP_CREATE,
                                    .bar = bench->bar,
                                    .bar_page = bench->bar_page + 2 * i,
                                    .page_count = 1,
                                    .section_page = 2 * i,
                                    .flags = bench->flags | flags,
                                    .section = section};
    TIMED(*ticks, status,
          hv_mmio_range_batch(lab->device, op, BATCH_PAGES, HV_BATCH_ATOMIC, &done));
    return status;
}

static void close_batch_sections(void)
{
    for (unsigned i = 0; i < ARRAY_COUNT(batch_section); i++)
        (void)hv_handle_close(batch_section[i]); /* 0, which is none, when it was not made */
}

static void batch_tear_down(struct lab *lab, const struct bench *bench)
{
    for (uint64_t i = 0; i < BATCH_PAGES; i++)
        (void)hv_mmio_range_destroy(lab->device, bench->bar, bench->bar_page + 2 * i);
    close_batch_sections();
}

static hv_status_t batch_set_up(struct lab *lab, const struct bench *bench)
{
    hv_status_t status = HV_OK;
    uint64_t ticks;

    for (unsigned i = 0; i < ARRAY_COUNT(batch_section); i++) {
        batch_section[i] = 0;
        if (status == HV_OK)
            status = hv_section_create(
                &batch_section[i], HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE, NULL,
                2 * BATCH_PAGES * PAGE_BYTES, HV_PAGE_READWRITE, HV_SEC_COMMIT, NULL);
    }
    if (status == HV_OK)
        status = run_batch(lab, bench, 0, batch_section[0], &ticks);
    if (status != HV_OK)
        close_batch_sections();
    return status;
}

static hv_status_t batch_once(struct lab *lab, const struct bench *bench, uint64_t turn,
                              uint64_t *ticks)
{
    return run_batch(lab, bench, HV_MMIO_REPLACE, batch_section[(turn + 1) % 2], ticks);
}

/* ---- among many ranges: every other page of BAR4 ---- */

static void drop_others(struct lab *lab, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        (void)hv_mmio_range_destroy(lab->device, HV_BAR4, 2 * i);
}

static hv_status_t crowd_set_up(struct lab *lab, const struct bench *bench)
{
    for (uint64_t i = 0; i < bench->others; i++) {
        hv_status_t status = hv_mmio_range_create(lab->device, HV_BAR4, 2 * i, 1, READ_WRITE,
                                                  lab->section[LAB_SECTION_ALT], i);

        if (status != HV_OK) {
            drop_others(lab, i);
            return status;
        }
    }
    return HV_OK;
}

static void crowd_tear_down(struct lab *lab, const struct bench *bench)
{
    drop_others(lab, bench->others);
}

static hv_status_t toggle(struct lab *lab)
{
    inspect_decode(lab->device, false);
    inspect_decode(lab->device, true);
    return HV_OK;
}

static hv_status_t toggle_once(struct lab *lab, const struct bench *bench, uint64_t turn,
                               uint64_t *ticks)
{
    hv_status_t status;

    (void)bench;
    (void)turn;
    TIMED(*ticks, status, toggle(lab));
    return status;
}

/* ---- the hypervisor's own addresses ---- */

static hv_status_t aperture_once(struct lab *lab, const struct bench *bench, uint64_t turn,
                                 uint64_t *ticks)
{
    gpa_t ram = inspect_vm(lab->device)->ram[0].gpa;
    hv_status_t status;
    void *address;

    (void)bench;
    (void)turn;
    TIMED(*ticks, status, hv_guest_aperture_create(lab->device, ram, PAGE_BYTES, false, &address));
    if (status == HV_OK)
        status = hv_guest_aperture_destroy(lab->device, address);
    return status;
}

static hv_status_t view_once(struct lab *lab, const struct bench *bench, uint64_t turn,
                             uint64_t *ticks)
{
    uint64_t offset = 0, bytes = PAGE_BYTES;
    hv_status_t status;
    void *base = NULL;

    (void)bench;
    (void)turn;
    TIMED(*ticks, status,
          hv_section_map_view(lab->section[LAB_SECTION_ALT], HV_SPACE_HYPERVISOR, &base, 0, 0,
                              &offset, &bytes, HV_VIEW_SHARE, 0, HV_PAGE_READWRITE));
    if (status == HV_OK)
        status = hv_section_unmap_view(HV_SPACE_HYPERVISOR, base);
    return status;
}

/* ---- the table ---- */

#define ONE_PAGE(is_unmap)                                                               \
    {                                                                                    \
        .once = pair_once, .bar = HV_BAR2, .bar_page = LAB_BENCH_PAGE, .pages = 1,       \
        .section_page = LAB_BENCH_PAGE, .section = LAB_SECTION_ALT, .flags = READ_WRITE, \
        .unmap = (is_unmap)                                                              \
    }
#define ONE_GIB(is_unmap)                                                                     \
    {                                                                                         \
        .once = aside_once, .bar = HV_BAR4, .pages = HUGE_PAGES, .section = LAB_SECTION_BAR4, \
        .flags = READ_WRITE, .unmap = (is_unmap)                                              \
    }
/* The page lies in the middle of the others. */
#define AMONG(count, is_unmap)                                                                    \
    {                                                                                             \
        .set_up = crowd_set_up, .once = pair_once, .tear_down = crowd_tear_down, .bar = HV_BAR4,  \
        .bar_page = (count) | 1, .pages = 1, .section_page = (count), .section = LAB_SECTION_ALT, \
        .flags = READ_WRITE, .unmap = (is_unmap), .others = (count)                               \
    }

static const struct bench benches[] = {
    [LAB_BENCH_MAP_1_PAGE] = ONE_PAGE(false),
    [LAB_BENCH_UNMAP_1_PAGE] = ONE_PAGE(true),
    [LAB_BENCH_MAP_1_GIB_2M] = ONE_GIB(false),
    [LAB_BENCH_UNMAP_1_GIB_2M] = ONE_GIB(true),
    [LAB_BENCH_MAP_1_GIB_1G] = {.set_up = need_1g,
                                .once = pair_once,
                                .bar = HV_BAR4,
                                .pages = HUGE_PAGES,
                                .section = LAB_SECTION_BAR4,
                                .flags = READ_WRITE},
    [LAB_BENCH_MAP_512_PAGES_4K] = {.once = pair_once,
                                    .bar = HV_BAR2,
                                    .bar_page = LAB_FREE_PAGE,
                                    .pages = MANY_PAGES,
                                    .section_page = LAB_FREE_PAGE,
                                    .section = LAB_SECTION_MAIN,
                                    .flags = READ_WRITE | HV_MMIO_NO_LARGE},
    [LAB_BENCH_REPLACE_1_PAGE] = {.set_up = make_range,
                                  .once = replace_once,
                                  .tear_down = drop_range,
                                  .bar = HV_BAR2,
                                  .bar_page = LAB_BENCH_PAGE,
                                  .pages = 1,
                                  .section_page = LAB_BENCH_PAGE,
                                  .flags = READ_WRITE},
    [LAB_BENCH_UNMAP_MIDDLE_OF_2M] = {.set_up = make_range,
                                      .once = middle_once,
                                      .tear_down = drop_range,
                                      .bar = HV_BAR2,
                                      .bar_page = LAB_FREE_PAGE,
                                      .pages = LARGE_PAGES,
                                      .section_page = LAB_FREE_PAGE,
                                      .flags = READ_WRITE},
    [LAB_BENCH_BATCH_64_REPLACE] = {.set_up = batch_set_up,
                                    .once = batch_once,
                                    .tear_down = batch_tear_down,
                                    .bar = HV_BAR2,
                                    .bar_page = LAB_FREE_PAGE,
                                    .flags = READ_WRITE},
    [LAB_BENCH_MAP_WITH_100_RANGES] = AMONG(100u, false),
    [LAB_BENCH_UNMAP_WITH_100_RANGES] = AMONG(100u, true),
    [LAB_BENCH_MAP_WITH_10000_RANGES] = AMONG(10000u, false),
    [LAB_BENCH_UNMAP_WITH_10000_RANGES] = AMONG(10000u, true),
    [LAB_BENCH_TOGGLE_1000_RANGES] = {.set_up = crowd_set_up,
                                      .once = toggle_once,
                                      .tear_down = crowd_tear_down,
                                      .others = TOGGLED_RANGES},
    [LAB_BENCH_APERTURE_CREATE] = {.once = aperture_once},
    [LAB_BENCH_VIEW_MAP_1_PAGE] = {.once = view_once},
};

hv_status_t lab_bench(struct lab *lab)
{
    const struct bench *bench;
    uint64_t ticks = 0;
    hv_status_t status = HV_OK;

    if (lab->arg[0] >= ARRAY_COUNT(benches) || !benches[lab->arg[0]].once)
        return HV_E_INVALID_PARAMETER_1;
    if (lab->arg[1] == 0 || lab->arg[1] > LAB_BENCH_MAX)
        return HV_E_INVALID_PARAMETER_2;
    bench = &benches[lab->arg[0]];
    if (bench->set_up)
        status = bench->set_up(lab, bench);
    if (status != HV_OK)
        return status;
    for (uint64_t i = 0; i < lab->arg[1] && status == HV_OK; i++)
        status = bench->once(lab, bench, i, &ticks);
    if (bench->tear_down)
        bench->tear_down(lab, bench);
    if (status == HV_OK)
        lab->result[0] = ticks;
    return status;
}
