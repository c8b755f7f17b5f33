/*
 * String instructions from and to every kind of page, with repetition and without, in both directions, through page
 * borders at different iterations of source and destination. As in t_insn.c: first on RAM, then on the pages.
 */
#include "tests/guest/guest.h"

enum op { MOVS, CMPS, STOS, LODS, SCAS };
enum repeat { ONCE, REPE = 0xf3, REPNE = 0xf2 };
enum address { PLAIN, SHORT /* 32-bit addresses */, FS_SOURCE };
enum { RAX, RCX, RSI = 6, RDI };

static const uint8_t opcode[] = {0xa4, 0xa6, 0xaa, 0xac, 0xae};
static const char *const op_name[] = {"movs", "cmps", "stos", "lods", "scas"};
#define SOURCE       (1u << MOVS | 1u << CMPS | 1u << LODS)
#define DESTINATION  (1u << MOVS | 1u << CMPS | 1u << STOS | 1u << SCAS)
#define WRITES       (1u << MOVS | 1u << STOS)
#define USES(op, of) (((of) >> (op)) & 1u)

#define REACH        256u /* bytes on each side of the border */
#define MANY         19u
#define MSR_FS_BASE  0xc0000100u
#define FS_VALUE     0x0000000000345670ull

/* What is copied where, and how. */
struct setting {
    struct arena arena[2];
    unsigned bytes, count;
    bool down, skew, repeated;
    enum address address;
    uint32_t seed;
};

static uint8_t code[32];

static void encode(const struct setting *t, enum op op, enum repeat repeat)
{
    uint64_t back = (uint64_t)(uintptr_t)&state_back;
    unsigned n = 0;

    if (t->address == SHORT)
        code[n++] = 0x67;
    if (t->address == FS_SOURCE)
        code[n++] = 0x64;
    if (t->bytes == 2)
        code[n++] = 0x66;
    if (repeat != ONCE)
        code[n++] = (uint8_t)repeat;
    if (t->bytes == 8)
        code[n++] = 0x48;
    code[n++] = (uint8_t)(opcode[op] + (t->bytes > 1));
    code[n++] = 0xff; /* JMP [state_back] */
    code[n++] = 0x24;
    code[n++] = 0x25;
    memcpy(code + n, &back, 4);
    (void)cpuid(0, 0);
}

/* Where element i of the source (0) or the destination (1) lies in its two pages. */
static unsigned element(const struct setting *t, unsigned which, unsigned i)
{
    unsigned half = t->count / 2 * t->bytes, skew = t->skew ? 1 + 2 * which : 0;
    unsigned first = (unsigned)PAGE - (t->down ? t->bytes : 0) - skew + which * 2 * t->bytes;

    return t->down ? first + half - i * t->bytes : first - half + i * t->bytes;
}

static uint64_t element_value(const struct setting *t, unsigned which, unsigned i)
{
    uint64_t v = 0;

    memcpy(&v, arena_ram[which] + element(t, which, i), t->bytes);
    return v;
}

static void show(const struct setting *t, bool native)
{
    for (unsigned which = 0; which < 2; which++)
        if (native)
            arena_show_ram(which);
        else
            arena_show(&t->arena[which]);
}

/* What the device sees when `done` elements were taken: each one's read, then its write or second read. */
static uint64_t expected_digest(const struct setting *t, enum op op, unsigned done)
{
    uint64_t digest = 0;

    for (unsigned i = 0; i < done; i++) {
        if (USES(op, SOURCE))
            digest = arena_seen(&t->arena[0], digest, element(t, 0, i), t->bytes, false);
        if (USES(op, DESTINATION))
            digest = arena_seen(&t->arena[1], digest, element(t, 1, i), t->bytes, USES(op, WRITES));
    }
    return digest;
}

static void prepare(const struct setting *t, struct cpu_state *s, enum repeat repeat)
{
    uint64_t garbage = t->address == SHORT && t->count != 0 ? 0x5a5a5a5a00000000ull : 0;

    s->gpr[RSI] = ARENA_GVA(0) + element(t, 0, 0) + garbage;
    if (t->address == FS_SOURCE)
        s->gpr[RSI] -= FS_VALUE;
    s->gpr[RDI] = ARENA_GVA(1) + element(t, 1, 0) + garbage;
    if (repeat != ONCE)
        s->gpr[RCX] = t->count + garbage;
    s->rflags |= t->down ? FLAG_DF : 0;
}

static bool with_device(const struct setting *t)
{
    for (unsigned k = 0; k < 4; k++)
        if (t->arena[k / 2].kind[k % 2] != A_RAM)
            return true;
    return false;
}

static void one(struct setting *t, enum op op, enum repeat repeat, uint64_t rax)
{
    static struct cpu_state native, got;
    unsigned done = 1;
    int vector;

    if (failed())
        return;
    repeat = t->repeated ? repeat : ONCE;
    encode(t, op, repeat);
    state_random(&native, &t->seed);
    prepare(t, &native, repeat);
    native.gpr[RAX] = rax;
    got = native;
    show(t, true);
    vector = state_try(&native, (uint64_t)(uintptr_t)code);
    if (vector >= 0)
        fail("on RAM: vector %u", (unsigned)vector);
    if (repeat != ONCE)
        done = (unsigned)(got.gpr[RCX] - native.gpr[RCX]);
    show(t, false);
    if (with_device(t))
        digest_start();
    vector = state_try(&got, (uint64_t)(uintptr_t)code);
    expect_eq("vector", (uint64_t)(int64_t)vector, ~0ull);
    for (unsigned g = 0; g < 16; g++)
        if (got.gpr[g] != native.gpr[g])
            fail("register %u: expected %lx got %lx", g, native.gpr[g], got.gpr[g]);
    expect_eq("flags", got.rflags, native.rflags);
    if (with_device(t) && !failed())
        expect_eq("the device's view", digest_now(), expected_digest(t, op, done));
    if (failed())
        say("# %s, prefix %x, %u bytes, count %u, done %u,%s%s address %u\n", op_name[op],
            (unsigned)repeat, t->bytes, t->count, done, t->down ? " down," : "",
            t->skew ? " skewed," : "", (unsigned)t->address);
}

