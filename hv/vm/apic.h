/*
 * Owns:     the local APIC of a virtual CPU: the xAPIC page, the x2APIC registers, the timer, what is pending and what is in
 *           service (SDM 3A chapter "Advanced Programmable Interrupt Controller").
 * Promises: pure but for alarms: the state is this structure; no instruction is executed.
 * Needs:    hv/vm/alarm.h, regions of the VM.
 * Never:    delivers: a backend asks apic_next() before an entry, and tells what it delivered.
 *
 *   IPI, MSI, timer --accept--> IRR --apic_next()--> backend injects --apic_take()--> ISR --EOI--> out
 *
 * One VP in this version: messages are matched against its ID, and INIT and SIPI for others are taken and go nowhere.
 * Everything runs on the VP's CPU; with more VPs accept needs a lock or atomic bits, and a kick.
 */
#ifndef HV_VM_APIC_H
#define HV_VM_APIC_H

#include "hv/base/status.h"
#include "hv/base/types.h"
#include "hv/vm/alarm.h"

#define APIC_BASE_DEFAULT 0xfee00000ull
#define APIC_VECTORS      256u
#define APIC_WORDS        (APIC_VECTORS / 32)

struct vm;
struct vp;

enum apic_lvt {
    APIC_LVT_TIMER,
    APIC_LVT_THERMAL,
    APIC_LVT_PMC,
    APIC_LVT_LINT0,
    APIC_LVT_LINT1,
    APIC_LVT_ERROR,
    APIC_LVTS
};

struct apic {
    struct vp *vp;
    uint64_t base;     /* IA32_APIC_BASE as the guest reads it */
    uint32_t id;       /* initial APIC ID; the x2APIC ID */
    uint32_t xapic_id; /* the register in xAPIC mode: bits 31:24 */
    uint32_t tpr, ldr, dfr, svr, esr, esr_latched, icr_low, icr_high;
    uint32_t lvt[APIC_LVTS];
    uint32_t irr[APIC_WORDS], isr[APIC_WORDS], tmr[APIC_WORDS];
    uint8_t irr_words, isr_words; /* bit n: word n has a vector */
    uint8_t nmis; /* waiting: 0, 1 or 2 (one may wait behind the one that is handled) */
    uint32_t initial_count, divide;
    uint64_t timer_due;    /* TSC when the count is 0, or the deadline; 0: it does not run */
    uint64_t tsc_deadline; /* IA32_TSC_DEADLINE; 0: disarmed */
    struct alarm alarm;
    gpa_t region; /* where the page is registered; only while has_region */
    bool has_region;
    uint64_t accepted, dropped; /* interrupts taken in; messages for nobody */
};

/* In the state after reset, the page at APIC_BASE_DEFAULT. Before the VP runs. As mmio_region_add(). */
hv_status_t apic_create(struct vp *vp) MUST_CHECK;

/* ---- what a backend asks and tells ---- */

/*
 * The vector that is to be delivered next if the guest can take interrupts: the highest in IRR above the processor's priority; -1:
 * none. The timer is brought up to date first when its time has come.
 */
int apic_next(struct apic *apic);
/* The backend has put this vector into an entry: from IRR to ISR. */
void apic_take(struct apic *apic, uint8_t vector);
/* Is an NMI waiting? And: it was put into an entry. */
static inline bool apic_has_nmi(const struct apic *apic)
{
    return apic->nmis != 0;
}
static inline void apic_take_nmi(struct apic *apic)
{
    apic->nmis--;
}

/* TPR bits 7:4, which CR8 is. */
uint64_t apic_cr8_read(const struct apic *apic);
void apic_cr8_write(struct apic *apic, uint64_t value);

/* ---- messages ---- */

/*
 * An MSI: delivery modes fixed, lowest priority, NMI, INIT; SMI and ExtINT are dropped, there is nothing that takes them. HV_E_INVALID_PARAMETER_2:
 * not an address of interrupts; _3: reserved mode, or level-triggered and deasserted. Nobody has that ID: HV_OK, counted.
 */
hv_status_t apic_message(struct vm *vm, uint64_t address, uint32_t data) MUST_CHECK;

/* ---- MSRs: IA32_APIC_BASE, 0x800 to 0x83F, IA32_TSC_DEADLINE ---- */

bool apic_owns_msr(uint32_t msr);
/* False: #GP. */
bool apic_msr_read(struct apic *apic, uint32_t msr, uint64_t *value) MUST_CHECK;
bool apic_msr_write(struct apic *apic, uint32_t msr, uint64_t value) MUST_CHECK;

/* Is anything armed that could wake the VP out of HLT? */
bool apic_timer_is_armed(const struct apic *apic);

#endif
