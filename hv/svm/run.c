/*
 * Raw exits become struct hv_exit here. The VMCB is memory: reading it costs nothing special.
 */
#include "hv/svm/svm.h"

#include "hv/svm/caps.h"
#include "hv/vm/usual.h"
#include "hv/x86/cpu.h"
#include "hv/x86/desc.h"
#include "hv/x86/regs.h"

/* What entry.asm does next. */
enum next { ENTER, LEAVE };

void svm_enter(struct vp *vp);            /* entry.asm: runs until svm_handle_exit() says LEAVE */
enum next svm_handle_exit(struct vp *vp); /* called by entry.asm, GIF is 0 */

/* Exit codes below SVM_EXIT_COUNT that are what their neutral reason says; HV_EXIT_UNKNOWN (0) where not. */
static const uint8_t neutral[SVM_EXIT_COUNT] = {
    [SVM_EXIT_CR_READ... SVM_EXIT_CR_READ + 15] = HV_EXIT_CR,
    [SVM_EXIT_CR_WRITE... SVM_EXIT_CR_WRITE + 15] = HV_EXIT_CR,
    [SVM_EXIT_EXCEPTION... SVM_EXIT_EXCEPTION + 31] = HV_EXIT_EXCEPTION,
    [SVM_EXIT_NMI] = HV_EXIT_NMI, /* our handler took it at the STGI */
    [SVM_EXIT_INTR] = HV_EXIT_INTERRUPT,
    [SVM_EXIT_VINTR] = HV_EXIT_WINDOW,
    [SVM_EXIT_IRET] = HV_EXIT_WINDOW,
    [SVM_EXIT_RDPMC] = HV_EXIT_REFUSED,
    [SVM_EXIT_INVD] = HV_EXIT_CACHE,
    [SVM_EXIT_HLT] = HV_EXIT_HLT,
    [SVM_EXIT_INVLPGA] = HV_EXIT_UNDEFINED,
    [SVM_EXIT_IO] = HV_EXIT_IO,
    [SVM_EXIT_MSR] = HV_EXIT_MSR_READ,
    [SVM_EXIT_FERR] = HV_EXIT_FPU,
    [SVM_EXIT_SHUTDOWN] = HV_EXIT_SHUTDOWN,
    [SVM_EXIT_VMRUN... SVM_EXIT_SKINIT] = HV_EXIT_UNDEFINED,
    [SVM_EXIT_WBINVD] = HV_EXIT_CACHE,
    [SVM_EXIT_MONITOR] = HV_EXIT_UNDEFINED,
    [SVM_EXIT_MWAIT] = HV_EXIT_UNDEFINED,
    [SVM_EXIT_XSETBV] = HV_EXIT_XSETBV,
    [SVM_EXIT_RDPRU] = HV_EXIT_UNDEFINED,
};

/* An exit that came while an event was being delivered: EXITINTINFO has the form of EVENTINJ. */
static bool requeue_delivery(struct vp *vp)
{
    uint64_t info = svm_of(vp)->vmcb->exit_int_info;

    unsigned type = (unsigned)FIELD_GET(EVENT_TYPE, info), vector = (unsigned)(info & EVENT_VECTOR);

    if (!(info & EVENT_VALID))
        return false;
    /* INT n, INT3 and INTO: RIP is still at the instruction, which delivers its event again by itself. */
    if (type == EVENT_TYPE_SOFTWARE ||
        (type == EVENT_TYPE_EXCEPTION && (vector == VECTOR_BP || vector == VECTOR_OF)))
        return true;
    vp->event.kind = VP_EVENT_REINJECT;
    vp->event.raw = (uint32_t)info;
    vp->event.error = (uint32_t)FIELD_GET(EVENT_ERROR, info);
    return true;
}

static unsigned what_it_takes(const struct svm_vp *svm, uint64_t shadow)
{
    unsigned takes = svm->vmcb->cr0 & CR0_PE ? VP_TAKES_ERROR_CODES : 0;

    if (shadow & SHADOW_ON)
        return takes;
    if (svm->vmcb->rflags & RFLAGS_IF)
        takes |= VP_TAKES_INTERRUPT;
    return svm->nmi_blocked ? takes : takes | VP_TAKES_NMI;
}

