#include "tests/unit/diff_emu.h"

#include <string.h>

#include "hv/base/types.h"
#include "hv/x86/regs.h"

#define MAX_ITERATIONS 50u
#define GPA_BASE       0xfe000000ull

struct view {
    const struct diff_case *c;
    struct diff_outcome *out;
    struct emu_run *run;
    uint8_t rights[ARENA_PAGES];
    unsigned held;              /* locks */
    unsigned touched;           /* reads and writes */
    struct emu_span located[4]; /* the newest ones */
    unsigned located_count;
};

static void complain(struct view *view, const char *text)
{
    if (view->run->complaint == NULL)
        view->run->complaint = text;
}

/* ---- memory ---- */

static uint8_t page_rights(const struct view *view, uint64_t linear)
{
    uint64_t at = linear - view->c->arena;

    return at < ARENA_BYTES ? arena_rights[at / PAGE_BYTES] : 0;
}

static bool locate(void *owner, struct emu_span *span, struct emu_fault *fault)
{
    struct view *view = owner;
    uint64_t left = PAGE_BYTES - (span->linear & PAGE_MASK);

    if (span->bytes == 0 || span->bytes > EMU_MAX_BYTES || span->access == 0)
        complain(view, "a span without bytes or access, or with too many");
    span->first_bytes = (uint8_t)MIN(left, span->bytes);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t linear = span->linear + (i ? span->first_bytes : 0), at = linear - view->c->arena;
        uint8_t rights = page_rights(view, linear);

        if (i == 1 && span->first_bytes == span->bytes)
            break;
        if (span->access & ~rights) {
            *fault = (struct emu_fault){.vector = VECTOR_PF, .has_error = true, .address = linear};
            fault->error = (rights != 0 ? 1u : 0) | (span->access & INSN_WRITES ? 2u : 0) |
                           (view->c->cpl == 3 ? 4u : 0);
            return false;
        }
        span->rights[i] = view->rights[at / PAGE_BYTES];
        span->gpa[i] = GPA(GPA_BASE + at);
    }
    view->located[view->located_count++ % ARRAY_COUNT(view->located)] = *span;
    return true;
}

static bool was_located(const struct view *view, const struct emu_span *span, unsigned access)
{
    for (unsigned i = 0; i < ARRAY_COUNT(view->located); i++) {
        const struct emu_span *seen = &view->located[i];

        if (seen->linear == span->linear && seen->bytes == span->bytes && (seen->access & access))
            return true;
    }
    return false;
}

static uint8_t *bytes_of(struct view *view, const struct emu_span *span, unsigned access)
{
    uint64_t at = span->linear - view->c->arena;

    view->touched++;
    if (!was_located(view, span, access) || at > ARENA_BYTES - EMU_MAX_BYTES) {
        complain(view, "an access to what was not located for it");
        return NULL;
    }
    if ((view->c->locked || view->c->form->op == INSN_XCHG) && view->held == 0)
        complain(view, "a locked instruction's access outside its lock");
    return view->out->memory + at;
}

static void read_memory(void *owner, const struct emu_span *span, void *to)
{
    uint8_t *from = bytes_of(owner, span, INSN_READS);

    if (from != NULL)
        memcpy(to, from, span->bytes);
    else
        memset(to, 0xff, span->bytes);
}

static void write_memory(void *owner, const struct emu_span *span, const void *from)
{
    uint8_t *to = bytes_of(owner, span, INSN_WRITES);

    if (to != NULL)
        memcpy(to, from, span->bytes);
}

static void lock(void *owner)
{
    struct view *view = owner;

    if (view->held++ != 0)
        complain(view, "locked twice");
}

static void unlock(void *owner)
{
    struct view *view = owner;

    if (view->held-- != 1)
        complain(view, "unlocked without a lock");
}

static void vector_get(void *owner, unsigned reg, unsigned bytes, void *to)
{
    struct view *view = owner;

    if (reg > 15 || (bytes != 16 && bytes != 32))
        complain(view, "no such vector register");
    else
        memcpy(to, view->out->vector[reg], bytes);
}

static void vector_set(void *owner, unsigned reg, unsigned bytes, bool zero, const void *from)
{
    struct view *view = owner;

    if (reg > 15 || (bytes != 16 && bytes != 32)) {
        complain(view, "no such vector register");
        return;
    }
    memcpy(view->out->vector[reg], from, bytes);
    if (zero && bytes == 16)
        memset(view->out->vector[reg] + 16, 0, 16);
}

static const struct emu_memory memory = {
    .locate = locate,
    .read = read_memory,
    .write = write_memory,
    .lock = lock,
    .unlock = unlock,
    .vector_get = vector_get,
    .vector_set = vector_set,
};

/* ---- decoding ---- */

static const char *decode(const struct diff_case *c, struct insn *insn)
{
    bool locked = c->locked || c->form->op == INSN_XCHG;

    memset(insn, 0, sizeof(*insn));
    if (insn_decode(c->code, c->length, c->mode, insn) != INSN_OK)
        return "not decoded";
    if (insn->length != c->length)
        return "decoded to another length";
    if (insn->op == INSN_OTHER)
        return NULL;
    if (insn->op != c->form->op)
        return "decoded to another operation";
    if (insn->bytes != c->memory_bytes)
        return "decoded to another width";
    if (insn->addr_bytes != c->addr_bytes)
        return "decoded to another address width";
    if (insn->locked != locked)
        return "LOCK decoded wrongly";
    if (insn->repeat != c->repeat)
        return "REP decoded wrongly";
    return NULL;
}

