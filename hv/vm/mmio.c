/*
 * Second-level faults: a trapped access is fetched, decoded and carried out in pieces.
 *
 *   fault --> allowed by now? --> may it be emulated? --> fetch, decode
 *                (resume)            (VM event)               |
 *         pieces of 1, 2, 4, 8 bytes, each to RAM, a direct page, a device or nobody
 */
#include "hv/vm/vp.h"

#include "hv/base/assert.h"
#include "hv/base/string.h"
#include "hv/mmio/insn.h"
#include "hv/vm/backend.h"
#include "hv/vm/walk.h"
#include "hv/x86/regs.h"

/* One trapped instruction. */
struct access {
    struct vp *vp;
    const struct hv_exit *exit;
    struct guest_paging paging;
    struct insn insn;
    uint64_t linear;      /* of the memory operand */
    gpa_t gpa[2];         /* of its first byte, and of the next page when it crosses */
    bool direct[2];       /* the page takes this access without a device */
    unsigned first_bytes; /* in the first page */
};

static enum hv_resume stop(struct vp *vp, const struct hv_exit *exit, enum vm_stop_cause cause)
{
    vm_stop(vp->vm, exit, cause);
    return HV_STOP;
}

/*
 * Copy the instruction's bytes through the guest's tables, once: another VP may change them. Fewer than asked
 * when a page does not translate.
 */
static unsigned fetch(const struct access *a, uint8_t bytes[INSN_MAX_BYTES])
{
    const struct hv_exit_memory *m = &a->exit->memory;
    uint64_t rip = a->exit->rip;
    unsigned have = 0;

    if (m->code != NULL &&
        m->code_given == INSN_MAX_BYTES) { /* fewer may be the page's end, or not all */
        memcpy(bytes, m->code, INSN_MAX_BYTES);
        return INSN_MAX_BYTES;
    }

    while (have < INSN_MAX_BYTES) {
        struct guest_walk walk;
        unsigned part = (unsigned)MIN(INSN_MAX_BYTES - have, PAGE_BYTES - (rip & PAGE_MASK));

        if (guest_walk(a->vp->vm, &a->paging, GVA(rip), &walk) != WALK_OK ||
            !guest_physical_read(a->vp->vm, walk.gpa, bytes + have, part))
            break;
        have += part;
        rip += part;
    }
    return have;
}

/* FS and GS have bases in 64-bit mode; they are the only cold state that an operand can need. */
static uint64_t segment_base(const struct access *a)
{
    struct vp_state state;

    if (LIKELY(a->insn.segment != INSN_FS && a->insn.segment != INSN_GS))
        return 0;
    hv_backend->state_get(a->vp, &state);
    return state.seg[a->insn.segment].base;
}

/* #PF of the page at `linear`: the CPU reports the page that trapped first and never gets to this one. */
static void page_fault(const struct access *a, uint64_t linear, enum walk_result result,
                       uint32_t error)
{
    struct vp_state state;

    hv_backend->state_get(a->vp, &state);
    error |= result == WALK_NOT_PRESENT ? 0 : PF_PRESENT;
    error |= result == WALK_RESERVED ? PF_RESERVED : 0;
    error |= vp_cpl(&state) == 3 ? PF_USER : 0;
    vp_inject_page_fault(a->vp, GVA(linear), error);
}

/* Whether the guest's own tables let this access through. (Only the page that did not fault is checked so.) */
static bool guest_allows(const struct access *a, const struct guest_walk *walk, bool write)
{
    struct vp_state state;
    bool user;

    hv_backend->state_get(a->vp, &state);
    user = vp_cpl(&state) == 3;
    if (user ? !walk->user : walk->user && (state.cr4 & CR4_SMAP) && !(state.rflags & RFLAGS_AC))
        return false;
    return !write || walk->writable || (!user && !(state.cr0 & CR0_WP));
}

/*
 * Where the operand's bytes are. The fault names only the page that faulted: an access that crosses a page is
 * translated here, both pages before the first side effect. False: #PF was queued.
 */
static bool locate(struct access *a)
{
    const struct hv_exit_memory *m = &a->exit->memory;
    bool write = a->insn.op != INSN_LOAD;
    struct guest_walk walk;

    a->linear = insn_address(&a->insn, a->vp->gpr, a->exit->rip, segment_base(a));
    a->first_bytes = (unsigned)MIN(a->insn.bytes, PAGE_BYTES - (a->linear & PAGE_MASK));
    if (LIKELY(a->first_bytes == a->insn.bytes)) {
        a->gpa[0] = GPA((m->gpa.v & ~PAGE_MASK) | (a->linear & PAGE_MASK));
        a->direct[0] = false; /* or there would have been no fault */
        return true;
    }
    for (unsigned page = 0; page < 2; page++) {
        uint64_t linear = page == 0 ? a->linear : a->linear + a->first_bytes;
        enum walk_result result = guest_walk(a->vp->vm, &a->paging, GVA(linear), &walk);

        if (result != WALK_OK || !guest_allows(a, &walk, write)) {
            page_fault(a, linear, result, write ? PF_WRITE : 0);
            return false;
        }
        a->gpa[page] = walk.gpa;
        a->direct[page] = vm_leaf_allows(a->vp->vm, walk.gpa, write ? PT_R | PT_W : PT_R);
    }
    for (unsigned page = 0; page < 2; page++)
        guest_walk_mark(a->vp->vm, &a->paging, GVA(a->linear + page * a->first_bytes), write);
    return true;
}

