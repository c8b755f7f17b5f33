/*
 * Every emulated instruction of insn.asm at every alignment: on RAM, where the CPU carries it out itself, then with the
 * same registers on trapped pages that behave like memory. Registers, flags, vector registers, memory, and what the
 * device saw must be the same.
 */
#include "tests/guest/guest.h"

struct form {
    uint64_t code;
    const char *name;
    uint16_t flags; /* that are compared */
    uint8_t reads, writes, needs, how, family;
    int8_t at; /* the write lies that far behind the read */
};
enum { ALIGNED = 1, VECTOR = 2, BITINDEX = 4, EQUAL = 8, STACK = 16, PAIR = 32 };
enum { RAX, RCX, RDX, RBX, RSP, R12 = 12, R13, R14, R15 };

extern const struct form insn_forms[], insn_forms_end[];
extern const char *const insn_families[], *const insn_families_end[];

#define FAMILIES    35u
#define RUNS        16u    /* of a form, at as many places */
#define MIDDLE      0x800u /* the first place when nothing crosses a page */
#define NEAR        48u    /* bytes around the place that the runs of a form reach */
#define FAR         128u   /* and bit numbers of registers */
#define MSR_FS_BASE 0xc0000100u
#define FS_VALUE    0x0000000012345000ull

/*
 * Two pages at one address. First RAM is there; then what the check is about: so all registers must be the same.
 */
struct ground {
    struct arena arena;
    bool cross; /* the operand has bytes in both pages */
};
static const struct ground inside = {{{A_TRAP, A_TRAP}, 0}, false};
static uint8_t *const ram = arena_ram[0];
static uint64_t stack[8] __attribute__((aligned(16)));
static bool same; /* both have the same content around the place */

struct result {
    struct cpu_state state;
    int vector;
    uint64_t stack[COUNT_OF(stack)];
};
static struct cpu_state before[RUNS];
static struct result native[RUNS];

static bool aligned(const struct form *f)
{
    return f->how & ALIGNED;
}

static unsigned widest(const struct form *f)
{
    return f->reads > f->writes ? f->reads : f->writes;
}

/* How many of them make a difference. */
static unsigned runs(const struct ground *ground, const struct form *f)
{
    return ground->cross && widest(f) - 1u < RUNS ? widest(f) - 1u : RUNS;
}

/* Where run r is: at every alignment or where the form is allowed; across the border in every way. */
static unsigned place(const struct ground *ground, const struct form *f, unsigned r)
{
    if (ground->cross)
        return (unsigned)PAGE - 1 - r % (widest(f) - 1);
    return MIDDLE + (aligned(f) ? r % 4 * widest(f) : r);
}

static uint64_t number(const uint8_t *at, unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned k = 0; k < bytes; k++)
        v |= (uint64_t)at[k] << (8 * k);
    return v;
}

/* Bit numbers: in the operand, around it, and far away in both directions. */
static uint64_t bit_number(unsigned r)
{
    static const int16_t near[RUNS] = {0,  1,   7,   8,   15, 16, 31,     32,
                                       -1, -16, -33, -64, 63, 64, -0x2f5, 0x3e3};

    return (uint64_t)(int64_t)near[r];
}

/* How far from its address the operand lies. */
static int64_t displaced(const struct form *f, unsigned r)
{
    int64_t bits = 8 * f->reads, n = (int64_t)bit_number(r);

    if (!(f->how & BITINDEX))
        return 0;
    return (n - (n % bits + bits) % bits) / 8;
}

static void point_at(struct cpu_state *s, uint64_t address, bool as_stack)
{
    s->gpr[RBX] = address;
    s->gpr[R12] = address - FS_VALUE;
    s->gpr[R13] = address + 0x123 - 4 * s->gpr[R14];
    s->gpr[R15] = (s->gpr[R15] & ~0xffffffffull) | address;
    s->gpr[RSP] = as_stack ? address : (uint64_t)(uintptr_t)(stack + COUNT_OF(stack) / 2);
}

/* Every instruction must leave the vector registers alone: seen now and then. */
static bool shows_vectors(const struct form *f, unsigned r)
{
    return (f->how & VECTOR) || r % 8 == 0;
}

