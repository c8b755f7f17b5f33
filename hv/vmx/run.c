/*
 * Raw exits become struct hv_exit here. The common ones are short on purpose: every VMREAD counts.
 */
#include "hv/vmx/vmx.h"

#include "hv/vm/usual.h"
#include "hv/vmx/caps.h"
#include "hv/vmx/insn.h"
#include "hv/x86/cpu.h"
#include "hv/x86/desc.h"
#include "hv/x86/regs.h"

/* What the exit stub does next. ENTER_KEPT: the core changed none of RBP and R12 to R15, which C preserves. */
enum next { ENTER_ALL, ENTER_KEPT, LEAVE };

uint32_t vmx_enter(struct vp *vp);        /* entry.asm */
enum next vmx_handle_exit(struct vp *vp); /* called by entry.asm */

/* Basic exit reasons, SDM 3D Appendix C. */
enum raw_exit {
    RAW_EXCEPTION_OR_NMI = 0,
    RAW_EXTERNAL_INTERRUPT = 1,
    RAW_TRIPLE_FAULT = 2,
    RAW_INTERRUPT_WINDOW = 7,
    RAW_NMI_WINDOW = 8,
    RAW_CPUID = 10,
    RAW_GETSEC = 11,
    RAW_HLT = 12,
    RAW_INVD = 13,
    RAW_RDPMC = 15,
    RAW_VMCALL = 18,
    RAW_VMXON = 27,
    RAW_CR = 28,
    RAW_IO = 30,
    RAW_RDMSR = 31,
    RAW_WRMSR = 32,
    RAW_ENTRY_STATE = 33,
    RAW_ENTRY_MSR = 34,
    RAW_MWAIT = 36,
    RAW_MONITOR = 39,
    RAW_ENTRY_MC = 41,
    RAW_EPT_VIOLATION = 48,
    RAW_EPT_MISCONFIG = 49,
    RAW_INVEPT = 50,
    RAW_INVVPID = 53,
    RAW_WBINVD = 54,
    RAW_XSETBV = 55,
    RAW_COUNT = 64,
};

#define EXIT_ENTRY_FAILED BIT(31)

/* Exit qualification of an EPT violation, SDM 3C "Exit Qualification for EPT Violations". */
#define EPT_READ        BIT(0)
#define EPT_WRITE       BIT(1)
#define EPT_FETCH       BIT(2)
#define EPT_GLA_VALID   BIT(7)
#define EPT_FINAL       BIT(8)
#define EPT_NMI_UNBLOCK BIT(12)

/* Interruption information, SDM 3C "Information for VM Exits Due to Vectored Events". */
#define INFO_VECTOR                   BITS(7, 0)
#define INFO_TYPE                     BITS(10, 8)
#define INFO_HAS_ERROR                BIT(11)
#define INFO_NMI_UNBLOCK              BIT(12)
#define INFO_VALID                    BIT(31)
#define INFO_TYPE_NMI                 2u
#define INFO_TYPE_SOFTWARE_FIRST      4u /* 4, 5, 6 need the instruction length */
#define INFO_TYPE_PRIVILEGED_SOFTWARE 5u

#define BLOCKED_BY_STI                1u
#define BLOCKED_BY_STI_OR_SS          3u
#define BLOCKED_BY_NMI                BIT(3)

/* I/O qualification */
#define IO_BYTES  BITS(2, 0) /* minus one */
#define IO_IN     BIT(3)
#define IO_STRING BIT(4)
#define IO_PORT   BITS(31, 16)

/* Control-register qualification */
#define CR_NUMBER   BITS(3, 0)
#define CR_KIND     BITS(5, 4) /* 0 to CR, 1 from CR, 2 CLTS, 3 LMSW */
#define CR_GPR      BITS(11, 8)
#define CR_LMSW     BITS(31, 16)

#define RIGHTS_LONG BIT(13)
#define RIGHTS_BIG  BIT(14)