/* A virtual interrupt that always exits before it is taken tells when one could be. */
static void set_windows(struct svm_vp *svm, unsigned waits)
{
    struct vmcb *vmcb = svm->vmcb;

    vmcb->virtual_interrupt = V_INTR_MASKING;
    vmcb->intercepts1 &= ~(uint32_t)INTERCEPT_VINTR;
    if (waits & VP_TAKES_INTERRUPT) {
        vmcb->virtual_interrupt |= V_IRQ | V_IGN_TPR;
        vmcb->intercepts1 |= (uint32_t)INTERCEPT_VINTR;
    }
    if ((waits & VP_TAKES_NMI) && !svm->nmi_blocked)
        svm_nmi_retry(svm);
}

static void prepare_exception(const struct vp_event *event, struct vmcb *vmcb)
{
    vmcb->interrupt_shadow &= ~SHADOW_ON; /* an exception ends it */
    if (event->vector == VECTOR_PF) {
        vmcb->cr2 = event->address;
        write_cr2(
            event->address); /* Bochs 2.7 saves CR2 to the VMCB and never loads it from there */
    }
    if (event->vector == VECTOR_DB && event->address) {
        vmcb->dr6 |= event->address; /* an injection changes neither */
        vmcb->dr7 &= ~DR7_GD;
    }
}

/* vp->due is not 0. */
static COLD void deliver(struct vp *vp)
{
    struct svm_vp *svm = svm_of(vp);
    struct vmcb *vmcb = svm->vmcb;
    struct vp_delivery d = vp_next_event(vp, what_it_takes(svm, vmcb->interrupt_shadow));

    if (d.info != 0)
        svm_nmi_undo_step(svm);
    if (d.exception)
        prepare_exception(&vp->event, vmcb);
    if (d.nmi)
        svm_nmi_block(svm);
    set_windows(svm, d.waits);
    vmcb->event_injection = d.info | FIELD_PREP(EVENT_ERROR, d.error);
}

static void flush_translations(struct vp *vp, uint64_t generation)
{
    vp->flushed_generation = generation;
    vp->vm->stats.invalidations++;
    svm_of(vp)->vmcb->tlb_control =
        svm_caps.flush_by_asid ? TLB_CONTROL_FLUSH_ASID : TLB_CONTROL_FLUSH_ALL;
}

/* Something has happened to the VM since the last entry: a flush is due, or it is paused. GIF is 0. */
static __attribute__((noinline)) enum next catch_up(struct vp *vp, uint64_t generation)
{
    if (!vm_entry_allowed(vp->vm, generation)) {
        __asm__ volatile("cli; stgi" ::: "memory");
        return LEAVE;
    }
    flush_translations(vp, generation);
    return ENTER;
}

/*
 * "In guest" is published before the generation is read, and vm_flush() bumps the generation before it
 * looks who is in a guest: one of the two sees the other. With GIF 0 a kick waits for VMRUN, and so does an interrupt:
 * IF is 1 for the guest's sake only, entry.asm clears it before GIF is 1 again. No state is declared clean: the CPU
 * reads all of the VMCB.
 */
static inline enum next enter_next(struct vp *vp)
{
    uint64_t generation;

    __asm__ volatile("clgi; sti" ::: "memory");
    if (UNLIKELY(vp->due != 0))
        deliver(vp);
    cpu_publish_in_guest();
    generation = __atomic_load_n(&vp->vm->generation, __ATOMIC_RELAXED);
    if (UNLIKELY(vp->flushed_generation != generation))
        return catch_up(vp, generation);
    return ENTER;
}

/* With the instruction that was stepped over end the interrupt shadow, and a single step. */
static inline void advance(struct vp *vp, struct vmcb *vmcb, uint64_t rip)
{
    vmcb->rip = rip;
    vmcb->interrupt_shadow &= ~SHADOW_ON;
    if (UNLIKELY(vmcb->rflags & (RFLAGS_TF | RFLAGS_RF)))
        vp_step_done(vp, vmcb->rflags);
}

