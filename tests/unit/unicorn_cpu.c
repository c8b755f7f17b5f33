#include "tests/unit/unicorn_cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unicorn/unicorn.h>

#include "hv/base/assert.h"
#include "hv/base/bits.h"
#include "hv/base/types.h"

#define ARENA_LOW  0x20000000ull
#define ARENA_HIGH 0x300000000000ull
#define ARENA_REAL 0x40000ull
#define FS_BASE    0x7654320ull
#define GS_BASE    0x1234560ull
#define GDT        0x8000ull
/* An engine keeps what it has translated, and there is no end to that; a new one now and then. */
#define RUNS_OF_AN_ENGINE 25000u
#define HLT               0xf4u
/* Of 2.0.1 no model has MOVBE, nor VEX moves. */
#define MODEL UC_CPU_X86_HASWELL

enum { ENGINE_REAL, ENGINE_32, ENGINE_64, ENGINES };

struct engine {
    uc_engine *uc;
    uint8_t *memory; /* the arena's pages */
    int fault;
    uint32_t error;
    uint64_t address;
};

static struct engine engines[ENGINES];

static const int gpr_ids[16] = {UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX,
                                UC_X86_REG_RSP, UC_X86_REG_RBP, UC_X86_REG_RSI, UC_X86_REG_RDI,
                                UC_X86_REG_R8,  UC_X86_REG_R9,  UC_X86_REG_R10, UC_X86_REG_R11,
                                UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15};
static const int narrow_ids[8] = {UC_X86_REG_EAX, UC_X86_REG_ECX, UC_X86_REG_EDX, UC_X86_REG_EBX,
                                  UC_X86_REG_ESP, UC_X86_REG_EBP, UC_X86_REG_ESI, UC_X86_REG_EDI};
static const int seg_ids[6] = {UC_X86_REG_ES, UC_X86_REG_CS, UC_X86_REG_SS,
                               UC_X86_REG_DS, UC_X86_REG_FS, UC_X86_REG_GS};

static void must(uc_err error, const char *what)
{
    if (error == UC_ERR_OK)
        return;
    fprintf(stderr, "unicorn: %s: %s\n", what, uc_strerror(error));
    abort();
}

/* ---- faults ---- */

static bool on_invalid(uc_engine *uc, uc_mem_type type, uint64_t address, int bytes, int64_t number,
                       void *user)
{
    struct engine *engine = user;
    bool write = type == UC_MEM_WRITE_UNMAPPED || type == UC_MEM_WRITE_PROT;

    (void)uc;
    (void)bytes;
    (void)number;
    engine->fault = VECTOR_PF;
    engine->error = (write ? 2 : 0) | (type == UC_MEM_WRITE_PROT || type == UC_MEM_READ_PROT);
    engine->address = address;
    return false;
}

static void on_interrupt(uc_engine *uc, uint32_t vector, void *user)
{
    struct engine *engine = user;

    engine->fault = (int)vector;
    engine->error = 0;
    uc_emu_stop(uc);
}

/* ---- set-up ---- */

static void map_arena(struct engine *engine, uint64_t arena)
{
    for (unsigned i = 0; i < ARENA_PAGES; i++) {
        uint32_t rights = arena_rights[i] & INSN_WRITES  ? UC_PROT_READ | UC_PROT_WRITE
                          : arena_rights[i] & INSN_READS ? UC_PROT_READ
                                                         : UC_PROT_NONE;

        if (rights != UC_PROT_NONE)
            must(uc_mem_map_ptr(engine->uc, arena + i * PAGE_BYTES, PAGE_BYTES, rights,
                                engine->memory + i * PAGE_BYTES),
                 "map");
    }
    must(uc_mem_map(engine->uc, arena + ARENA_TO_CODE, CODE_BYTES, UC_PROT_ALL), "map code");
}

static void open_engine(struct engine *engine, uc_mode mode)
{
    uc_hook hook;

    must(uc_open(UC_ARCH_X86, mode, &engine->uc), "open");
    must(uc_ctl_set_cpu_model(engine->uc, MODEL), "model");
    engine->memory = aligned_alloc(PAGE_BYTES, ARENA_BYTES);
    ASSERT(engine->memory != NULL);
    memset(engine->memory, 0, ARENA_BYTES);
    must(uc_hook_add(engine->uc, &hook, UC_HOOK_MEM_INVALID, (void *)(uintptr_t)on_invalid, engine,
                     1ull, 0ull),
         "hook");
    must(uc_hook_add(engine->uc, &hook, UC_HOOK_INTR, (void *)(uintptr_t)on_interrupt, engine, 1ull,
                     0ull),
         "hook");
}

