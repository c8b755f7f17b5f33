/*
 * The long way of a trapped access: any instruction, any mode, operands anywhere. What instructions do is
 * hv/mmio/emulate.c's; here is where their bytes and operands are.
 *
 *   fetch, decode --> emulate() --locate--> guest's tables, rights, leaves
 *                               --read----> pieces to RAM, direct pages, devices or nobody
 *                               --write---> a doorbell, or likewise
 */
#include "hv/vm/usual.h"

#include "hv/base/bits.h"
#include "hv/base/string.h"
#include "hv/mmio/emulate.h"
#include "hv/vm/backend.h"
#include "hv/vm/walk.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"
#include "hv/x86/vector.h"

/* Iterations of a string instruction between two looks at what else is to do. */
#define MOST_ITERATIONS 256u

/* One trapped instruction. */
struct access {
    struct vp *vp;
    const struct hv_exit *exit;
    struct vp_state state;
    struct guest_paging paging;
    enum insn_mode mode;
    unsigned cpl;
    struct insn insn;
    bool is_known; /* by a place; then the bytes below are not filled */
    uint8_t bytes[INSN_MAX_BYTES];
    unsigned have;
    struct emu_fault fault; /* why there are no more bytes, or what emulate() found */
};

/* ---- the instruction's bytes ---- */

static struct guest_access access_by(const struct access *a, uint8_t access)
{
    return (struct guest_access){
        .access = access, .user = a->cpl == 3, .smap_off = (a->state.rflags & RFLAGS_AC) != 0};
}

static bool translate(const struct access *a, uint64_t linear, uint8_t access, gpa_t *gpa,
                      struct emu_fault *fault)
{
    const struct guest_access how = access_by(a, access);

    if (guest_translate(a->vp->vm, &a->paging, &how, GVA(linear), gpa, &fault->error))
        return true;
    fault->vector = VECTOR_PF;
    fault->has_error = true;
    fault->address = linear;
    return false;
}

/* Behind a part of a span. */
static uint64_t beyond(const struct access *a, uint64_t linear, unsigned bytes)
{
    return a->mode == INSN_64 ? linear + bytes : (uint32_t)(linear + bytes);
}

/* What the CPU says about code that is out of its segment, or too long. In real mode there is no error code. */
static struct emu_fault protection_fault(const struct access *a)
{
    return (struct emu_fault){.vector = VECTOR_GP, .has_error = (a->state.cr0 & CR0_PE) != 0};
}

/*
 * Copy the instruction's bytes, once: another VP may change them. Fewer than 15 where a page, or the segment, ends; then
 * a->fault says what the CPU would say about the next byte.
 */
static void fetch(struct access *a)
{
    const struct hv_exit_memory *m = &a->exit->memory;
    const struct vp_segment *cs = &a->state.seg[INSN_CS];
    uint64_t rip = a->exit->rip, most = INSN_MAX_BYTES;

    a->have = 0;
    if (m->code != NULL && m->code_given == INSN_MAX_BYTES) { /* fewer may be the page's end */
        memcpy(a->bytes, m->code, INSN_MAX_BYTES);
        a->have = INSN_MAX_BYTES;
        return;
    }
    a->fault = protection_fault(a);
    if (a->mode != INSN_64) {
        most = rip <= cs->limit ? MIN(most, cs->limit - rip + 1) : 0;
        rip = vp_code_address(&a->state);
    }
    while (a->have < most) {
        unsigned part = (unsigned)MIN(most - a->have, PAGE_BYTES - (rip & PAGE_MASK));
        gpa_t gpa;

        if (a->mode == INSN_64 && !is_canonical(rip))
            return;
        if (!translate(a, rip, HV_ACCESS_FETCH, &gpa, &a->fault))
            return;
        if (!guest_physical_read(a->vp->vm, gpa, a->bytes + a->have, part))
            return; /* it ran from there a moment ago */
        a->have += part;
        rip = beyond(a, rip, part);
    }
}

/* ---- memory: struct emu_memory ---- */