static void prepare(const struct ground *ground, const struct form *f, unsigned r, uint32_t *seed)
{
    struct cpu_state *s = &before[r];
    const uint8_t *operand = ram + place(ground, f, r);

    vectors_use(shows_vectors(f, r));
    state_random(s, seed);
    point_at(s, GVA_TMP + place(ground, f, r), f->how & STACK);
    if (f->how & BITINDEX) /* garbage above the width of the operand does not count */
        s->gpr[RCX] = (s->gpr[RCX] & ~ones(f->reads)) | (bit_number(r) & ones(f->reads));
    if (!(f->how & EQUAL) || r % 2 != 0)
        return;
    if (f->how & PAIR) {
        unsigned half = f->reads / 2;

        s->gpr[RAX] = number(operand, half) | (s->gpr[RAX] & ~ones(half));
        s->gpr[RDX] = number(operand + half, half) | (s->gpr[RDX] & ~ones(half));
    } else {
        s->gpr[RAX] = number(operand, f->reads) | (s->gpr[RAX] & ~ones(f->reads));
    }
}

static void run_one(const struct form *f, unsigned r, struct result *result)
{
    result->state = before[r];
    vectors_use(shows_vectors(f, r));
    for (unsigned k = 0; k < COUNT_OF(stack); k++)
        stack[k] = 0x0102040810204080ull * (k + r + 1);
    result->vector = state_try(&result->state, f->code);
    memcpy(result->stack, stack, sizeof(stack));
}

static void compare(const struct form *f, const struct result *got, const struct result *expected)
{
    expect_eq("vector", (uint64_t)(int64_t)got->vector, (uint64_t)(int64_t)expected->vector);
    for (unsigned g = 0; g < 16; g++)
        if (got->state.gpr[g] != expected->state.gpr[g])
            fail("register %u: expected %lx got %lx", g, expected->state.gpr[g], got->state.gpr[g]);
    expect_eq("flags", got->state.rflags & (f->flags | ~FLAGS_ARITHMETIC),
              expected->state.rflags & (f->flags | ~FLAGS_ARITHMETIC));
    for (unsigned v = 0; v < 16; v++)
        for (unsigned k = 0; k < vectors_width() / 8; k++)
            if (got->state.vector[v][k] != expected->state.vector[v][k])
                fail("vector register %u, word %u: expected %lx got %lx", v, k,
                     expected->state.vector[v][k], got->state.vector[v][k]);
    for (unsigned k = 0; k < COUNT_OF(stack); k++)
        expect_eq("the stack", got->stack[k], expected->stack[k]);
}

/* What a read-only page has is not changed by a write. */
static void keep(const struct ground *ground, uint8_t *kept, bool put_back)
{
    for (unsigned side = 0; side < 2; side++) {
        uint8_t *at = ram + PAGE - FAR + side * FAR;

        if (ground->arena.kind[side] == A_READ_ONLY)
            memcpy(put_back ? at : kept + side * FAR, put_back ? kept + side * FAR : at, FAR);
    }
}

/* The CPU's own way; the digest that the device must have in the end. */
static uint64_t run_native(const struct ground *ground, const struct form *f, uint32_t *seed)
{
    uint8_t kept[2 * FAR];
    uint64_t digest = 0;

    arena_show_ram(0);
    for (unsigned r = 0; r < runs(ground, f); r++) {
        unsigned at = place(ground, f, r) + (unsigned)displaced(f, r);

        prepare(ground, f, r, seed);
        keep(ground, kept, false);
        digest = arena_seen(&ground->arena, digest, at, f->reads, false);
        run_one(f, r, &native[r]);
        if (native[r].vector >= 0)
            fail("on RAM: vector %u", (unsigned)native[r].vector);
        at += (unsigned)(int)f->at;
        digest = arena_seen(&ground->arena, digest, at, f->writes, true);
        keep(ground, kept, true);
    }
    return digest;
}

/* Not on its own width: #GP before anything else. Not for RAM: QEMU lets some of them pass there. */
static void misaligned(const struct form *f)
{
    static struct result result, expected;

    for (unsigned r = 1; r < widest(f) && !failed(); r++) {
        uint64_t sequence = lab_traps();

        point_at(&before[0], GVA_TMP + MIDDLE + r, false);
        expected.state = before[0];
        run_one(f, 0, &result);
        memcpy(expected.stack, stack, sizeof(stack));
        result.state.rflags &= ~0x10000ull; /* RF: the fault's own */
        expected.vector = VEC_GP;
        compare(f, &result, &expected);
        expect_eq("error code", trap_last.error, 0);
        expect_eq("traps of a misaligned access", lab_traps(), sequence);
    }
}