static void open_gdt(struct engine *engine)
{
    uc_x86_mmr gdtr = {.base = GDT, .limit = 7 * 8 - 1};

    must(uc_mem_map(engine->uc, GDT, PAGE_BYTES, UC_PROT_READ | UC_PROT_WRITE), "map");
    must(uc_reg_write(engine->uc, UC_X86_REG_GDTR, &gdtr), "gdtr");
}

/* By an instruction: Unicorn has no CR4 to write in real mode. CR4.OSFXSR and OSXMMEXCPT. */
static void allow_sse(struct engine *engine, uint64_t code, bool real)
{
    static const uint8_t program[] = {0x66, 0xb8, 0x00, 0x06, 0x00, 0x00, /* MOV EAX, 600h */
                                      0x0f, 0x22, 0xe0,                   /* MOV CR4, EAX */
                                      HLT};
    uint16_t selector = (uint16_t)(code >> 4);
    unsigned skip = real ? 0 : 1; /* 66h */

    if (real)
        must(uc_reg_write(engine->uc, UC_X86_REG_CS, &selector), "cs");
    must(uc_mem_write(engine->uc, code, program + skip, sizeof(program) - skip), "code");
    must(uc_emu_start(engine->uc, code, ~0ull, 0, 0), "sse");
}

static void open_engines(void)
{
    open_engine(&engines[ENGINE_REAL], UC_MODE_16);
    map_arena(&engines[ENGINE_REAL], ARENA_REAL);
    open_engine(&engines[ENGINE_32], UC_MODE_32);
    map_arena(&engines[ENGINE_32], ARENA_LOW);
    open_gdt(&engines[ENGINE_32]);
    open_engine(&engines[ENGINE_64], UC_MODE_64);
    map_arena(&engines[ENGINE_64], ARENA_LOW);
    map_arena(&engines[ENGINE_64], ARENA_HIGH);
    allow_sse(&engines[ENGINE_REAL], ARENA_REAL + ARENA_TO_CODE, true);
    allow_sse(&engines[ENGINE_32], ARENA_LOW + ARENA_TO_CODE, false);
    allow_sse(&engines[ENGINE_64], ARENA_LOW + ARENA_TO_CODE, false);
}

void unicorn_open(struct diff_world *protected_mode, struct diff_world *real_mode)
{
    struct diff_world world = {.arenas = {ARENA_LOW, ARENA_HIGH}, .arena_count = 2, .fs = true};

    for (unsigned i = 0; i < ARRAY_COUNT(world.needs); i++)
        world.needs[i] = i != NEED_MOVBE && i != NEED_TEST_1;
    world.fs_base = FS_BASE;
    world.gs_base = GS_BASE;
    *protected_mode = *real_mode = world;
    protected_mode->modes[INSN_16] = protected_mode->modes[INSN_32] =
        protected_mode->modes[INSN_64] = true;
    real_mode->modes[INSN_16] = true;
    real_mode->real = true;
    real_mode->arenas[0] = ARENA_REAL;
    open_engines();
}

void unicorn_close(void)
{
    for (unsigned i = 0; i < ENGINES; i++) {
        must(uc_close(engines[i].uc), "close");
        free(engines[i].memory);
    }
}

/* ---- running ---- */

/* SDM 3A "Segment Descriptors". At CPL 0, and so DPL 0. */
static uint64_t descriptor(const struct emu_segment *seg)
{
    bool pages = seg->attributes & ATTR_PAGES;
    uint64_t limit = pages ? seg->limit >> 12 : seg->limit;

    return (limit & 0xffff) | (seg->base & 0xffffff) << 16 |
           (uint64_t)(seg->attributes & 0x9f) /* DPL 0 */ << 40 | (limit >> 16 & 0xf) << 48 |
           (uint64_t)(seg->attributes & 0xf000) << 40 | (seg->base >> 24 & 0xff) << 56;
}

static void set_segments(struct engine *engine, const struct diff_case *c)
{
    uint64_t gdt[7] = {0};

    for (unsigned i = 0; i < 6; i++)
        gdt[1 + i] = descriptor(&c->seg[i]);
    if (!c->real)
        must(uc_mem_write(engine->uc, GDT, gdt, sizeof(gdt)), "gdt");
    for (unsigned i = 0; i < 6; i++) {
        uint16_t selector = (uint16_t)((i + 1) * 8);

        if (c->real)
            selector = (uint16_t)(c->seg[i].base >> 4);
        must(uc_reg_write(engine->uc, seg_ids[i], &selector), "segment");
    }
}