/* What of an access to a page goes to memory, without a device. Guest RAM is direct for everything. */
static uint8_t direct_rights(const struct vm *vm, gpa_t gpa)
{
    struct pt_leaf leaf;

    if (vm_ram_pointer(vm, gpa, 1))
        return INSN_READS | INSN_WRITES;
    if (!vm_leaf_lookup(vm, gpa, &leaf) || !(leaf.attr.rights & PT_R))
        return 0;
    return leaf.attr.rights & PT_W ? INSN_READS | INSN_WRITES : INSN_READS;
}

/* Sources and destinations are kept apart: a string instruction has both, and neither may push the other out. */
static struct vp_page *operand_page(const struct access *a, uint64_t linear, bool written)
{
    const unsigned half = VP_PAGES / 2;

    return &a->vp->operand[(linear >> PAGE_SHIFT ^ linear >> 20) % half + (written ? half : 0)];
}

/* As translate(), for a page that has been walked before and whose tables still say the same. */
static bool translate_again(const struct access *a, uint64_t linear, uint8_t access, gpa_t *gpa,
                            struct emu_fault *fault)
{
    struct vp_page *page = operand_page(a, linear, access == HV_ACCESS_WRITE);
    struct guest_access how;
    struct guest_walk walk;

    if (!(a->state.efer & EFER_LMA))
        return translate(a, linear, access, gpa, fault);
    if (vp_page_holds(page, a->state.cr3, linear)) {
        how = access_by(a, access);
        walk = (struct guest_walk){.level = 1, .writable = page->writable, .user = page->user};
        *gpa = GPA(page->gpa | (linear & PAGE_MASK));
        if (LIKELY(guest_allows(&a->paging, &how, &walk)))
            return true;
    }
    if (!translate(a, linear, access, gpa, fault))
        return false;
    (void)vp_operand_learn(a->vp, a->state.cr3, linear, page);
    return true;
}

static bool locate(void *owner, struct emu_span *span, struct emu_fault *fault)
{
    const struct access *a = owner;
    const uint8_t access = span->access & INSN_WRITES ? HV_ACCESS_WRITE : HV_ACCESS_READ;
    uint64_t linear = span->linear;

    span->first_bytes = (uint8_t)MIN(span->bytes, PAGE_BYTES - (linear & PAGE_MASK));
    for (unsigned page = 0; page < (span->first_bytes < span->bytes ? 2u : 1u); page++) {
        if (!translate_again(a, linear, access, &span->gpa[page], fault))
            return false;
        span->rights[page] = direct_rights(a->vp->vm, span->gpa[page]);
        linear = beyond(a, linear, span->first_bytes);
    }
    return true;
}

static void log_unclaimed(struct vm *vm, gpa_t gpa, unsigned bytes, bool write)
{
    vm->stats.unclaimed++;
    if (log_limit_pass(&vm->unclaimed_log))
        log_line("vm", "%s of %u bytes at %#llx: neither RAM nor device", write ? "write" : "read",
                 bytes, (unsigned long long)gpa.v);
}

/* The region of a piece, and how long the piece is: naturally aligned, at most 8 bytes but where a device wants more. */
static const struct mmio_handler *find_device(struct vp *vp, gpa_t gpa, unsigned left,
                                              unsigned *bytes, uint64_t *offset)
{
    struct mmio_map *map = &vp->vm->regions;
    unsigned region = mmio_region_find(map, gpa, &vp->last_region);
    const struct mmio_handler *handler = NULL;

    *bytes = mmio_piece_bytes(gpa.v, left, 8);
    if (region != MMIO_NONE) {
        handler = &map->handler[region];
        *offset = gpa.v - map->key[region].start;
        if (UNLIKELY(handler->wide_bytes != 0)) /* more, perhaps, than the whole region has */
            *bytes = mmio_piece_bytes(gpa.v, (unsigned)MIN(left, map->key[region].bytes - *offset),
                                      handler->wide_bytes);
    }
    return handler;
}