static void one_form(const struct ground *ground, const struct form *f, uint32_t *seed)
{
    static struct result result;
    unsigned from = ground->cross ? (unsigned)PAGE : MIDDLE + 32, reach;
    bool device = ground->arena.kind[0] != A_RAM || ground->arena.kind[1] != A_RAM;
    uint64_t digest;

    arena_show(&ground->arena);
    reach = same ? NEAR : 2 * FAR;
    arena_fill(&ground->arena, from - reach, from + reach, seed);
    same = true;
    digest = run_native(ground, f, seed);
    arena_show(&ground->arena);
    if (device)
        digest_start();
    for (unsigned r = 0; r < runs(ground, f) && !failed(); r++) {
        run_one(f, r, &result);
        compare(f, &result, &native[r]);
        if (failed())
            say("# run %u, place %lx\n", r, (uint64_t)place(ground, f, r));
    }
    if (device && !failed())
        expect_eq("the device's view", digest_now(), digest);
    for (unsigned o = from - 40; o < from + 40 && !failed(); o += 8)
        expect_eq("memory", load(GVA_TMP + o, 8), number(ram + o, 8));
}

static void begin(void)
{
    wrmsr(MSR_FS_BASE, FS_VALUE);
    vectors_on();
    same = false;
}

static void end(void)
{
    vectors_off();
    wrmsr(MSR_FS_BASE, 0);
    arena_hide(0);
}

static unsigned family(unsigned n, const struct ground *ground)
{
    uint32_t seed = 0x1234567u * (n + 1);
    unsigned ran = 0;

    for (const struct form *f = insn_forms; f < insn_forms_end && !failed(); f++) {
        if (f->family != n || !cpu_has(f->needs))
            continue;
        if (ground->cross && (widest(f) == 1 || aligned(f)))
            continue;
        one_form(ground, f, &seed);
        if (ground == &inside && aligned(f) && !failed())
            misaligned(f);
        if (failed())
            say("# %s\n", f->name);
        ran++;
    }
    return ran;
}

static void on_device(unsigned n)
{
    begin();
    if (family(n, &inside) == 0)
        skip("the CPU has none of them");
    end();
}

static void name_on_device(char *out, unsigned n)
{
    format_text(out, NAME_ROOM, "%s", insn_families[n]);
}

/* The battery against itself: RAM in place of the device. */
static void self(unsigned i)
{
    struct ground ground = {{{A_RAM, A_RAM}, 0}, i == 1};

    expect_eq("families", (uint64_t)(insn_families_end - insn_families), FAMILIES);
    begin();
    for (unsigned n = 0; n < FAMILIES && !failed(); n++)
        (void)family(n, &ground);
    end();
}

static void name_self(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "the battery on RAM alone%s", i == 1 ? ", across pages" : "");
}

static const struct ground borders[] = {
    {{{A_TRAP, A_TRAP}, 0}, true},     {{{A_RAM, A_TRAP}, 0}, true},
    {{{A_TRAP, A_RAM}, 0}, true},      {{{A_TRAP, A_DIRECT}, 0}, true},
    {{{A_DIRECT, A_TRAP}, 0}, true},   {{{A_TRAP, A_READ_ONLY}, 0}, true},
    {{{A_READ_ONLY, A_RAM}, 0}, true},
};

static void border(unsigned i)
{
    begin();
    arena_ranges(&borders[i].arena, true);
    for (unsigned n = 0; n < FAMILIES && !failed(); n++)
        (void)family(n, &borders[i]);
    arena_ranges(&borders[i].arena, false);
    end();
}

static void name_border(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "everything across %s | %s",
                arena_kind_name[borders[i].arena.kind[0]],
                arena_kind_name[borders[i].arena.kind[1]]);
}

static const struct check list[] = {
    {"insn", NULL, name_self, 2, false, self},
    {"insn", NULL, name_on_device, FAMILIES, true, on_device},
    {"insn", NULL, name_border, COUNT_OF(borders), true, border},
};
const struct check_list checks_insn = {list, COUNT_OF(list)};
