/*
 * Without help from the CPU: an NMI blocks others until the guest's next IRET is over (APM 2 "NMI"). The exit of an IRET
 * comes before it, so it runs with TF: the #DB behind it is where NMIs are open again.
 *
 *   NMI delivered --> IRET exit --> TF set, IRET runs --> #DB exit, TF was in the old RFLAGS only --> open
 *                         ^--------- a fault, another event: TF taken back <-|
 */
#include "hv/svm/svm.h"

/* What an IRET can raise, besides. */
#define IRET_FAULTS BITS(14, 10)
#define RETRY_TICKS (1ull << 15)
#define DR6_CAUSES  (BITS(3, 0) | BITS(15, 13))

void svm_nmi_block(struct svm_vp *svm)
{
    svm->nmi_blocked = true;
    svm->vmcb->intercepts1 |= (uint32_t)INTERCEPT_IRET;
}

static void ring_again(struct alarm *alarm)
{
    (void)alarm; /* the exit is what was wanted */
}

/* In the shadow of MOV SS, or behind an exception: both end very soon, without an exit. */
void svm_nmi_retry(struct svm_vp *svm)
{
    svm->again.ring = ring_again;
    alarm_set(&svm->again, alarm_now() + RETRY_TICKS);
}

void svm_nmi_iret(struct svm_vp *svm)
{
    struct vmcb *vmcb = svm->vmcb;

    svm->stepping = true;
    svm->iret_rip = vmcb->rip;
    svm->own_flags = vmcb->rflags;
    svm->own_dr6 = vmcb->dr6;
    vmcb->rflags |= RFLAGS_TF;
    vmcb->intercepts1 &= ~(uint32_t)INTERCEPT_IRET;
    vmcb->exception_intercepts = (uint32_t)(SVM_EXCEPTIONS | IRET_FAULTS);
}

static void stop_stepping(struct svm_vp *svm)
{
    svm->stepping = false;
    svm->vmcb->exception_intercepts = SVM_EXCEPTIONS;
}

/* The IRET has not been carried out. */
void svm_nmi_undo_step(struct svm_vp *svm)
{
    if (!svm->stepping)
        return;
    stop_stepping(svm);
    svm->vmcb->rflags = (svm->vmcb->rflags & ~RFLAGS_TF) | (svm->own_flags & RFLAGS_TF);
    svm_nmi_block(svm);
}

/* Bochs 2.7 does not put BS into DR6 before the exit. At the IRET itself it may have been a breakpoint, before it. */
bool svm_nmi_step_done(struct vp *vp)
{
    struct svm_vp *svm = svm_of(vp);
    struct vmcb *vmcb = svm->vmcb;

    if (!svm->stepping || vmcb->exit_code != SVM_EXIT_EXCEPTION + VECTOR_DB ||
        (vmcb->rip == svm->iret_rip && !(vmcb->dr6 & DR6_BS)))
        return false;
    stop_stepping(svm);
    svm->nmi_blocked = false;
    vp->attention = true;
    if (svm->own_flags & RFLAGS_TF)
        return false;
    vmcb->dr6 = (vmcb->dr6 & ~DR6_BS) | (svm->own_dr6 & DR6_BS);
    return (vmcb->dr6 & ~svm->own_dr6 & DR6_CAUSES) == 0; /* else a breakpoint, too */
}