/* Both return the bytes that the piece had. */
static unsigned read_piece(struct vp *vp, gpa_t gpa, unsigned left, void *to)
{
    unsigned bytes;
    uint64_t offset, value = ~0ull;
    const struct mmio_handler *handler = find_device(vp, gpa, left, &bytes, &offset);

    if (!handler)
        log_unclaimed(vp->vm, gpa, bytes, false);
    else
        vp->vm->stats.trapped_reads++;
    if (bytes > sizeof(value)) {
        handler->read_wide(handler->owner, offset, bytes, to);
        return bytes;
    }
    if (handler)
        value = handler->read(handler->owner, offset, bytes);
    memcpy(to, &value, bytes);
    return bytes;
}

static unsigned write_piece(struct vp *vp, gpa_t gpa, unsigned left, bool whole, const void *from)
{
    unsigned bytes;
    uint64_t offset, value = 0;
    const struct mmio_handler *handler = find_device(vp, gpa, left, &bytes, &offset);

    if (!handler) {
        log_unclaimed(vp->vm, gpa, bytes, true);
        return bytes;
    }
    vp->vm->stats.trapped_writes++;
    if (bytes > sizeof(value)) {
        handler->write_wide(handler->owner, offset, bytes, from);
        return bytes;
    }
    memcpy(&value, from, bytes);
    if (whole && bytes == left)
        handler->write_whole(handler->owner, offset, bytes, value);
    else
        handler->write(handler->owner, offset, bytes, value);
    return bytes;
}

/* Accessed and dirty bits, unless the tables had them when they were last looked at. */
static void mark_page(const struct access *a, const struct emu_span *span, uint64_t linear,
                      bool write)
{
    const struct vp_page *page = operand_page(a, linear, (span->access & INSN_WRITES) != 0);

    if (!vp_page_holds(page, a->state.cr3, linear) || !page->accessed || (write && !page->dirty))
        guest_walk_mark(a->vp->vm, &a->paging, GVA(linear), write);
}

static void mark(const struct access *a, const struct emu_span *span, bool write)
{
    mark_page(a, span, span->linear, write);
    if (span->first_bytes < span->bytes)
        mark_page(a, span, beyond(a, span->linear, span->first_bytes), write);
}

/* The part of a span that lies in one page: where, how long, and where in the buffer. */
struct part {
    gpa_t gpa;
    unsigned bytes, at;
    bool direct;
};

static struct part part_of(const struct emu_span *span, unsigned page, uint8_t right)
{
    return (struct part){.gpa = span->gpa[page],
                         .bytes =
                             page ? (unsigned)(span->bytes - span->first_bytes) : span->first_bytes,
                         .at = page ? span->first_bytes : 0,
                         .direct = (span->rights[page] & right) != 0};
}

static void read_span(void *owner, const struct emu_span *span, void *to)
{
    const struct access *a = owner;
    uint8_t *buffer = to;

    mark(a, span, false);
    for (unsigned page = 0; page < 2; page++) {
        const struct part part = part_of(span, page, INSN_READS);

        if (part.bytes == 0 ||
            (part.direct && guest_physical_read(a->vp->vm, part.gpa, buffer + part.at, part.bytes)))
            continue;
        for (unsigned done = 0; done < part.bytes;)
            done += read_piece(a->vp, GPA(part.gpa.v + done), part.bytes - done,
                               buffer + part.at + done);
    }
}

static void write_span(void *owner, const struct emu_span *span, const void *from)
{
    const struct access *a = owner;
    const uint8_t *buffer = from;

    mark(a, span, true);
    for (unsigned page = 0; page < 2; page++) {
        const struct part part = part_of(span, page, INSN_WRITES);

        if (part.bytes == 0 || (part.direct && guest_physical_write(a->vp->vm, part.gpa,
                                                                    buffer + part.at, part.bytes)))
            continue;
        for (unsigned done = 0; done < part.bytes;)
            done += write_piece(a->vp, GPA(part.gpa.v + done), part.bytes - done,
                                done == 0 && part.bytes == span->bytes, buffer + part.at + done);
    }
}

static void lock_bus(void *owner)
{
    lock_acquire(&((const struct access *)owner)->vp->vm->bus_lock);
}

static void unlock_bus(void *owner)
{
    lock_release(&((const struct access *)owner)->vp->vm->bus_lock);
}