static void log_unclaimed(struct vm *vm, gpa_t gpa, unsigned bytes, bool write)
{
    vm->stats.unclaimed++;
    if (log_limit_pass(&vm->unclaimed_log))
        log_line("vm", "%s of %u bytes at %#llx: neither RAM nor device", write ? "write" : "read",
                 bytes, (unsigned long long)gpa.v);
}

static uint64_t piece_read(struct vp *vp, gpa_t gpa, unsigned bytes, bool direct)
{
    struct vm *vm = vp->vm;
    uint64_t value = 0;
    unsigned region;

    if (direct && guest_physical_read(vm, gpa, &value, bytes))
        return value;
    region = mmio_region_find(&vm->regions, gpa, &vp->last_region);
    if (UNLIKELY(region == MMIO_NONE)) {
        log_unclaimed(vm, gpa, bytes, false);
        return ones_of(bytes);
    }
    vm->stats.trapped_reads++;
    return vm->regions.handler[region].read(vm->regions.handler[region].owner,
                                            gpa.v - vm->regions.key[region].start, bytes);
}

static void piece_write(struct vp *vp, gpa_t gpa, unsigned bytes, bool direct, uint64_t value)
{
    struct vm *vm = vp->vm;
    unsigned region;

    if (direct && guest_physical_write(vm, gpa, &value, bytes))
        return;
    region = mmio_region_find(&vm->regions, gpa, &vp->last_region);
    if (UNLIKELY(region == MMIO_NONE)) {
        log_unclaimed(vm, gpa, bytes, true);
        return;
    }
    vm->stats.trapped_writes++;
    vm->regions.handler[region].write(vm->regions.handler[region].owner,
                                      gpa.v - vm->regions.key[region].start, bytes, value);
}

/* Naturally aligned pieces, ascending. */
static uint64_t transfer(const struct access *a, bool write, uint64_t value)
{
    uint64_t result = 0;
    unsigned done = 0;

    ASSERT(a->insn.bytes <= sizeof(value));
    while (done < a->insn.bytes) {
        unsigned page = done >= a->first_bytes;
        unsigned left = page ? a->insn.bytes - done : a->first_bytes - done;
        gpa_t gpa = GPA(a->gpa[page].v + done - (page ? a->first_bytes : 0));
        unsigned bytes = mmio_piece_bytes(gpa.v, left);

        if (write)
            piece_write(a->vp, gpa, bytes, a->direct[page], (value >> (done * 8)) & ones_of(bytes));
        else
            result |= (piece_read(a->vp, gpa, bytes, a->direct[page]) & ones_of(bytes))
                      << (done * 8);
        done += bytes;
    }
    return result;
}

static enum hv_resume unsupported(struct vp *vp, const struct hv_exit *exit, const uint8_t *bytes,
                                  unsigned have)
{
    char text[INSN_MAX_BYTES * 3 + 1] = "";

    vp->vm->stats.unsupported++;
    if (log_limit_pass(&vp->vm->unsupported_log)) {
        for (unsigned i = 0; i < have; i++)
            format(text + i * 3, 4, " %02x", bytes[i]);
        log_line("vm", "instruction at %#llx on trapped memory is not emulated: #UD; bytes%s",
                 (unsigned long long)exit->rip, text);
    }
    vp_inject(vp, VECTOR_UD, false, 0);
    return HV_RESUME;
}

/* RSP as an operand is rare and not saved at exits. */
static inline bool uses_rsp(const struct insn *insn)
{
    return insn->base == GPR_RSP || insn->reg == GPR_RSP;
}