/* Where the next instruction is, on the intercepts for which the CPU saves it or the bytes tell. */
static __attribute__((noinline)) uint64_t next_by_bytes(const struct vp *vp)
{
    /* Without prefixes; for code that cannot be fetched, its tables having changed. */
    static const uint8_t usual[SVM_EXIT_COUNT] = {
        [SVM_EXIT_CPUID] = 2,  [SVM_EXIT_MSR] = 2, [SVM_EXIT_INVD] = 2,
        [SVM_EXIT_WBINVD] = 2, [SVM_EXIT_HLT] = 1, [SVM_EXIT_XSETBV] = 3,
    };
    const struct vmcb *vmcb = svm_of(vp)->vmcb;
    struct svm_insn insn;

    if (!svm_fetch_insn(vp, &insn))
        insn.length = usual[vmcb->exit_code];
    return vmcb->rip + insn.length;
}

static inline uint64_t next_rip(const struct vp *vp)
{
    return LIKELY(svm_caps.next_rip) ? svm_of(vp)->vmcb->next_rip : next_by_bytes(vp);
}

static __attribute__((noinline)) enum next cpuid_exit(struct vp *vp, struct vmcb *vmcb)
{
    (void)vm_exit_cpuid(vp);
    advance(vp, vmcb, next_rip(vp));
    return enter_next(vp);
}

/* Anything but a data access by an instruction to the address itself. */
static __attribute__((noinline)) void fill_memory_rare(struct vp *vp, struct hv_exit *exit)
{
    struct hv_exit_memory *m = &exit->memory;

    if (exit->raw_info & NPF_FETCH)
        m->access = HV_ACCESS_FETCH;
    m->final = (exit->raw_info & (NPF_FINAL | NPF_TABLE)) == NPF_FINAL;
    m->in_delivery = requeue_delivery(vp);
    m->plain = m->final && !m->in_delivery && !(exit->raw_info & NPF_FETCH);
    if (exit->raw_info & NPF_RESERVED)
        exit->reason = HV_EXIT_TABLES;
}

/* Only CPUs with decode assists give the instruction's bytes, and even they may give none. */
static __attribute__((noinline)) void take_given_code(const struct vmcb *vmcb,
                                                      struct hv_exit_memory *m)
{
    m->code_given = vmcb->fetched_bytes & FETCHED_COUNT;
    if (m->code_given)
        m->code = vmcb->fetched;
}

static inline void fill_memory(struct vp *vp, const struct vmcb *vmcb, struct hv_exit *exit)
{
    struct hv_exit_memory *m = &exit->memory;
    uint64_t info = vmcb->exit_info1, efer = vmcb->efer;

    exit->reason = HV_EXIT_MEMORY;
    exit->raw_reason = SVM_EXIT_NPF;
    exit->raw_info = info;
    exit->rip = vmcb->rip;
    m->gpa = GPA(vmcb->exit_info2);
    m->cr3 = vmcb->cr3;
    m->efer = efer;
    m->access = info & NPF_WRITE ? HV_ACCESS_WRITE : HV_ACCESS_READ;
    m->code_64 = svm_is_code_64(vmcb);
    m->code = NULL;
    m->code_given = 0;
    m->plain = true;
    m->final = true;
    m->in_delivery = false;
    m->gla_valid = false; /* the CPU does not tell it */
    if (UNLIKELY(svm_caps.decode_assists))
        take_given_code(vmcb, m);
    info &= NPF_FINAL | NPF_TABLE | NPF_FETCH | NPF_RESERVED;
    if (UNLIKELY((info | (vmcb->exit_int_info & EVENT_VALID)) != NPF_FINAL))
        fill_memory_rare(vp, exit);
}

/* What the short way did not take. */
static COLD enum next long_memory_exit(struct vp *vp)
{
    struct vmcb *vmcb = svm_of(vp)->vmcb;
    struct hv_exit exit;
    enum hv_resume resume;

    fill_memory(vp, vmcb, &exit);
    resume = LIKELY(exit.reason == HV_EXIT_MEMORY) ? vm_exit_memory(vp, &exit) : vm_exit(vp, &exit);
    if (LIKELY(resume == HV_ADVANCE))
        advance(vp, vmcb, hv_exit_memory_next(&exit));
    else if (resume == HV_STOP)
        return LEAVE;
    return enter_next(vp);
}