static void get_vector(void *owner, unsigned reg, unsigned bytes, void *to)
{
    (void)owner;
    vector_get(reg, bytes, to);
}

static void set_vector(void *owner, unsigned reg, unsigned bytes, bool zero, const void *from)
{
    (void)owner;
    vector_set(reg, bytes, zero, from);
}

static const struct emu_memory memory = {.locate = locate,
                                         .read = read_span,
                                         .write = write_span,
                                         .lock = lock_bus,
                                         .unlock = unlock_bus,
                                         .vector_get = get_vector,
                                         .vector_set = set_vector};

/* ---- the instruction ---- */

static enum hv_resume unsupported(const struct access *a)
{
    struct vm *vm = a->vp->vm;
    char text[INSN_MAX_BYTES * 3 + 1] = "";

    vm->stats.unsupported++;
    if (log_limit_pass(&vm->unsupported_log)) {
        for (unsigned i = 0; i < a->have; i++)
            format(text + i * 3, 4, " %02x", a->bytes[i]);
        log_line("vm", "instruction at %#llx on trapped memory is not emulated: #UD; bytes%s",
                 (unsigned long long)a->exit->rip, text);
    }
    vp_inject(a->vp, VECTOR_UD, false, 0);
    return HV_RESUME;
}

static enum hv_resume inject(const struct access *a)
{
    const struct emu_fault *fault = &a->fault;

    if (fault->vector == VECTOR_PF)
        vp_inject_page_fault(a->vp, GVA(fault->address), fault->error);
    else
        vp_inject(a->vp, fault->vector, fault->has_error, fault->error);
    return HV_RESUME;
}

/* Can the short way carry it out? */
static bool is_usual(const struct insn *insn)
{
    return insn->op == INSN_MOV && insn->addr_bytes == 8 && insn->segment < INSN_FS &&
           insn->base != GPR_RSP && insn->reg != GPR_RSP;
}

static enum vp_place_kind kind_of(const struct insn *insn)
{
    if (!insn->to_reg)
        return PLACE_STORE;
    return insn->reg_bytes >= 4 && !insn->sign_extend ? PLACE_LOAD : PLACE_LOAD_NARROW;
}

/*
 * An instruction that only the long way carries out is kept too, under a RIP that the short way does not find there: code that
 * has it would look at another place.
 */
static uint64_t unusual(uint64_t rip)
{
    return ~rip;
}

/* Is it one of a place that still holds? Then neither its fetch nor its decoding can come out otherwise. */
static bool know_place(struct access *a)
{
    const struct vp_place *place = vp_place_of(a->vp, a->exit->rip);

    if (a->mode != INSN_64 || a->exit->memory.code != NULL ||
        (place->rip != a->exit->rip && place->rip != unusual(a->exit->rip)) ||
        !guest_trail_holds(&place->trail, a->state.cr3) || !vp_place_holds(place, place->code))
        return false;
    a->insn = place->insn;
    a->have = 0;
    return true;
}

/*
 * The instruction has just been fetched with all checks, and carried out: from now on its bytes, and the tables, are
 * only compared.
 */
static void learn_place(const struct access *a)
{
    struct vp *vp = a->vp;
    const struct insn *insn = &a->insn;
    const uint64_t rip = a->exit->rip;
    struct vp_place *place = vp_place_of(vp, rip);
    gpa_t gpa;

    if (a->is_known || a->mode != INSN_64 || (rip & PAGE_MASK) > PAGE_BYTES - INSN_MAX_BYTES)
        return;
    place->trail.cr3 = GUEST_NO_TRAIL;
    if (!guest_trail_learn(vp->vm, a->state.cr3, rip, &place->trail, &gpa))
        return;
    place->code = vm_ram_pointer(vp->vm, gpa, INSN_MAX_BYTES);
    if (place->code == NULL)
        place->trail.cr3 = GUEST_NO_TRAIL;
    place->rip = is_usual(insn) ? rip : unusual(rip);
    memcpy(&place->bytes[0], a->bytes, sizeof(place->bytes[0]));
    memcpy(&place->bytes[1], a->bytes + VP_PLACE_SECOND, sizeof(place->bytes[1]));
    place->insn = *insn;
    place->disp = (uint64_t)insn->disp + (insn->rip_relative ? rip + insn->length : 0);
    place->mask = insn->has_imm ? 0 : ones_of(insn->bytes);
    place->imm = insn->has_imm ? insn->imm & ones_of(insn->bytes) : 0;
    place->base = insn->base;
    place->index = insn->index;
    place->reg = insn->has_imm ? GPR_RAX : insn->reg;
    place->shift = insn->high_byte ? 8 : 0;
    place->not_needed = (uint8_t)~insn->access;
    place->unaligned = (uint8_t)(insn->bytes - 1);
    place->kind = (uint8_t)kind_of(insn);
}