/* An exit that came while an event was being delivered: deliver it again at the next entry. */
static bool requeue_delivery(struct vp *vp)
{
    uint32_t info = vmread32(VMCS_IDT_VECTORING_INFO);

    if (!(info & INFO_VALID))
        return false;
    vp->event.kind = VP_EVENT_REINJECT;
    vp->event.raw = info & ~(uint32_t)INFO_NMI_UNBLOCK; /* bit 12 is undefined here */
    vp->event.error = info & INFO_HAS_ERROR ? vmread32(VMCS_IDT_VECTORING_ERROR) : 0;
    vp->event.raw_length = vmread32(VMCS_EXIT_INSTRUCTION_LENGTH);
    if (FIELD_GET(INFO_TYPE, info) == INFO_TYPE_NMI)
        vmwrite32(VMCS_GUEST_INTERRUPTIBILITY,
                  vmread32(VMCS_GUEST_INTERRUPTIBILITY) & ~(uint32_t)BLOCKED_BY_NMI);
    return true;
}

/* IRET had unblocked NMIs when the exit came: the guest is to be blocked again (SDM 3C "NMI unblocking"). */
static void reblock_nmi(void)
{
    vmwrite32(VMCS_GUEST_INTERRUPTIBILITY,
              vmread32(VMCS_GUEST_INTERRUPTIBILITY) | (uint32_t)BLOCKED_BY_NMI);
}

static void fill_io(struct hv_exit *exit)
{
    uint64_t info = exit->raw_info;

    exit->io.port = (uint16_t)FIELD_GET(IO_PORT, info);
    exit->io.bytes = (uint8_t)(FIELD_GET(IO_BYTES, info) + 1);
    exit->io.in = (info & IO_IN) != 0;
    exit->io.string = (info & IO_STRING) != 0;
}

static void fill_cr(struct vp *vp, struct hv_exit *exit)
{
    uint64_t info = exit->raw_info;
    struct hv_exit_cr *cr = &exit->cr;
    unsigned kind = (unsigned)FIELD_GET(CR_KIND, info);

    cr->number = (uint8_t)FIELD_GET(CR_NUMBER, info);
    cr->gpr = (uint8_t)FIELD_GET(CR_GPR, info);
    cr->write = kind == 0;
    cr->clts = kind == 2;
    cr->lmsw = kind == 3;
    if (cr->gpr == GPR_RSP)
        vmx_load_rsp(vp);
    cr->value = cr->lmsw ? FIELD_GET(CR_LMSW, info) : vp->gpr[cr->gpr];
    if (!(vmread64(VMCS_GUEST_EFER) & EFER_LMA)) /* MOV CR takes 32 bits outside 64-bit mode */
        cr->value = (uint32_t)cr->value;
}

/*
 * Exceptions that we asked for (#DB, #AC, #MC), and NMIs, which are the host's: INT 2 runs the handler, and
 * its IRET unblocks NMIs on this CPU.
 */
static void fill_exception(struct vp *vp, struct hv_exit *exit)
{
    uint32_t info = vmread32(VMCS_EXIT_INTERRUPTION_INFO);
    bool delivering = requeue_delivery(vp);

    exit->exception.vector = (uint8_t)FIELD_GET(INFO_VECTOR, info);
    exit->exception.has_error = (info & INFO_HAS_ERROR) != 0;
    exit->exception.error = exit->exception.has_error ? vmread32(VMCS_EXIT_INTERRUPTION_ERROR) : 0;
    exit->exception.replaces_event = delivering;
    if (exit->exception.vector == VECTOR_DB) /* delivery of #DB switches general detect off */
        vmwrite_natural(VMCS_GUEST_DR7, vmread_natural(VMCS_GUEST_DR7) & ~DR7_GD);
    if (FIELD_GET(INFO_TYPE, info) == INFO_TYPE_NMI) {
        exit->reason = HV_EXIT_NMI;
        __asm__ volatile("int $2" ::: "memory");
    } else if (FIELD_GET(INFO_TYPE, info) == INFO_TYPE_PRIVILEGED_SOFTWARE) {
        exit->reason =
            HV_EXIT_TRAP; /* INT1 is a trap behind its instruction: delivered as what it is */
        vp->event.kind = VP_EVENT_REINJECT;
        vp->event.raw = info & ~(uint32_t)INFO_NMI_UNBLOCK;
        vp->event.raw_length = exit->length;
    } else if (UNLIKELY((info & INFO_NMI_UNBLOCK) && !delivering &&
                        exit->exception.vector != VECTOR_DF)) {
        reblock_nmi();
    }
}