static __attribute__((noinline)) enum next memory_exit(struct vp *vp)
{
    struct vmcb *vmcb = svm_of(vp)->vmcb;
    uint64_t info = vmcb->exit_info1;
    enum vp_usual taken = USUAL_NOT;
    struct hv_usual usual;
    uint64_t next_rip = 0;

    if (LIKELY(((info & (NPF_FINAL | NPF_TABLE | NPF_FETCH | NPF_RESERVED)) |
                (vmcb->exit_int_info & EVENT_VALID)) == NPF_FINAL)) {
        usual.rip = vmcb->rip;
        usual.cr3 = vmcb->cr3;
        usual.gpa = GPA(vmcb->exit_info2);
        usual.code = NULL;
        if (UNLIKELY(svm_caps.decode_assists &&
                     (vmcb->fetched_bytes & FETCHED_COUNT) == INSN_MAX_BYTES))
            usual.code = vmcb->fetched;
        usual.access = info & NPF_WRITE ? HV_ACCESS_WRITE : HV_ACCESS_READ;
        usual.gla_valid = false; /* the CPU does not tell it */
        usual.code_64 = svm_is_code_64(vmcb);
        taken = vp_access_usual(vp, &usual, &next_rip);
    }
    if (UNLIKELY(taken == USUAL_NOT))
        return long_memory_exit(vp);
    advance(vp, vmcb, next_rip);
    return enter_next(vp);
}

static void fill_io(const struct vmcb *vmcb, struct hv_exit *exit)
{
    exit->io.port = (uint16_t)FIELD_GET(IOIO_PORT, vmcb->exit_info1);
    exit->io.bytes = (uint8_t)FIELD_GET(IOIO_BYTES, vmcb->exit_info1);
    exit->io.in = (vmcb->exit_info1 & IOIO_IN) != 0;
    exit->io.string = (vmcb->exit_info1 & IOIO_STRING) != 0;
}

static void take_cr_value(struct vp *vp, struct hv_exit_cr *cr)
{
    if (cr->gpr == GPR_RSP)
        svm_load_rsp(vp);
    cr->value = vp->gpr[cr->gpr];
    if (cr->lmsw)
        cr->value &= 0xffff;
    else if (!(svm_of(vp)->vmcb->efer & EFER_LMA)) /* MOV CR takes 32 bits outside 64-bit mode */
        cr->value = (uint32_t)cr->value;
}

/* MOV CR, CLTS and LMSW from their bytes. LMSW from memory is not offered: no guest of this century uses it. */
static void fill_cr(struct vp *vp, struct hv_exit *exit)
{
    const uint8_t clts = 0x06, lmsw = 0x01, mod_register = 0xc0, rex_b = 1;
    const uint64_t is_mov =
        BIT(63); /* with decode assists: a MOV CR, whose register is in the low bits */
    struct vmcb *vmcb = svm_of(vp)->vmcb;
    struct hv_exit_cr *cr = &exit->cr;
    struct svm_insn insn;

    /* Bochs 2.7 changes LMA before this exit. The write has not been made: what PG was still holds. */
    vmcb->efer &= ~EFER_LMA;
    if ((vmcb->efer & EFER_LME) && (vmcb->cr0 & CR0_PG))
        vmcb->efer |= EFER_LMA;
    *cr = (struct hv_exit_cr){.number = exit->raw_reason & 15,
                              .write = exit->raw_reason >= SVM_EXIT_CR_WRITE};
    if (svm_caps.decode_assists && (exit->raw_info & is_mov)) {
        cr->gpr = exit->raw_info & 15;
        exit->length = (uint8_t)(vmcb->next_rip - vmcb->rip);
        take_cr_value(vp, cr);
        return;
    }
    if (!svm_fetch_insn(vp, &insn) || (insn.opcode[1] == lmsw && insn.modrm < mod_register)) {
        exit->reason = HV_EXIT_UNDEFINED;
        return;
    }
    exit->length = insn.length;
    cr->clts = insn.opcode[1] == clts;
    cr->lmsw = cr->write && insn.opcode[1] == lmsw; /* 0F 01 without a write is SMSW, a read */
    cr->gpr = (uint8_t)((insn.modrm & 7) | (insn.rex & rex_b ? 8 : 0));
    take_cr_value(vp, cr);
}

