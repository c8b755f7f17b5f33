/*
 * Trapped accesses of 32-bit and 16-bit code: without paging, with 32-bit and PAE paging by small and large pages, and in
 * compatibility mode. As in t_insn.c: on RAM first, then on the device's pages, the same offsets in segments whose
 * bases differ.
 */
#include "tests/guest/guest.h"

struct form {
    uint64_t code;
    const char *name;
    uint16_t flags;
    uint8_t bits, reads, writes, count, code_bytes, unused;
};

struct mode_job {
    uint32_t gpr[8], eflags;
    uint32_t cr0, cr3, cr4;
    uint32_t eip, cs, ds;
    uint32_t vector, error, fault, cr2; /* what came of it; vector NOTHING: the code's end */
    uint32_t stay;                      /* in long mode: compatibility mode */
};

extern const struct form mode_forms[], mode_forms_end[];
extern const uint32_t mode_entries[32];
extern uint64_t mode_idt[32];
extern const uint8_t mode_back[];
void mode_run(struct mode_job *job);

enum { EAX, ECX, EDX, EBX, ESP, EBP, ESI, EDI };
enum mode { FLAT, PAGED_4K, PAGED_4M, PAE_4K, PAE_2M, COMPATIBLE, MODES };
static const char *const mode_name[] = {
    "without paging", "32-bit paging",           "32-bit paging, 4 MiB pages",
    "PAE paging",     "PAE paging, 2 MiB pages", "compatibility mode"};

#define NOTHING    0xffffffffu
#define MEMORY     (LAB_MEMORY_PAGE * PAGE)
#define CR0_PAGING 0x80010021u /* PG WP NE PE */
#define CR0_FLAT   0x00000021u
#define CR4_PSE    0x10u
#define CR4_PAE    0x20u
#define PTE        3u /* present, writable */
#define PTE_LARGE  0x83u
#define CODE32     0x18u
#define CODE_PATCH (8 * GDT_FREE) /* 16-bit or 32-bit code at code_room */
#define DATA_PATCH (8 * (GDT_FREE + 1))
#define SMALL_AT   0x60000000u /* linear: small pages, two of them */
#define LARGE_AT   0x60400000u /* a large page */
#define BEFORE     0x1000u     /* the segments begin that far below the pages */

static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint32_t table[1024] __attribute__((aligned(4096)));
static uint64_t pointers[4] __attribute__((aligned(4096)));
static uint64_t pae_directory[4][512] __attribute__((aligned(4096)));
static uint64_t pae_table[512] __attribute__((aligned(4096)));
static uint8_t code_room[64] __attribute__((aligned(64)));
static struct mode_job job;

static uint32_t low(const void *p)
{
    return (uint32_t)(uintptr_t)p;
}

/* Everything one to one, and two places for the lab's memory. */
static void tables_make(void)
{
    uint64_t lab_at = lab.base[2] + MEMORY;

    for (uint32_t i = 0; i < 1024; i++)
        directory[i] = i << 22 | PTE_LARGE;
    for (uint64_t i = 0; i < 2048; i++)
        pae_directory[i / 512][i % 512] = i << 21 | PTE_LARGE;
    for (unsigned i = 0; i < 2; i++) {
        table[i] = (uint32_t)(lab_at + i * PAGE) | PTE;
        pae_table[i] = (lab_at + i * PAGE) | PTE;
    }
    for (unsigned i = 0; i < 4; i++)
        pointers[i] = low(pae_directory[i]) | 1u;
    directory[SMALL_AT >> 22] = low(table) | PTE;
    directory[LARGE_AT >> 22] = (uint32_t)lab_at | PTE_LARGE;
    pae_directory[1][SMALL_AT >> 21 & 511] = low(pae_table) | PTE;
    pae_directory[1][LARGE_AT >> 21 & 511] = lab_at | PTE_LARGE;
    for (unsigned v = 0; v < 32; v++)
        mode_idt[v] = (mode_entries[v] & 0xffffu) | CODE32 << 16 | 0x8e00ull << 32 |
                      (uint64_t)(mode_entries[v] >> 16) << 48;
}

static void job_mode(enum mode mode)
{
    job.stay = mode == COMPATIBLE;
    job.cr0 = mode == FLAT ? CR0_FLAT : CR0_PAGING;
    job.cr4 = mode >= PAE_4K ? CR4_PAE : mode == FLAT ? 0 : CR4_PSE;
    job.cr3 = mode >= PAE_4K ? low(pointers) : low(directory);
}