/* `blocked`: the interruptibility state that the guest has or will have. */
static unsigned what_it_takes(uint32_t blocked)
{
    unsigned takes = 0;

    if (vmread_natural(VMCS_GUEST_CR0) & CR0_PE)
        takes |= VP_TAKES_ERROR_CODES;
    if (blocked & BLOCKED_BY_STI_OR_SS)
        return takes;
    if (vmread_natural(VMCS_GUEST_RFLAGS) & RFLAGS_IF)
        takes |= VP_TAKES_INTERRUPT;
    return blocked & BLOCKED_BY_NMI ? takes : takes | VP_TAKES_NMI;
}

/* The shadow of an STI ends with the HLT. */
static void fill_halt(struct hv_exit *exit)
{
    uint32_t blocked = vmread32(VMCS_GUEST_INTERRUPTIBILITY) & ~BLOCKED_BY_STI_OR_SS;

    exit->halt.takes = (uint8_t)what_it_takes(blocked);
    exit->halt.stepped = (vmread_natural(VMCS_GUEST_RFLAGS) & RFLAGS_TF) != 0;
}

/* What each of the other raw exits is to the core; HV_EXIT_UNKNOWN (0) where it must not happen. */
static const uint8_t neutral[RAW_COUNT] = {
    [RAW_EXCEPTION_OR_NMI] = HV_EXIT_EXCEPTION,
    [RAW_EXTERNAL_INTERRUPT] = HV_EXIT_INTERRUPT,
    [RAW_TRIPLE_FAULT] = HV_EXIT_SHUTDOWN,
    [RAW_INTERRUPT_WINDOW] = HV_EXIT_WINDOW,
    [RAW_NMI_WINDOW] = HV_EXIT_WINDOW,
    [RAW_GETSEC] = HV_EXIT_UNDEFINED,
    [RAW_HLT] = HV_EXIT_HLT,
    [RAW_INVD] = HV_EXIT_CACHE,
    [RAW_RDPMC] = HV_EXIT_REFUSED,
    [RAW_VMCALL... RAW_VMXON] = HV_EXIT_UNDEFINED,
    [RAW_CR] = HV_EXIT_CR,
    [RAW_IO] = HV_EXIT_IO,
    [RAW_RDMSR] = HV_EXIT_MSR_READ,
    [RAW_WRMSR] = HV_EXIT_MSR_WRITE,
    [RAW_ENTRY_STATE] = HV_EXIT_FAILURE,
    [RAW_ENTRY_MSR] = HV_EXIT_FAILURE,
    [RAW_MWAIT] = HV_EXIT_UNDEFINED,
    [RAW_MONITOR] = HV_EXIT_UNDEFINED,
    [RAW_ENTRY_MC] = HV_EXIT_FAILURE,
    [RAW_EPT_MISCONFIG] = HV_EXIT_TABLES,
    [RAW_INVEPT] = HV_EXIT_UNDEFINED,
    [RAW_INVVPID] = HV_EXIT_UNDEFINED,
    [RAW_WBINVD] = HV_EXIT_CACHE,
    [RAW_XSETBV] = HV_EXIT_XSETBV,
};

static void fill_rare(struct vp *vp, struct hv_exit *exit)
{
    if (exit->raw_reason >= RAW_COUNT) {
        exit->reason = exit->raw_reason & EXIT_ENTRY_FAILED ? HV_EXIT_FAILURE : HV_EXIT_UNKNOWN;
        exit->raw_info = vmread_natural(VMCS_EXIT_QUALIFICATION);
        return;
    }
    exit->reason = neutral[exit->raw_reason];
    exit->length = (uint8_t)vmread32(VMCS_EXIT_INSTRUCTION_LENGTH);
    exit->raw_info = vmread_natural(VMCS_EXIT_QUALIFICATION);
    switch (exit->raw_reason) {
    case RAW_EPT_MISCONFIG:
        exit->memory = (struct hv_exit_memory){.gpa = GPA(vmread64(VMCS_GUEST_PHYSICAL_ADDRESS))};
        break;
    case RAW_HLT:
        fill_halt(exit);
        break;
    case RAW_IO:
        fill_io(exit);
        break;
    case RAW_CR:
        fill_cr(vp, exit);
        break;
    case RAW_EXCEPTION_OR_NMI:
        fill_exception(vp, exit);
        break;
    case RAW_EXTERNAL_INTERRUPT:
        exit->exception.vector =
            (uint8_t)FIELD_GET(INFO_VECTOR, vmread32(VMCS_EXIT_INTERRUPTION_INFO));
        break;
    default:
        break;
    }
}

