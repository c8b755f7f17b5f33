/* Calls with arguments of chance: nothing that a guest writes into the lab's registers may do harm or leave anything. */
#include "tests/guest/guest.h"

#define AT     (LAB_FREE_PAGE + 512u)
#define FUZZED 10000u

static uint32_t state;

static uint32_t below(uint32_t limit)
{
    return random_next(&state) % limit;
}

/* Values at which comparisons go wrong, and now and then one that is right. */
static uint64_t odd_value(void)
{
    static const uint64_t edge[] = {0,
                                    1,
                                    2,
                                    4,
                                    511,
                                    512,
                                    LAB_LAST_PAGE,
                                    LAB_BAR2_PAGES,
                                    LAB_BAR2_PAGES + 1,
                                    AT,
                                    1ull << 31,
                                    1ull << 32,
                                    1ull << 51,
                                    1ull << 52,
                                    1ull << 63};
    uint64_t value = edge[below(COUNT_OF(edge))];

    switch (below(4)) {
    case 0:
        return value;
    case 1:
        return 0 - value;
    case 2:
        return value + below(64);
    default:
        return (uint64_t)random_next(&state) << 32 | random_next(&state);
    }
}

/* Only calls that can be undone by what follows; a device of its own and the initial ranges are left alone. */
static void odd_call(void)
{
    static const uint8_t commands[] = {LAB_CMD_RANGE_CREATE,      LAB_CMD_RANGE_CREATE,
                                       LAB_CMD_RANGE_QUERY,       LAB_CMD_RANGE_UNMAP,
                                       LAB_CMD_BATCH_OP,          LAB_CMD_RANGE_STATS,
                                       LAB_CMD_GUEST_READ,        LAB_CMD_LEAF,
                                       LAB_CMD_SECTION_COMMIT,    LAB_CMD_SECTION_QUERY,
                                       LAB_CMD_EFFECTIVE_TYPE,    LAB_CMD_BATCH,
                                       LAB_CMD_DOORBELL_REGISTER, LAB_CMD_DOORBELL_UNREGISTER,
                                       LAB_CMD_EVENT_TAKE,        LAB_CMD_ACCESS_BYTES};
    uint8_t command = commands[below(COUNT_OF(commands))];
    uint64_t args[8];

    for (unsigned k = 0; k < COUNT_OF(args); k++)
        args[k] = odd_value();
    if (below(2))
        args[0] = 0;
    if (command == LAB_CMD_RANGE_CREATE || command == LAB_CMD_RANGE_UNMAP) {
        args[1] = below(8) ? 4 : args[1]; /* BAR4 is empty, BAR2 is not */
        if (args[1] == 0 || args[1] == 2 || args[1] == 6)
            args[1] = 3;
        if (below(2))
            args[4] &= 0x3f3;
        if (below(2))
            args[5] = below(2) ? lab.alt : lab.bar4;
    }
    if (command == LAB_CMD_BATCH_OP) {
        args[0] = below(130);
        args[2] = 4;
    }
    (void)lab_call(command, args, COUNT_OF(args));
}

static void chance(unsigned i)
{
    struct world before;
    unsigned made = 0;

    (void)i;
    if (lab.bytes[4] == 0) {
        skip("BAR4 is not configured");
        return;
    }
    world_note(&before);
    state = 0x6a09e667u;
    for (unsigned k = 0; k < LAB_BATCH_OPS; k++) /* what earlier checks left in the lab's table */
        batch_set(k, OP_UNMAP, 4, 0, 1, 0, 0, 0);
    for (unsigned k = 0; k < FUZZED; k++) {
        odd_call();
        if (k % 500 == 499) {
            made += (unsigned)bar_stats(4).ranges;
            expect_status("unmap all", bar_unmap(4, 0, lab.bytes[4] / PAGE), HV_OK);
        }
    }
    expect(made != 0, "no call of all did anything");
    world_same(&before, "after all calls");
}

static const struct check list[] = {
    {"chance", "10,000 calls with arguments of chance leave nothing", NULL, 0, true, chance},
};
const struct check_list checks_chance = {list, COUNT_OF(list)};