/* The linear address of the lab's memory. */
static uint32_t device_at(enum mode mode)
{
    if (mode == FLAT)
        return (uint32_t)(lab.base[2] + MEMORY);
    return mode == PAGED_4M || mode == PAE_2M ? LARGE_AT : SMALL_AT;
}

static void run_job(void *arg)
{
    (void)arg;
    mode_run(&job);
}

/* The vector, or NOTHING. */
static uint32_t run(void)
{
    int vector;

    job.vector = NOTHING;
    vector = trap_try(run_job, NULL); /* compatibility mode has the exceptions of 64-bit mode */
    if (vector < 0)
        return job.vector;
    job.error = (uint32_t)trap_last.error;
    job.cr2 = (uint32_t)trap_cr2;
    for (unsigned g = 0; g < 8; g++)
        job.gpr[g] = (uint32_t)trap_last.gpr[g];
    return (uint32_t)vector;
}

/* The code with a far jump back behind it, in a segment of its own. */
static void put_code(const struct form *f)
{
    unsigned n = f->code_bytes;
    uint32_t back = low(mode_back);

    memcpy(code_room, (const void *)(uintptr_t)f->code, n);
    if (f->bits == 16)
        code_room[n++] = 0x66;
    code_room[n++] = 0xea;
    memcpy(code_room + n, &back, 4);
    code_room[n + 4] = CODE32;
    code_room[n + 5] = 0;
    segment_set(GDT_FREE, low(code_room), 0xff, f->bits == 16 ? 0x009b : 0x409b);
    job.cs = CODE_PATCH;
    job.eip = 0;
}

static void put_data(uint32_t base)
{
    segment_set(GDT_FREE + 1, base - BEFORE, 0x2fff, 0x4093);
    job.ds = DATA_PATCH;
}

static void prepare(const struct form *f, unsigned place, uint32_t *seed)
{
    for (unsigned g = 0; g < 8; g++)
        job.gpr[g] = random_next(seed);
    job.gpr[EAX] = 1;
    job.gpr[ECX] = f->count > 1 ? f->count : job.gpr[ECX];
    job.gpr[EBX] = job.gpr[ESI] = job.gpr[EDI] = BEFORE + place;
    job.eflags = (random_next(seed) & 0x8d5u) | 2;
}

static const unsigned places[] = {0x800, 0x803, 0x80f, 0xff9, 0xfff};

static void compare(const struct form *f, const struct mode_job *native)
{
    for (unsigned g = 0; g < 8; g++)
        if (job.gpr[g] != native->gpr[g])
            fail("register %u: expected %lx got %lx", g, (uint64_t)native->gpr[g],
                 (uint64_t)job.gpr[g]);
    expect_eq("flags", job.eflags & (f->flags | 0x400u), native->eflags & (f->flags | 0x400u));
}

static void one(enum mode mode, const struct form *f, unsigned place, uint32_t *seed)
{
    static struct mode_job before, native;
    uint8_t *ram = arena_ram[0];
    uint64_t digest = 0;

    put_code(f);
    prepare(f, place, seed);
    before = job;
    for (unsigned k = 0; k < f->count; k++)
        digest = f->reads == 0 ? digest
                               : digest_pieces(digest, MEMORY + place + k * f->reads, f->reads,
                                               ram + place + k * f->reads, false);
    put_data(low(ram));
    expect_eq("vector on RAM", run(), NOTHING);
    native = job;
    if (f->writes != 0) {
        digest = 0; /* once more, now that it is known what is written */
        for (unsigned k = 0; k < f->count; k++) {
            unsigned at = place + k * f->writes;

            if (f->reads != 0)
                digest = digest_pieces(digest, MEMORY + at, f->reads, arena_ram[1] + at, false);
            digest = digest_pieces(digest, MEMORY + at, f->writes, ram + at, true);
        }
    }
    job = before;
    put_data(device_at(mode));
    digest_start();
    expect_eq("vector", run(), NOTHING);
    if (!failed())
        compare(f, &native);
    if (!failed())
        expect_eq("the device's view", digest_now(), digest);
    memcpy(arena_ram[1] + place - 8, ram + place - 8, 32);
    if (failed())
        say("# %s at %lx: vector %lx error %lx at %lx, address %lx\n", f->name, (uint64_t)place,
            (uint64_t)job.vector, (uint64_t)job.error, (uint64_t)job.fault, (uint64_t)job.cr2);
}