/*
 * An NMI window may open in the shadow of STI, which does not end so: the CPU would come back for ever. The interrupt
 * window opens behind it, for IF is 1 there.
 */
static void set_windows(struct vmx_vp *vmx, uint32_t blocked, unsigned waits)
{
    uint32_t primary = vmx->primary & ~(uint32_t)(PRIMARY_INTR_WINDOW | PRIMARY_NMI_WINDOW);
    bool nmi = waits & VP_TAKES_NMI, in_shadow = blocked & BLOCKED_BY_STI;

    if (nmi && !in_shadow)
        primary |= (uint32_t)PRIMARY_NMI_WINDOW;
    if ((waits & VP_TAKES_INTERRUPT) || (nmi && in_shadow))
        primary |= (uint32_t)PRIMARY_INTR_WINDOW;
    if (primary != vmx->primary)
        vmwrite32(VMCS_PRIMARY_CONTROLS, primary);
    vmx->primary = primary;
}

static void prepare_exception(const struct vp_event *event, uint32_t blocked)
{
    vmwrite32(VMCS_GUEST_INTERRUPTIBILITY, blocked);
    if (event->vector == VECTOR_PF)
        write_cr2(
            event->address); /* the guest's CR2 stays in the CPU: we cause no #PF of our own */
    if (event->vector == VECTOR_DB && event->address) {
        write_dr6(read_dr6() | event->address); /* likewise DR6; the entry changes neither */
        vmwrite_natural(VMCS_GUEST_DR7, vmread_natural(VMCS_GUEST_DR7) & ~DR7_GD);
    }
}

/* vp->due is not 0. */
static COLD void deliver(struct vp *vp)
{
    uint32_t blocked = vmread32(VMCS_GUEST_INTERRUPTIBILITY);
    struct vp_delivery d = vp_next_event(vp, what_it_takes(blocked));

    if (d.exception) { /* ends the shadow of STI and MOV SS */
        blocked &= ~BLOCKED_BY_STI_OR_SS;
        prepare_exception(&vp->event, blocked);
    }
    set_windows(vmx_of(vp), blocked, d.waits);
    if (d.info & INFO_HAS_ERROR)
        vmwrite32(VMCS_ENTRY_EXCEPTION_ERROR, d.error);
    if (FIELD_GET(INFO_TYPE, d.info) >= INFO_TYPE_SOFTWARE_FIRST)
        vmwrite32(VMCS_ENTRY_INSTRUCTION_LENGTH, vp->event.raw_length);
    vmwrite32(VMCS_ENTRY_INTERRUPTION_INFO, d.info);
}

static COLD void end_step(struct vp *vp, uint32_t blocked, uint64_t rflags)
{
    if (blocked & BLOCKED_BY_STI_OR_SS)
        vmwrite32(VMCS_GUEST_INTERRUPTIBILITY, blocked & ~BLOCKED_BY_STI_OR_SS);
    if (rflags & (RFLAGS_TF | RFLAGS_RF))
        vp_step_done(vp, rflags);
}

/* With the instruction that was stepped over end the interrupt shadow of STI and MOV SS, and a single step. */
static inline void advance(struct vp *vp, uint64_t rip)
{
    uint32_t blocked = vmread32(VMCS_GUEST_INTERRUPTIBILITY);
    uint64_t rflags = vmread_natural(VMCS_GUEST_RFLAGS);

    vmwrite_natural(VMCS_GUEST_RIP, rip);
    if (UNLIKELY((blocked & BLOCKED_BY_STI_OR_SS) | (rflags & (RFLAGS_TF | RFLAGS_RF))))
        end_step(vp, blocked, rflags);
}

