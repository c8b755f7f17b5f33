/* Measurements in ticks of RDTSC: an empty pair is subtracted, the 16th repetition counts. */
#include "tests/guest/guest.h"

#define REPEAT       16u
#define DIRECT_READS 1000u

/* What the guest times itself, then what the lab times, in the order of LAB_BENCH_*. */
#define IN_GUEST 5u
#define NAMES    (IN_GUEST + LAB_BENCH_VIEW_MAP_1_PAGE)
static uint64_t measured[NAMES];

/*
 * The ticks from one RDTSC to the next with `insn` between. `setup` runs inside too: the empty pair has it
 * as well, so only the instruction is left when that is subtracted. `at` is in RDI.
 */
#define PAIR(ticks, setup, insn, at)                                                           \
    __asm__ volatile("rdtsc\n\tshl $32, %%rdx\n\tor %%rdx, %%rax\n\tmov %%rax, %%r8\n\t" setup \
                     "\n\t" insn                                                               \
                     "\n\trdtsc\n\tshl $32, %%rdx\n\tor %%rdx, %%rax\n\tsub %%r8, %%rax"       \
                     : "=a"(ticks)                                                             \
                     : "D"(at)                                                                 \
                     : "rbx", "rcx", "rdx", "r8", "memory")

#define TIMED(ticks, setup, insn, at)              \
    do {                                           \
        for (unsigned r_ = 0; r_ < REPEAT; r_++) { \
            uint64_t with_, without_;              \
            PAIR(without_, setup, "", at);         \
            PAIR(with_, setup, insn, at);          \
            (ticks) = with_ - without_;            \
        }                                          \
    } while (0)

static uint64_t cpuid_exit(void)
{
    uint64_t ticks = 0;

    TIMED(ticks, "mov $1, %%eax\n\txor %%ecx, %%ecx", "cpuid", 0ul);
    return ticks;
}

static uint64_t mmio_read_4(void)
{
    uint64_t ticks = 0;

    TIMED(ticks, "", "mov (%%rdi), %%ecx", GVA_REGS + LAB_ARG(7));
    return ticks;
}

static uint64_t mmio_write_4(void)
{
    uint64_t ticks = 0;

    TIMED(ticks, "mov $7, %%ecx", "mov %%ecx, (%%rdi)", GVA_REGS + LAB_ARG(7));
    return ticks;
}

static uint64_t direct_read(void)
{
    uint64_t ticks = 0;

    TIMED(ticks, "", "mov (%%rdi), %%ecx", GVA_BAR2 + LAB_LARGER_PAGE * PAGE);
    return ticks;
}

static uint64_t exits_now(void)
{
    expect_status("statistics", LAB0(LAB_CMD_VM_STATS), HV_OK);
    return lab_result(0);
}

/* Exits of 1000 direct reads, those of the query itself taken away. */
static uint64_t direct_read_exits(void)
{
    uint64_t a = exits_now(), b = exits_now(), c;

    for (unsigned k = 0; k < DIRECT_READS; k++)
        (void)load(GVA_BAR2 + LAB_LARGER_PAGE * PAGE + 8 * k, 8);
    c = exits_now();
    return (c - b) - (b - a);
}

static uint64_t through_lab(unsigned which)
{
    bool with_window = which >= LAB_BENCH_MAP_1_GIB_2M && which <= LAB_BENCH_MAP_1_GIB_1G;
    bool with_bar4 = with_window || (which >= LAB_BENCH_MAP_WITH_100_RANGES &&
                                     which <= LAB_BENCH_TOGGLE_1000_RANGES);

    if (with_bar4 && lab.bytes[4] < HUGE) {
        skip("BAR4 is smaller than 1 GiB");
        return 0;
    }
    if (with_window && lab.bar4 == 0) {
        skip("no window behind BAR4");
        return 0;
    }
    if (which == LAB_BENCH_MAP_1_GIB_1G && !(lab.caps & LAB_CAP_LARGE_1G)) {
        skip("no 1 GiB leaves");
        return 0;
    }
    expect_status("bench", LAB(LAB_CMD_BENCH, which, REPEAT), HV_OK);
    return lab_result(0);
}

static const char *const names[NAMES] = {
    "cpuid_exit",
    "mmio_read_4",
    "mmio_write_4",
    "direct_read",
    "direct_read_exits",
    "map_1_page",
    "unmap_1_page",
    "map_1_gib_2m_leaves",
    "unmap_1_gib_2m_leaves",
    "map_1_gib_1g_leaf",
    "map_512_pages_4k_leaves",
    "replace_1_page",
    "unmap_middle_of_2m",
    "batch_64_replace",
    "map_with_100_ranges",
    "unmap_with_100_ranges",
    "map_with_10000_ranges",
    "unmap_with_10000_ranges",
    "toggle_decode_1000_ranges",
    "aperture_create",
    "view_map_1_page",
};

static uint64_t (*const in_guest[IN_GUEST])(void) = {cpuid_exit, mmio_read_4, mmio_write_4,
                                                     direct_read, direct_read_exits};

static void run(unsigned i)
{
    measured[i] = i < IN_GUEST ? in_guest[i]() : through_lab(i - IN_GUEST + LAB_BENCH_MAP_1_PAGE);
    if (i == 4)
        expect_eq("exits", measured[i], 0);
    say("# bench %s %lu\n", names[i], measured[i]);
}

static void name_bench(char *out, unsigned i)
{
    /* asked for once more after the run */
    format_text(out, NAME_ROOM, "%s %lu", names[i], measured[i]);
}

static const struct check list[] = {{"bench", NULL, name_bench, NAMES, true, run}};
const struct check_list checks_bench = {list, COUNT_OF(list)};