/* Element i of the destination differs in its last byte; the arenas are shown. */
static void plant(const struct setting *t, unsigned i)
{
    unsigned at = element(t, 1, i) + t->bytes - 1;

    arena_ram[1][at] ^= 0x11;
    store(ARENA_GVA(1) + at, 1, arena_ram[1][at]);
}

/* Each one leaves what the next one needs. */
static void sequence(struct setting *t)
{
    unsigned middle = t->count * 2 / 3;

    one(t, MOVS, REPE, 1);
    plant(t, middle);
    one(t, CMPS, REPE, 2);
    one(t, CMPS, REPNE, 2);
    one(t, SCAS, REPNE, element_value(t, 1, middle) ^ (t->bytes < 8 ? 0x77ull << 56 : 0));
    one(t, LODS, REPE, 0x8877665544332211ull);
    one(t, STOS, REPE, element_value(t, 0, middle));
    one(t, CMPS, REPNE, 3);
    one(t, SCAS, REPE, element_value(t, 0, middle));
    plant(t, t->count / 2);
    one(t, SCAS, REPE, element_value(t, 0, middle));
}

static void all_widths(struct setting *t)
{
    static const unsigned counts[] = {0, 1, 2, MANY};

    for (t->bytes = 1; t->bytes <= 8; t->bytes *= 2)
        for (unsigned k = 0; k < 2 * COUNT_OF(counts) && !failed(); k++) {
            t->count = counts[k / 2];
            t->skew = k % 2;
            sequence(t);
        }
}

/* After all that: both have the same content. */
static void same_content(const struct setting *t)
{
    for (unsigned k = 0; k < 2 * (2 * REACH / 8) && !failed(); k++) {
        unsigned which = k % 2, o = (unsigned)PAGE - REACH + k / 2 * 8;
        uint64_t expected;

        memcpy(&expected, arena_ram[which] + o, sizeof(expected));
        expect_eq("memory", load(ARENA_GVA(which) + o, 8), expected);
    }
    (void)t;
}

static void run(struct setting *t)
{
    bool ranges = with_device(t);

    wrmsr(MSR_FS_BASE, FS_VALUE);
    for (unsigned which = 0; which < 2; which++) {
        t->arena[which].number = which;
        if (ranges)
            arena_ranges(&t->arena[which], true);
        arena_show(&t->arena[which]);
        arena_fill(&t->arena[which], (unsigned)PAGE - REACH, (unsigned)PAGE + REACH, &t->seed);
    }
    for (unsigned k = 0; k < 4 && !failed(); k++) {
        t->down = k % 2;
        t->repeated = k / 2;
        t->address = k < 2 ? FS_SOURCE : PLAIN;
        all_widths(t);
    }
    t->repeated = true;
    for (t->address = SHORT; t->address <= FS_SOURCE && !failed(); t->address++) {
        t->bytes = 4;
        t->count = 5;
        sequence(t);
    }
    same_content(t);
    for (unsigned which = 0; which < 2; which++) {
        if (ranges)
            arena_ranges(&t->arena[which], false);
        arena_hide(which);
    }
    wrmsr(MSR_FS_BASE, 0);
}

static void self(unsigned i)
{
    struct setting t = {.arena = {{{A_RAM, A_RAM}, 0}, {{A_RAM, A_RAM}, 0}}, .seed = 77};

    (void)i;
    run(&t);
}

static const enum arena_kind ways[][4] = {
    {A_TRAP, A_TRAP, A_RAM, A_RAM},          {A_RAM, A_RAM, A_TRAP, A_TRAP},
    {A_TRAP, A_TRAP, A_TRAP, A_TRAP},        {A_TRAP, A_TRAP, A_DIRECT, A_DIRECT},
    {A_DIRECT, A_DIRECT, A_TRAP, A_TRAP},    {A_TRAP, A_RAM, A_RAM, A_TRAP},
    {A_RAM, A_TRAP, A_TRAP, A_RAM},          {A_TRAP, A_DIRECT, A_RAM, A_TRAP},
    {A_READ_ONLY, A_TRAP, A_TRAP, A_DIRECT},
};

static void way(unsigned i)
{
    const enum arena_kind *w = ways[i];
    struct setting t = {.arena = {{{w[0], w[1]}, 0}, {{w[2], w[3]}, 0}}, .seed = 99 + i};

    run(&t);
}

static void name_way(char *out, unsigned i)
{
    const enum arena_kind *w = ways[i];

    format_text(out, NAME_ROOM, "%s | %s to %s | %s", arena_kind_name[w[0]], arena_kind_name[w[1]],
                arena_kind_name[w[2]], arena_kind_name[w[3]]);
}

static const struct check list[] = {
    {"string", "the battery on RAM alone", NULL, 0, false, self},
    {"string", NULL, name_way, COUNT_OF(ways), true, way},
};
const struct check_list checks_string = {list, COUNT_OF(list)};