static void set_bases(struct engine *engine, const struct diff_case *c)
{
    must(uc_reg_write(engine->uc, UC_X86_REG_FS_BASE, &c->seg[INSN_FS].base), "fs");
    must(uc_reg_write(engine->uc, UC_X86_REG_GS_BASE, &c->seg[INSN_GS].base), "gs");
}

static void set_registers(struct engine *engine, const struct diff_case *c)
{
    unsigned count = c->mode == INSN_64 ? 16 : 8;
    const int *ids = c->mode == INSN_64 ? gpr_ids : narrow_ids;

    for (unsigned i = 0; i < count; i++)
        must(uc_reg_write(engine->uc, ids[i], &c->gpr[i]), "gpr");
    for (unsigned i = 0; i < count && (c->form->flags & FORM_VECTOR); i++)
        must(uc_reg_write(engine->uc, UC_X86_REG_XMM0 + (int)i, c->vector[i]), "xmm");
    must(uc_reg_write(engine->uc, UC_X86_REG_EFLAGS, &c->rflags), "eflags");
}

static void get_registers(struct engine *engine, const struct diff_case *c,
                          struct diff_outcome *out)
{
    unsigned count = c->mode == INSN_64 ? 16 : 8;
    const int *ids = c->mode == INSN_64 ? gpr_ids : narrow_ids;

    memset(out->gpr, 0, sizeof(out->gpr));
    memcpy(out->vector, c->vector, sizeof(out->vector));
    for (unsigned i = 0; i < count; i++)
        must(uc_reg_read(engine->uc, ids[i], &out->gpr[i]), "gpr");
    for (unsigned i = 0; i < count && (c->form->flags & FORM_VECTOR); i++)
        must(uc_reg_read(engine->uc, UC_X86_REG_XMM0 + (int)i, out->vector[i]), "xmm");
    out->rflags = 0;
    must(uc_reg_read(engine->uc, UC_X86_REG_EFLAGS, &out->rflags), "eflags");
    out->rip = 0;
    must(uc_reg_read(engine->uc, c->mode == INSN_64 ? UC_X86_REG_RIP : UC_X86_REG_EIP, &out->rip),
         "rip");
}

static void put_code(struct engine *engine, uint64_t code, const uint8_t *bytes, unsigned count)
{
    must(uc_mem_write(engine->uc, code, bytes, count), "code");
    must(uc_ctl_remove_cache(engine->uc, code, code + count), "cache");
}

static struct engine *engine_of(const struct diff_case *c)
{
    if (c->mode == INSN_64)
        return &engines[ENGINE_64];
    return c->real ? &engines[ENGINE_REAL] : &engines[ENGINE_32];
}

void unicorn_run(const struct diff_case *c, struct diff_outcome *out)
{
    static unsigned runs;
    struct engine *engine = engine_of(c);
    uint64_t code = c->rip + (c->mode == INSN_64 ? 0 : c->seg[INSN_CS].base);
    uint8_t bytes[INSN_MAX_BYTES + 1];
    uc_err error;

    if (++runs % RUNS_OF_AN_ENGINE == 0) {
        unicorn_close();
        open_engines();
    }
    memcpy(engine->memory, c->memory, ARENA_BYTES);
    memcpy(bytes, c->code, c->length);
    bytes[c->length] = HLT;
    if (c->mode != INSN_64)
        set_segments(engine, c);
    else
        set_bases(engine, c);
    put_code(engine, code, bytes, c->length + 1u);
    set_registers(engine, c);
    engine->fault = NO_FAULT;
    error = uc_emu_start(engine->uc, c->real ? code : c->rip, ~0ull, 0, 0);
    if (error == UC_ERR_INSN_INVALID)
        engine->fault = VECTOR_UD;
    else if (error != UC_ERR_OK && engine->fault == NO_FAULT)
        must(error, "run");
    get_registers(engine, c, out);
    if (engine->fault == NO_FAULT)
        out->rip--; /* HLT */
    out->fault = engine->fault;
    out->error = engine->error;
    out->address = engine->address;
    memcpy(out->memory, engine->memory, ARENA_BYTES);
}
