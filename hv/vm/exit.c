/*
 * The one place where every exit of a guest arrives, whatever the CPU's vendor. Read it first.
 */
#include "hv/vm/exit.h"

#include "hv/vm/alarm.h"
#include "hv/vm/backend.h"
#include "hv/vm/host_irq.h"
#include "hv/vm/vp.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

#define EXIT_NAME(name, text) text,
static const char *const exit_names[] = {HV_EXIT_LIST(EXIT_NAME)};

const char *hv_exit_name(unsigned reason)
{
    return reason < HV_EXIT_COUNT ? exit_names[reason] : "?";
}

void vp_inject(struct vp *vp, uint8_t vector, bool has_error, uint32_t error)
{
    vp->event.kind = VP_EVENT_EXCEPTION;
    vp->event.vector = vector;
    vp->event.has_error = has_error;
    vp->event.error = error;
    vp->event.address = 0;
}

void vp_inject_page_fault(struct vp *vp, gva_t address, uint32_t error)
{
    vp_inject(vp, VECTOR_PF, true, error);
    vp->event.address = address.v;
}

void vp_inject_debug(struct vp *vp, uint64_t causes)
{
    vp_inject(vp, VECTOR_DB, false, 0);
    vp->event.address = causes;
}

/* An event that the instruction itself has caused comes first; the step is told by the handler's own first one. */
void vp_step_done(struct vp *vp, uint64_t rflags)
{
    if (rflags & RFLAGS_RF)
        hv_backend->set_rflags(vp, rflags & ~RFLAGS_RF);
    if ((rflags & RFLAGS_TF) && vp->event.kind == VP_EVENT_NONE)
        vp_inject_debug(vp, DR6_BS);
}

static enum hv_resume stop(struct vp *vp, const struct hv_exit *exit, enum vm_stop_cause cause)
{
    vm_stop(vp->vm, exit, cause);
    return HV_STOP;
}

/* #DB and #AC are the guest's own; hardware has not put #DB's cause into DR6 yet. */
static enum hv_resume hand_on_exception(struct vp *vp, const struct hv_exit *exit)
{
    const uint64_t dr6_causes = BITS(3, 0) | BIT(13) | BIT(14);

    if (exit->exception.vector == VECTOR_MC)
        return stop(vp, exit, VM_STOP_UNEXPECTED);
    if (exit->exception.vector == VECTOR_DB)
        write_dr6((read_dr6() & ~BITS(3, 0)) | (exit->raw_info & dr6_causes));
    if (exit->exception.replaces_event) {
        /* While another event was being delivered. Two contributory exceptions make #DF; the rest runs in turn:
         * the new one first, the old one is delivered again by its own cause (a fault) or is lost here. */
        if (log_limit_pass(&vp->vm->unsupported_log))
            log_line("vm", "exception %u while an event was being delivered",
                     exit->exception.vector);
        if (exit->exception.vector == VECTOR_AC) {
            vp_inject(vp, VECTOR_DF, true, 0);
            return HV_RESUME;
        }
    }
    vp_inject(vp, exit->exception.vector, exit->exception.has_error, exit->exception.error);
    return HV_RESUME;
}

/* A bell may have ended the VM. */
static enum hv_resume ring_alarms(struct vp *vp)
{
    host_interrupt_end();
    alarm_run();
    return vp->vm->stop == VM_STOP_NONE ? HV_RESUME : HV_STOP;
}

/*
 * The only VP sleeps, so only its own timer can have something come: devices are called from its exits. Other alarms ring
 * meanwhile and wake nobody. What it cannot take, with interrupts off or NMIs blocked, will not come to be taken either.
 */
static enum hv_resume halt(struct vp *vp, const struct hv_exit *exit)
{
    while (!exit->halt.stepped && !vp_has_event(vp, exit->halt.takes)) {
        if (!(exit->halt.takes & VP_TAKES_INTERRUPT) || !apic_timer_is_armed(vp->apic) ||
            !alarm_wait())
            return stop(vp, exit, VM_STOP_HLT);
        if (vp->vm->stop != VM_STOP_NONE)
            return HV_STOP;
    }
    vp->attention = true;
    return HV_ADVANCE;
}

enum hv_resume vm_exit_cpuid(struct vp *vp)
{
    vp->vm->stats.exits[HV_EXIT_CPUID]++;
    return vp_cpuid(vp);
}

enum hv_resume vm_exit_memory(struct vp *vp, struct hv_exit *exit)
{
    vp->vm->stats.exits[HV_EXIT_MEMORY]++;
    return vp_memory_fault(vp, exit);
}

enum hv_resume vm_exit(struct vp *vp, struct hv_exit *exit)
{
    vp->vm->stats.exits[exit->reason]++;

    switch ((enum hv_exit_reason)exit->reason) {
    case HV_EXIT_CPUID:
        return vp_cpuid(vp);
    case HV_EXIT_MEMORY:
        return vp_memory_fault(vp, exit);
    case HV_EXIT_IO:
        return vp_port_access(vp, &exit->io);
    case HV_EXIT_MSR_READ:
        return vp_msr_read(vp);
    case HV_EXIT_MSR_WRITE:
        return vp_msr_write(vp);
    case HV_EXIT_CR:
        return vp_cr_access(vp, &exit->cr);
    case HV_EXIT_XSETBV:
        return vp_xsetbv(vp);
    case HV_EXIT_CACHE:
        wbinvd(); /* INVD too: a guest must not discard our lines */
        return HV_ADVANCE;
    case HV_EXIT_UNDEFINED:
        vp_inject(vp, VECTOR_UD, false, 0);
        return HV_RESUME;
    case HV_EXIT_REFUSED:
        vp_inject(vp, VECTOR_GP, true, 0);
        return HV_RESUME;
    case HV_EXIT_EXCEPTION:
        return hand_on_exception(vp, exit);
    case HV_EXIT_FPU: /* CR0.NE is 0 and there is no interrupt controller to tell: as if NE were 1 */
        vp_inject(vp, VECTOR_MF, false, 0);
        return HV_RESUME;
    case HV_EXIT_TRAP:
    case HV_EXIT_NMI:
        return HV_RESUME;
    case HV_EXIT_INTERRUPT:
        return ring_alarms(vp);
    case HV_EXIT_WINDOW: /* it is asked for anew while something waits */
        vp->attention = true;
        return HV_RESUME;
    case HV_EXIT_HLT:
        return halt(vp, exit);
    case HV_EXIT_SHUTDOWN:
        return stop(vp, exit, VM_STOP_TRIPLE_FAULT);
    case HV_EXIT_FAILURE:
        return stop(vp, exit, VM_STOP_ENTRY_FAILURE);
    case HV_EXIT_TABLES: /* an entry of ours that the CPU does not take */
    case HV_EXIT_UNKNOWN:
    case HV_EXIT_COUNT:
    default:
        return stop(vp, exit, VM_STOP_UNEXPECTED);
    }
}