static void flush_translations(struct vp *vp, uint64_t generation)
{
    vp->flushed_generation = generation;
    vp->vm->stats.invalidations++;
    invept(INVEPT_SINGLE_CONTEXT, vmx_of(vp)->eptp);
}

/* Something has happened to the VM since the last entry: a flush is due, or it is paused. */
static __attribute__((noinline)) enum next catch_up(struct vp *vp, uint64_t generation,
                                                    enum next how)
{
    if (!vm_entry_allowed(vp->vm, generation))
        return LEAVE;
    flush_translations(vp, generation);
    return how;
}

/*
 * "In guest" is published before the generation is read, and vm_flush() bumps the generation before it
 * looks who is in a guest: one of the two sees the other.
 */
static inline enum next enter_next(struct vp *vp, enum next how)
{
    uint64_t generation;

    if (UNLIKELY(vp->due != 0))
        deliver(vp);
    cpu_publish_in_guest();
    generation = __atomic_load_n(&vp->vm->generation, __ATOMIC_RELAXED);
    if (UNLIKELY(vp->flushed_generation != generation))
        how = catch_up(vp, generation, how);
    return how;
}

static __attribute__((noinline)) enum next cpuid_exit(struct vp *vp)
{
    (void)vm_exit_cpuid(vp);
    advance(vp, vmread_natural(VMCS_GUEST_RIP) + vmread32(VMCS_EXIT_INSTRUCTION_LENGTH));
    return enter_next(vp, ENTER_KEPT);
}

/* Anything but a data access by an instruction to the address itself: reports and rare endings want more. */
static __attribute__((noinline)) void fill_memory_rare(struct vp *vp, struct hv_exit *exit)
{
    struct hv_exit_memory *m = &exit->memory;

    m->final = (exit->raw_info & (EPT_GLA_VALID | EPT_FINAL)) == (EPT_GLA_VALID | EPT_FINAL);
    m->in_delivery = requeue_delivery(vp);
    m->plain = m->final && !m->in_delivery && !(exit->raw_info & EPT_FETCH);
    if (!m->in_delivery && (exit->raw_info & EPT_NMI_UNBLOCK))
        reblock_nmi();
    m->gla_valid = (exit->raw_info & EPT_GLA_VALID) != 0;
    m->gla = GVA(vmread_natural(VMCS_GUEST_LINEAR_ADDRESS));
}

/* The guest switches paging, and with it LMA, without an exit. */
static inline bool is_code_64(void)
{
    return (vmread32(VMCS_GUEST_CS_RIGHTS) & RIGHTS_LONG) && (vmread64(VMCS_GUEST_EFER) & EFER_LMA);
}

/* Only what an emulation needs is read here. The instruction's length is not: it is undefined on EPT violations. */
static inline void fill_memory(struct vp *vp, struct hv_exit *exit)
{
    struct hv_exit_memory *m = &exit->memory;
    uint64_t info = vmread_natural(VMCS_EXIT_QUALIFICATION);
    uint64_t delivery = vmread32(VMCS_IDT_VECTORING_INFO) & INFO_VALID;

    exit->reason = HV_EXIT_MEMORY;
    exit->raw_reason = RAW_EPT_VIOLATION;
    exit->raw_info = info;
    exit->rip = vmread_natural(VMCS_GUEST_RIP);
    m->gpa = GPA(vmread64(VMCS_GUEST_PHYSICAL_ADDRESS));
    m->cr3 = vmread_natural(VMCS_GUEST_CR3);
    m->efer = vmread64(VMCS_GUEST_EFER);
    m->access = (uint8_t)(info & (EPT_READ | EPT_WRITE | EPT_FETCH));
    m->code_64 = is_code_64();
    m->code = NULL;
    m->code_given = 0;
    m->plain = true;
    m->final = true;
    m->in_delivery = false;
    m->gla_valid = false;
    info &= EPT_GLA_VALID | EPT_FINAL | EPT_FETCH | EPT_NMI_UNBLOCK;
    if (UNLIKELY((info | delivery) != (EPT_GLA_VALID | EPT_FINAL)))
        fill_memory_rare(vp, exit);
}