static void begin(void)
{
    tables_make();
    for (unsigned o = 0; o < 2 * PAGE; o += 8) {
        uint64_t v = load(GVA_BAR2 + MEMORY + o, 8);

        memcpy(arena_ram[0] + o, &v, 8);
        memcpy(arena_ram[1] + o, &v, 8);
    }
    for (unsigned p = 0; p < 2; p++)
        map(SMALL_AT + p * PAGE, lab.base[2] + MEMORY + p * PAGE, PAGE, PAGE, 0);
}

static void end(void)
{
    unmap(SMALL_AT, 2 * PAGE, PAGE);
}

static void in_mode(unsigned i)
{
    enum mode mode = (enum mode)(i / 2);
    unsigned bits = i % 2 == 0 ? 32 : 16;
    uint32_t seed = 31 + i;

    begin();
    job_mode(mode);
    for (const struct form *f = mode_forms; f < mode_forms_end; f++)
        for (unsigned p = 0; p < COUNT_OF(places) && f->bits == bits && !failed(); p++)
            one(mode, f, places[p], &seed);
    for (unsigned o = 0x7f8; o < 0x1010 && !failed(); o += 8) {
        uint64_t v;

        if (o == 0x828)
            o = 0xff0;
        memcpy(&v, arena_ram[0] + o, 8);
        expect_eq("memory", load(GVA_BAR2 + MEMORY + o, 8), v);
    }
    end();
}

static void name_in_mode(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%u-bit code, %s", i % 2 == 0 ? 32u : 16u, mode_name[i / 2]);
}

/* ---- faults ---- */

static const struct form *form_called(const char *name)
{
    for (const struct form *f = mode_forms; f < mode_forms_end; f++)
        if (text_equal(f->name, name))
            return f;
    fail("no form %s", name);
    return mode_forms;
}

static void second_page(enum mode mode, uint32_t bits)
{
    uint64_t at = lab.base[2] + MEMORY + PAGE;

    table[1] = bits == 0 ? 0 : (uint32_t)at | bits;
    pae_table[1] = bits == 0 ? 0 : at | bits;
    if (mode == COMPATIBLE) {
        *entry_of(SMALL_AT + PAGE, 1) = pae_table[1];
        invlpg(SMALL_AT + PAGE);
    }
}

/* The form at that place gives this fault, and nothing of it is seen. */
static void refused(const char *name, uint32_t place, uint32_t vector, uint32_t error)
{
    static struct mode_job before;
    uint64_t sequence = lab_traps();
    uint32_t seed = place + vector;

    put_code(form_called(name));
    prepare(form_called(name), 0x800, &seed);
    job.gpr[EBX] = job.gpr[EDI] = BEFORE + place;
    before = job;
    expect_eq("vector", run(), vector);
    expect_eq("error code", job.error, error);
    for (unsigned g = 0; g < 8; g++)
        if (g != ESP)
            expect_eq("register", job.gpr[g], before.gpr[g]);
    expect_eq("traps", lab_traps(), sequence);
    if (failed())
        say("# %s at %lx\n", name, (uint64_t)place);
}

static const enum mode fault_modes[] = {FLAT, PAGED_4K, PAE_4K, COMPATIBLE};

static void faults(unsigned i)
{
    enum mode mode = fault_modes[i];

    begin();
    job_mode(mode);
    put_data(device_at(mode));
    refused("movsd", 0x1ffe, VEC_GP, 0); /* the source is trapped, the limit ends the destination */
    refused("mov eax, [ebx]", 0x1ffd, VEC_GP, 0);
    if (mode != FLAT) {
        second_page(mode, 0);
        refused("mov eax, [ebx]", 0xffe, VEC_PF, 0);
        expect_eq("address", job.cr2, SMALL_AT + PAGE);
        refused("lock or [ebx], edx", 0xffd, VEC_PF, 2);
        refused("movsd", 0xffe, VEC_PF, 2);
        expect_eq("address", job.cr2, SMALL_AT + PAGE);
        second_page(mode, 1);
        refused("mov [ebx], edx", 0xfff, VEC_PF, 3);
        refused("movsd", 0x1004, VEC_PF, 3);
        expect_eq("address", job.cr2, SMALL_AT + PAGE + 4);
    }
    end();
}

static void name_faults(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "faults, %s", mode_name[fault_modes[i]]);
}

static const struct check list[] = {
    {"modes", NULL, name_in_mode, 2 * MODES, true, in_mode},
    {"modes", NULL, name_faults, COUNT_OF(fault_modes), true, faults},
};
const struct check_list checks_modes = {list, COUNT_OF(list)};