/* The whole way: any address, any place of the code, any number of pieces. */
static __attribute__((noinline)) enum hv_resume emulate_any(struct vp *vp, struct hv_exit *exit)
{
    const struct hv_exit_memory *m = &exit->memory;
    struct access a;
    struct vp_state state;
    uint8_t bytes[INSN_MAX_BYTES];
    enum insn_result result;
    unsigned have;
    bool rsp;

    a.vp = vp;
    a.exit = exit;
    hv_backend->state_get(vp, &state);
    a.paging = (struct guest_paging){state.cr0, m->cr3, m->efer};
    have = fetch(&a, bytes);
    if (UNLIKELY(
            !m->code_64)) /* without paging the bytes are there, with other paging modes they are not */
        return unsupported(vp, exit, bytes, have);
    result = insn_decode(bytes, have, &a.insn);
    if (UNLIKELY(result != INSN_OK)) {
        if (result != INSN_SHORT || have == INSN_MAX_BYTES)
            return unsupported(vp, exit, bytes, have);
        /*
         * The guest took the code's translation away and the CPU still has it. Resuming would fault here for
         * ever; the guest is told now what an INVLPG would have told it.
         */
        page_fault(&a, exit->rip + have, WALK_NOT_PRESENT,
                   (m->efer & EFER_NXE) || (state.cr4 & CR4_SMEP) ? PF_FETCH : 0);
        return HV_RESUME;
    }
    rsp = uses_rsp(&a.insn);
    if (UNLIKELY(rsp))
        hv_backend->load_rsp(vp);
    if (UNLIKELY(!locate(&a)))
        return HV_RESUME;
    if (a.insn.op == INSN_LOAD)
        insn_load_value(&a.insn, vp->gpr, transfer(&a, false, 0));
    else
        transfer(&a, true, insn_store_value(&a.insn, vp->gpr));
    if (UNLIKELY(rsp))
        hv_backend->store_rsp(vp);
    exit->length = a.insn.length;
    return HV_ADVANCE;
}

/*
 * The short way, for nearly every access: 64-bit code in low RAM, no FS, GS or RSP, a naturally aligned operand,
 * which therefore is one piece of one page, and a device that answers. Nothing has happened when it gives up.
 */
static inline bool emulate_usual(struct vp *vp, struct hv_exit *exit)
{
    const struct hv_exit_memory *m = &exit->memory;
    struct vm *vm = vp->vm;
    struct mmio_handler *handler;
    struct insn insn;
    uint64_t fetched[2], linear, offset;
    const uint8_t *code = m->code;
    unsigned have = m->code_given;
    unsigned region;
    gpa_t gpa;

    if (!m->code_64)
        return false;
    if (LIKELY(code == NULL)) {
        if (!guest_fetch_16(vm, m->cr3, exit->rip, fetched))
            return false;
        code = (const uint8_t *)fetched;
        have = INSN_MAX_BYTES;
    }
    if (insn_decode(code, have, &insn) != INSN_OK || uses_rsp(&insn) || insn.segment >= INSN_FS)
        return false;
    linear = insn_address(&insn, vp->gpr, exit->rip, 0);
    gpa = GPA((m->gpa.v & ~PAGE_MASK) | (linear & PAGE_MASK));
    region = mmio_region_find(&vm->regions, gpa, &vp->last_region);
    if ((linear & (insn.bytes - 1u)) || region == MMIO_NONE)
        return false;
    exit->length = insn.length;
    handler = &vm->regions.handler[region];
    offset = gpa.v - vm->regions.key[region].start;
    if (insn.op == INSN_LOAD) {
        vm->stats.trapped_reads++;
        insn_load_value(&insn, vp->gpr, handler->read(handler->owner, offset, insn.bytes));
    } else {
        vm->stats.trapped_writes++;
        handler->write(handler->owner, offset, insn.bytes, insn_store_value(&insn, vp->gpr));
    }
    return true;
}

/* What the leaf allows now: another CPU, or this one's own last call, may have mapped the page meanwhile. */
static bool allowed_now(const struct vm *vm, const struct hv_exit_memory *m)
{
    _Static_assert((int)HV_ACCESS_READ == PT_R && (int)HV_ACCESS_WRITE == PT_W &&
                       (int)HV_ACCESS_FETCH == PT_X,
                   "an access asks for the right of the same number");
    return vm_leaf_allows(vm, m->gpa, m->access);
}

/* Why an access that is not plain cannot be emulated. */
static enum hv_resume not_plain(struct vp *vp, const struct hv_exit *exit)
{
    if (exit->memory.in_delivery)
        return stop(vp, exit, VM_STOP_EVENT_DELIVERY);
    return stop(vp, exit,
                exit->memory.access & HV_ACCESS_FETCH ? VM_STOP_FETCH_VIOLATION
                                                      : VM_STOP_TABLE_WALK);
}

enum hv_resume vp_memory_fault(struct vp *vp, struct hv_exit *exit)
{
    if (UNLIKELY(allowed_now(vp->vm, &exit->memory))) {
        vp->vm->stats.spurious++;
        return HV_RESUME;
    }
    if (UNLIKELY(!exit->memory.plain))
        return not_plain(vp, exit);
    return LIKELY(emulate_usual(vp, exit)) ? HV_ADVANCE : emulate_any(vp, exit);
}