/* What the short way did not take. */
static COLD enum next long_memory_exit(struct vp *vp)
{
    struct hv_exit exit;
    enum hv_resume resume;

    fill_memory(vp, &exit);
    resume = vm_exit_memory(vp, &exit);
    if (LIKELY(resume == HV_ADVANCE))
        advance(vp, hv_exit_memory_next(&exit));
    else if (resume == HV_STOP)
        return LEAVE;
    return enter_next(vp, ENTER_ALL);
}

static __attribute__((noinline)) enum next memory_exit(struct vp *vp)
{
    const uint64_t plain = EPT_GLA_VALID | EPT_FINAL;
    uint64_t info = vmread_natural(VMCS_EXIT_QUALIFICATION);
    uint64_t delivery = vmread32(VMCS_IDT_VECTORING_INFO) & INFO_VALID;
    enum vp_usual taken = USUAL_NOT;
    struct hv_usual usual;
    uint64_t next_rip = 0;

    if (LIKELY((delivery | (info & (plain | EPT_FETCH | EPT_NMI_UNBLOCK))) == plain)) {
        usual.rip = vmread_natural(VMCS_GUEST_RIP);
        usual.cr3 = vmread_natural(VMCS_GUEST_CR3);
        usual.gpa = GPA(vmread64(VMCS_GUEST_PHYSICAL_ADDRESS));
        usual.gla = GVA(vmread_natural(VMCS_GUEST_LINEAR_ADDRESS));
        usual.code = NULL;
        usual.access = (uint8_t)info; /* EPT_READ, EPT_WRITE */
        usual.gla_valid = true;
        usual.code_64 = is_code_64();
        taken = vp_access_usual(vp, &usual, &next_rip);
    }
    if (UNLIKELY(taken == USUAL_NOT))
        return long_memory_exit(vp);
    advance(vp, next_rip);
    return enter_next(vp, taken == USUAL_STORE ? ENTER_KEPT : ENTER_ALL);
}

static __attribute__((noinline)) enum next rare_exit(struct vp *vp, uint32_t raw_reason)
{
    struct hv_exit exit = {.raw_reason = raw_reason, .rip = vmread_natural(VMCS_GUEST_RIP)};
    enum hv_resume resume;

    fill_rare(vp, &exit);
    resume = vm_exit(vp, &exit);
    if (resume == HV_ADVANCE)
        advance(vp, exit.rip + exit.length);
    else if (resume == HV_STOP)
        return LEAVE;
    return enter_next(vp, ENTER_ALL);
}

enum next vmx_handle_exit(struct vp *vp)
{
    uint32_t raw_reason;

    cpu_publish_out_of_guest();
    raw_reason = vmread32(VMCS_EXIT_REASON);
    if (raw_reason == RAW_CPUID)
        return cpuid_exit(vp);
    if (LIKELY(raw_reason == RAW_EPT_VIOLATION))
        return memory_exit(vp);
    return rare_exit(vp, raw_reason);
}

void vmx_vp_run(struct vp *vp)
{
    struct hv_exit failure = {.reason = HV_EXIT_FAILURE};

    this_cpu()->running = vp;
    if (enter_next(vp, ENTER_ALL) != LEAVE && vmx_enter(vp) != 0) {
        failure.rip = vmread_natural(VMCS_GUEST_RIP);
        failure.raw_info = vmread32(VMCS_INSTRUCTION_ERROR);
        (void)vm_exit(vp, &failure);
    }
    cpu_publish_out_of_guest();
    this_cpu()->running = NULL;
}

void vmx_insn_failed(const char *insn, uint64_t operand)
{
    uint64_t error = 0;

    (void)vmcs_try_get(VMCS_INSTRUCTION_ERROR, &error);
    log_line("vmx", "%s of %#llx failed, VM-instruction error %llu", insn,
             (unsigned long long)operand, (unsigned long long)error);
    assert_fail("a VMX instruction failed", insn, 0);
}