/* ---- running ---- */

static void set_up(struct view *view, struct emu_cpu *cpu)
{
    const struct diff_case *c = view->c;
    struct diff_outcome *out = view->out;

    memcpy(out->gpr, c->gpr, sizeof(out->gpr));
    memcpy(out->vector, c->vector, sizeof(out->vector));
    memcpy(out->memory, c->memory, sizeof(out->memory));
    *cpu = (struct emu_cpu){.gpr = out->gpr,
                            .rip = c->rip,
                            .rflags = c->rflags,
                            .cr0 = CR0_PE | CR0_MP | CR0_NE | CR0_WP,
                            .cr4 = CR4_OSFXSR | CR4_OSXSAVE,
                            .xcr0 = 7,
                            .mode = c->mode,
                            .cpl = c->cpl};
    if (c->cpl == 3)
        cpu->cr0 |= CR0_AM;
    if (c->real)
        cpu->cr0 &= ~CR0_PE;
    memcpy(cpu->seg, c->seg, sizeof(cpu->seg));
}

/* Nothing may have happened before a retry. */
static void check_retry(struct view *view, const struct emu_cpu *cpu,
                        const struct diff_outcome *before, uint64_t rflags_before,
                        unsigned touched_before)
{
    view->run->retries++;
    if (memcmp(before->gpr, view->out->gpr, sizeof(before->gpr)) != 0 ||
        cpu->rflags != rflags_before || view->touched != touched_before)
        complain(view, "something was done before EMU_RETRY");
    for (unsigned i = 0; i < MIN(view->located_count, ARRAY_COUNT(view->located)); i++) {
        const struct emu_span *span = &view->located[i];

        if (span->access & ~span->rights[0] ||
            (span->first_bytes < span->bytes && (span->access & ~span->rights[1])))
            complain(view, "EMU_RETRY though a page traps");
    }
}

static void pick_pages(struct view *view, enum emu_pages pages)
{
    uint32_t bits = (uint32_t)view->c->number * 0x9e3779b1u; /* not from the generator's sequence */

    for (unsigned i = 0; i < ARENA_PAGES; i++) {
        unsigned direct = pages == EMU_DIRECT  ? 3
                          : pages == EMU_MIXED ? bits >> (16 + 2 * i) & 3
                                               : 0;

        view->rights[i] = (uint8_t)(direct & arena_rights[i]);
    }
}

static enum emu_result steps(struct view *view, enum emu_pages pages, struct emu_cpu *cpu,
                             struct emu_fault *fault)
{
    static struct diff_outcome before;
    unsigned most = 1 + (unsigned)(view->c->number % MAX_ITERATIONS);
    enum emu_result result;

    do {
        uint64_t rflags = cpu->rflags;
        unsigned touched = view->touched;

        memcpy(before.gpr, view->out->gpr, sizeof(before.gpr));
        view->located_count = 0;
        result = emulate(&view->run->insn, cpu, most, &memory, view, fault);
        if (view->held != 0)
            complain(view, "a lock is left held");
        if (result == EMU_RETRY) {
            check_retry(view, cpu, &before, rflags, touched);
            if (pages == EMU_MIXED && view->run->complaint == NULL) {
                memset(view->rights, 0, sizeof(view->rights));
                result = EMU_AGAIN;
            }
        } else if (result == EMU_AGAIN && view->run->insn.repeat == INSN_ONCE) {
            complain(view, "EMU_AGAIN without REP");
        }
    } while (result == EMU_AGAIN && view->run->complaint == NULL);
    return result;
}

void emu_run(const struct diff_case *c, enum emu_pages pages, struct emu_run *run,
             struct diff_outcome *out)
{
    struct view view = {.c = c, .out = out, .run = run};
    struct emu_fault fault = {0};
    struct emu_cpu cpu;
    enum emu_result result;

    *run = (struct emu_run){.emulated = true};
    run->complaint = decode(c, &run->insn);
    if (run->complaint != NULL)
        return;
    set_up(&view, &cpu);
    pick_pages(&view, pages);
    result = steps(&view, pages, &cpu, &fault);
    out->rflags = cpu.rflags;
    out->fault = NO_FAULT;
    out->rip = c->rip + c->length;
    out->error = 0;
    if (result == EMU_UNSUPPORTED) {
        run->emulated = false;
    } else if (result == EMU_FAULT) {
        out->fault = fault.vector;
        out->error = fault.error;
        out->address = fault.address;
        out->rip = c->rip;
        if (fault.has_error !=
            (fault.vector == VECTOR_PF ||
             (!c->real && fault.vector != VECTOR_UD && fault.vector != VECTOR_NM)))
            complain(&view, "an error code too much or too little");
    } else if (result == EMU_RETRY && pages == EMU_TRAPPED) {
        complain(&view, "EMU_RETRY though everything traps");
    }
}