static void fill_exception(struct vp *vp, struct hv_exit *exit, bool delivering)
{
    const struct vmcb *vmcb = svm_of(vp)->vmcb;
    const uint32_t have_error = (uint32_t)(BITS(14, 10) | BIT(VECTOR_AC));

    exit->exception.vector = (uint8_t)(exit->raw_reason - SVM_EXIT_EXCEPTION);
    exit->exception.has_error = (BIT(exit->exception.vector & 31) & have_error) != 0;
    exit->exception.error = (uint32_t)vmcb->exit_info1;
    if (svm_nmi_step_done(vp))
        exit->reason = HV_EXIT_WINDOW;
    if (exit->exception.vector == VECTOR_PF) { /* of an IRET: the only one that is intercepted */
        vp_inject_page_fault(vp, GVA(vmcb->exit_info2), exit->exception.error);
        exit->reason = HV_EXIT_TRAP;
    }
    exit->exception.replaces_event = delivering;
    /* The CPU has put #DB's causes into DR6 of the VMCB already: nothing is left to add. */
    exit->raw_info = 0;
}

static void fill_rare(struct vp *vp, struct hv_exit *exit)
{
    const struct vmcb *vmcb = svm_of(vp)->vmcb;
    bool delivering;

    exit->raw_info = vmcb->exit_info1;
    delivering = requeue_delivery(vp); /* an event may come back with any exit */
    if (vmcb->exit_code >= SVM_EXIT_COUNT) {
        exit->reason =
            (uint32_t)vmcb->exit_code == SVM_EXIT_INVALID ? HV_EXIT_FAILURE : HV_EXIT_UNKNOWN;
        return;
    }
    exit->reason = neutral[vmcb->exit_code];
    if (vmcb->exit_code == SVM_EXIT_IRET)
        svm_nmi_iret(svm_of(vp));
    switch (exit->reason) {
    case HV_EXIT_INTERRUPT: /* it still waits: taken between NOP and CLI */
        __asm__ volatile("sti; nop; cli" ::: "memory");
        break;
    case HV_EXIT_HLT: /* the shadow of an STI ends with it */
        exit->halt.takes = (uint8_t)what_it_takes(svm_of(vp), 0);
        exit->halt.stepped = (vmcb->rflags & RFLAGS_TF) != 0;
        break;
    case HV_EXIT_IO:
        fill_io(vmcb, exit);
        break;
    case HV_EXIT_MSR_READ:
        exit->reason = vmcb->exit_info1 & 1 ? HV_EXIT_MSR_WRITE : HV_EXIT_MSR_READ;
        break;
    case HV_EXIT_CR:
        fill_cr(vp, exit);
        break;
    case HV_EXIT_EXCEPTION:
        fill_exception(vp, exit, delivering);
        break;
    default:
        break;
    }
}

/* IN and OUT always tell where they end; MOV CR's length came from its bytes. */
static uint64_t rare_next(const struct vp *vp, const struct hv_exit *exit)
{
    if (exit->reason == HV_EXIT_IO)
        return svm_of(vp)->vmcb->exit_info2;
    return exit->length ? exit->rip + exit->length : next_rip(vp);
}

static __attribute__((noinline)) enum next rare_exit(struct vp *vp, struct vmcb *vmcb)
{
    struct hv_exit exit = {.raw_reason = (uint32_t)vmcb->exit_code, .rip = vmcb->rip};
    enum hv_resume resume;
    uint64_t next;

    fill_rare(vp, &exit);
    next = vmcb->exit_code < SVM_EXIT_COUNT ? rare_next(vp, &exit) : exit.rip;
    resume = vm_exit(vp, &exit);
    if (exit.reason == HV_EXIT_CR && resume == HV_ADVANCE && !exit.cr.write &&
        exit.cr.gpr == GPR_RSP)
        svm_store_rsp(vp);
    if (resume == HV_ADVANCE)
        advance(vp, vmcb, next);
    else if (resume == HV_STOP)
        return LEAVE;
    return enter_next(vp);
}

enum next svm_handle_exit(struct vp *vp)
{
    struct vmcb *vmcb = svm_of(vp)->vmcb;

    cpu_publish_out_of_guest();
    vmcb->tlb_control = TLB_CONTROL_NOTHING;
    if (vmcb->exit_code == SVM_EXIT_CPUID)
        return cpuid_exit(vp, vmcb);
    if (LIKELY(vmcb->exit_code == SVM_EXIT_NPF))
        return memory_exit(vp);
    return rare_exit(vp, vmcb);
}

void svm_vp_run(struct vp *vp)
{
    this_cpu()->running = vp;
    if (enter_next(vp) == ENTER)
        svm_enter(vp);
    cpu_publish_out_of_guest();
    this_cpu()->running = NULL;
}