static void fill_cpu(const struct access *a, struct emu_cpu *cpu)
{
    const struct vp_state *state = &a->state;

    hv_backend->load_rsp(a->vp);
    *cpu = (struct emu_cpu){.gpr = a->vp->gpr,
                            .rip = a->exit->rip,
                            .rflags = state->rflags,
                            .cr0 = state->cr0,
                            .cr4 = state->cr4,
                            .xcr0 = a->state.cr4 & CR4_OSXSAVE ? xgetbv(0) : 0,
                            .mode = (uint8_t)a->mode,
                            .cpl = (uint8_t)a->cpl};
    for (unsigned i = 0; i < ARRAY_COUNT(cpu->seg); i++)
        cpu->seg[i] = (struct emu_segment){.base = state->seg[i].base,
                                           .limit = state->seg[i].limit,
                                           .attributes = state->seg[i].attributes};
}

/* Carry it out, and put back what it changed. */
static enum hv_resume carry_out(struct access *a, struct hv_exit *exit)
{
    struct vp *vp = a->vp;
    const bool stepping = (a->state.rflags & RFLAGS_TF) != 0;
    struct emu_cpu cpu;
    uint64_t rsp;
    enum emu_result result;

    fill_cpu(a, &cpu);
    rsp = vp->gpr[GPR_RSP];
    result = emulate(&a->insn, &cpu, stepping ? 1 : MOST_ITERATIONS, &memory, a, &a->fault);
    if (vp->gpr[GPR_RSP] != rsp)
        hv_backend->store_rsp(vp);
    if (cpu.rflags != a->state.rflags)
        hv_backend->set_rflags(vp, cpu.rflags);
    switch (result) {
    case EMU_DONE:
        learn_place(a);
        exit->length = a->insn.length;
        return HV_ADVANCE;
    case EMU_AGAIN:
        learn_place(a);
        if (stepping) /* a repeated string instruction traps after each iteration */
            vp_inject_debug(vp, DR6_BS);
        return HV_RESUME;
    case EMU_RETRY:
        vp->vm->stats.spurious++;
        return HV_RESUME;
    case EMU_FAULT:
        return inject(a);
    case EMU_UNSUPPORTED:
    default:
        return unsupported(a);
    }
}

enum hv_resume vp_emulate(struct vp *vp, struct hv_exit *exit)
{
    struct access a;

    a.vp = vp;
    a.exit = exit;
    hv_backend->state_get(vp, &a.state);
    a.paging = vp_paging(&a.state);
    a.mode = vp_code_mode(&a.state);
    a.cpl = vp_cpl(&a.state);
    a.is_known = know_place(&a);
    if (a.is_known)
        return carry_out(&a, exit);
    fetch(&a);
    switch (insn_decode(a.bytes, a.have, a.mode, &a.insn)) {
    case INSN_OK:
        return carry_out(&a, exit);
    case INSN_SHORT:
        /*
         * The guest took the code's translation away and the CPU still has it. Resuming would fault here for
         * ever; the guest is told now what an INVLPG would have told it.
         */
        return inject(&a);
    case INSN_TOO_LONG:
        a.fault = protection_fault(&a);
        return inject(&a);
    case INSN_UNDEFINED:
    default:
        return unsupported(&a);
    }
}
