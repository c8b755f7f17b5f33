/*
 * What is pending and what is in service, and the registers that show it. The processor's priority is not kept: it
 * follows from TPR and from what is in service whenever somebody asks.
 */
#include "hv/vm/apic.h"

#include "hv/base/string.h"
#include "hv/vm/apic_core.h"
#include "hv/vm/vp.h"

/* ---- vectors ---- */

/* `words` says which of the eight words of a set are not 0. */
static inline void put_vector(uint32_t *set, uint8_t *words, unsigned vector)
{
    set[vector / 32] |= 1u << vector % 32;
    *words |= (uint8_t)(1u << vector / 32);
}

static inline void drop_vector(uint32_t *set, uint8_t *words, unsigned vector)
{
    set[vector / 32] &= ~(1u << vector % 32);
    if (set[vector / 32] == 0)
        *words &= (uint8_t) ~(1u << vector / 32);
}

/* words is not 0. */
static inline unsigned highest(const uint32_t *set, uint8_t words)
{
    unsigned word = 31 - (unsigned)__builtin_clz(words);

    return word * 32 + 31 - (unsigned)__builtin_clz(set[word]);
}

/* SDM 3A "Task and Processor Priorities". */
static uint32_t processor_priority(const struct apic *apic)
{
    uint32_t in_service = 0;

    if (apic->isr_words != 0)
        in_service = highest(apic->isr, apic->isr_words) & APIC_CLASS;
    return (apic->tpr & APIC_CLASS) >= in_service ? apic->tpr : in_service;
}

/* A priority went down. */
static inline void look_again(struct apic *apic)
{
    if (apic->irr_words != 0)
        apic->vp->attention = true;
}

void apic_accept(struct apic *apic, uint8_t vector, bool level)
{
    if (!(apic->svr & APIC_SVR_ENABLE)) {
        apic->dropped++;
        return;
    }
    if (vector < APIC_FIRST_LEGAL) {
        apic->dropped++;
        apic_error(apic, APIC_ESR_RECEIVED);
        return;
    }
    apic->accepted++;
    put_vector(apic->irr, &apic->irr_words, vector);
    if (level)
        apic->tmr[vector / 32] |= 1u << vector % 32;
    else
        apic->tmr[vector / 32] &= ~(1u << vector % 32);
    apic->vp->attention = true;
}

void apic_error(struct apic *apic, uint32_t error)
{
    uint32_t lvt = apic->lvt[APIC_LVT_ERROR];

    if (apic->esr & error) /* and an error of the error interrupt ends here */
        return;
    apic->esr |= error;
    if (!(lvt & APIC_LVT_MASK))
        apic_accept(apic, (uint8_t)lvt, false);
}

int apic_next(struct apic *apic)
{
    unsigned vector;

    if (apic->timer_due != 0)
        apic_timer_update(apic);
    if (apic->irr_words == 0)
        return -1;
    vector = highest(apic->irr, apic->irr_words);
    return (vector & APIC_CLASS) > (processor_priority(apic) & APIC_CLASS) ? (int)vector : -1;
}

void apic_take(struct apic *apic, uint8_t vector)
{
    drop_vector(apic->irr, &apic->irr_words, vector);
    put_vector(apic->isr, &apic->isr_words, vector);
}

/* Nobody is told of the end of a level-triggered one: there is no I/O APIC. */
static inline void end_of_interrupt(struct apic *apic)
{
    if (apic->isr_words == 0)
        return;
    drop_vector(apic->isr, &apic->isr_words, highest(apic->isr, apic->isr_words));
    look_again(apic);
}

static void tpr_write(struct apic *apic, uint32_t value)
{
    apic->tpr = value;
    look_again(apic);
}

uint64_t apic_cr8_read(const struct apic *apic)
{
    return apic->tpr >> 4;
}

void apic_cr8_write(struct apic *apic, uint64_t value)
{
    tpr_write(apic, (uint32_t)value << 4);
}

/* ---- registers ---- */

#define BOTH_READ  (APIC_READS | APIC_X2READS)
#define BOTH_WRITE (APIC_WRITES | APIC_X2WRITES)
#define BOTH       (BOTH_READ | BOTH_WRITE)

const struct apic_rule apic_rules[APIC_REGS] = {
    [APIC_REG_ID] = {0xff000000u, BOTH_READ | APIC_WRITES},
    [APIC_REG_VERSION] = {0, BOTH_READ},
    [APIC_REG_TPR] = {0xff, BOTH},
    [APIC_REG_APR] = {0, APIC_READS},
    [APIC_REG_PPR] = {0, BOTH_READ},
    [APIC_REG_EOI] = {0, BOTH_WRITE},
    [APIC_REG_RRD] = {0, APIC_READS},
    [APIC_REG_LDR] = {0xff000000u, BOTH_READ | APIC_WRITES},
    [APIC_REG_DFR] = {0xf0000000u, APIC_READS | APIC_WRITES},
    [APIC_REG_SVR] = {0x3ff, BOTH},
    [APIC_REG_ISR... APIC_REG_ESR - 1] = {0, BOTH_READ}, /* TMR and IRR are between */
    [APIC_REG_ESR] = {0, BOTH},
    [APIC_REG_ICR_LOW] = {0x000cdfffu, BOTH},
    [APIC_REG_ICR_HIGH] = {0xff000000u, APIC_READS | APIC_WRITES},
    [APIC_REG_LVT + APIC_LVT_TIMER] = {0x000710ffu, BOTH},
    [APIC_REG_LVT + APIC_LVT_THERMAL] = {0x000117ffu, BOTH},
    [APIC_REG_LVT + APIC_LVT_PMC] = {0x000117ffu, BOTH},
    [APIC_REG_LVT + APIC_LVT_LINT0] = {0x0001f7ffu, BOTH},
    [APIC_REG_LVT + APIC_LVT_LINT1] = {0x0001f7ffu, BOTH},
    [APIC_REG_LVT + APIC_LVT_ERROR] = {0x000110ffu, BOTH},
    [APIC_REG_INITIAL_COUNT] = {UINT32_MAX, BOTH},
    [APIC_REG_CURRENT_COUNT] = {0, BOTH_READ},
    [APIC_REG_DIVIDE] = {0xb, BOTH},
    [APIC_REG_SELF_IPI] = {0xff, APIC_X2WRITES},
};

uint32_t apic_register_read(struct apic *apic, unsigned reg)
{
    if (reg >= APIC_REG_ISR && reg < APIC_REG_TMR)
        return apic->isr[reg - APIC_REG_ISR];
    if (reg >= APIC_REG_TMR && reg < APIC_REG_IRR)
        return apic->tmr[reg - APIC_REG_TMR];
    if (reg >= APIC_REG_IRR && reg < APIC_REG_ESR) {
        apic_timer_update(apic); /* a guest may wait for its bit with interrupts off */
        return apic->irr[reg - APIC_REG_IRR];
    }
    if (reg - APIC_REG_LVT < APIC_LVTS)
        return apic->lvt[reg - APIC_REG_LVT];
    switch (reg) {
    case APIC_REG_ID:
        return apic_is_x2(apic) ? apic->id : apic->xapic_id;
    case APIC_REG_VERSION:
        return APIC_VERSION_VALUE;
    case APIC_REG_TPR:
        return apic->tpr;
    case APIC_REG_PPR:
        return processor_priority(apic);
    case APIC_REG_LDR:
        return apic_ldr(apic);
    case APIC_REG_DFR:
        return apic->dfr;
    case APIC_REG_SVR:
        return apic->svr;
    case APIC_REG_ESR:
        return apic->esr_latched;
    case APIC_REG_ICR_LOW:
        return apic->icr_low;
    case APIC_REG_ICR_HIGH:
        return apic->icr_high;
    case APIC_REG_INITIAL_COUNT:
        return apic->initial_count;
    case APIC_REG_CURRENT_COUNT:
        return apic_timer_count_read(apic);
    case APIC_REG_DIVIDE:
        return apic->divide;
    default: /* cannot be read, or has nothing to tell: APR and RRD are of old CPUs */
        return 0;
    }
}

static void lvt_write(struct apic *apic, unsigned entry, uint32_t value)
{
    value &= ~(uint32_t)APIC_LVT_STATUS;
    if (!(apic->svr & APIC_SVR_ENABLE))
        value |= (uint32_t)APIC_LVT_MASK;
    if (entry == APIC_LVT_TIMER)
        apic_timer_lvt_write(apic, value);
    else
        apic->lvt[entry] = value;
}

/* SDM 3A "Local APIC State After It Has Been Software Disabled": pending ones stay, the LVT is masked. */
static void svr_write(struct apic *apic, uint32_t value)
{
    apic->svr = value & ~(uint32_t)APIC_SVR_FOCUS;
    for (unsigned entry = 0; entry < APIC_LVTS && !(value & APIC_SVR_ENABLE); entry++)
        lvt_write(apic, entry, apic->lvt[entry]);
}

static void esr_write(struct apic *apic)
{
    apic->esr_latched = apic->esr;
    apic->esr = 0;
}

static void icr_write(struct apic *apic, uint32_t value)
{
    apic->icr_low = value & ~(uint32_t)APIC_ICR_STATUS; /* idle: it is sent when this returns */
    apic_send(apic, apic->icr_low, apic->icr_high >> APIC_XAPIC_ID_SHIFT);
}

void apic_register_write(struct apic *apic, unsigned reg, uint32_t value)
{
    if (reg - APIC_REG_LVT < APIC_LVTS) {
        lvt_write(apic, reg - APIC_REG_LVT, value);
        return;
    }
    switch (reg) {
    case APIC_REG_ID:
        apic->xapic_id = value;
        break;
    case APIC_REG_TPR:
        tpr_write(apic, value);
        break;
    case APIC_REG_EOI:
        end_of_interrupt(apic);
        break;
    case APIC_REG_LDR:
        apic->ldr = value;
        break;
    case APIC_REG_DFR:
        apic->dfr = value | APIC_DFR_CLUSTER; /* the other bits are ones */
        break;
    case APIC_REG_SVR:
        svr_write(apic, value);
        break;
    case APIC_REG_ESR:
        esr_write(apic);
        break;
    case APIC_REG_ICR_LOW:
        icr_write(apic, value);
        break;
    case APIC_REG_ICR_HIGH:
        apic->icr_high = value;
        break;
    case APIC_REG_INITIAL_COUNT:
        apic_timer_count_write(apic, value);
        break;
    case APIC_REG_DIVIDE:
        apic_timer_divide_write(apic, value);
        break;
    default: /* read only */
        break;
    }
}

/* ---- the page ---- */

/* A register that this page has; the use of another is an error. */
static bool is_register(struct apic *apic, uint64_t offset)
{
    uint64_t reg = offset >> APIC_REG_SHIFT;

    if (reg < APIC_REGS && (apic_rules[reg].access & (APIC_READS | APIC_WRITES)))
        return true;
    apic_error(apic, APIC_ESR_REGISTER);
    return false;
}

/* A register is the first 4 of 16 bytes. What is between is 0; parts can be read, not written. */
static uint64_t page_read(void *owner, uint64_t offset, unsigned bytes)
{
    const unsigned lane = offset & 15;
    struct apic *apic = owner;
    uint32_t value;

    (void)bytes;
    if (!is_register(apic, offset) || lane >= sizeof(value))
        return 0;
    value = apic_register_read(apic, (unsigned)(offset >> APIC_REG_SHIFT));
    return value >> (lane * 8);
}

static COLD void other_write(struct apic *apic, uint64_t offset, unsigned bytes, uint64_t value)
{
    const unsigned reg = (unsigned)(offset >> APIC_REG_SHIFT);

    if (!is_register(apic, offset) || bytes != sizeof(uint32_t) || (offset & 15) != 0)
        return;
    apic_register_write(apic, reg, (uint32_t)value & apic_rules[reg].bits);
}

static void page_write(void *owner, uint64_t offset, unsigned bytes, uint64_t value)
{
    struct apic *apic = owner;

    if (LIKELY(offset == APIC_REG_EOI << APIC_REG_SHIFT && bytes == sizeof(uint32_t)))
        end_of_interrupt(apic);
    else
        other_write(apic, offset, bytes, value);
}

hv_status_t apic_page_place(struct apic *apic)
{
    const struct mmio_handler handler = {
        .read = page_read, .write = page_write, .write_whole = page_write, .owner = apic};
    struct vm *vm = apic->vp->vm;
    gpa_t wanted = GPA(apic->base & APIC_BASE_ADDRESS);
    bool has_page = (apic->base & APIC_BASE_MODE) == APIC_BASE_ENABLE;
    hv_status_t status = HV_OK;

    lock_acquire(&vm->tables_lock);
    if (apic->has_region)
        status = mmio_region_remove(&vm->regions, apic->region);
    ASSERT(status == HV_OK);
    if (has_page)
        status = vm_ram_overlaps(vm, wanted, PAGE_BYTES)
                     ? HV_E_CONFLICTING_ADDRESSES
                     : mmio_region_add(&vm->regions, wanted, PAGE_BYTES, &handler);
    lock_release(&vm->tables_lock);
    apic->has_region = has_page && status == HV_OK;
    apic->region = wanted;
    return status;
}

/* SDM 3A "Local APIC State After Power-Up or Reset". NMIs and INIT wait in the CPU. */
void apic_reset(struct apic *apic)
{
    apic_timer_reset(apic);
    memset(apic->irr, 0, sizeof(apic->irr));
    memset(apic->isr, 0, sizeof(apic->isr));
    memset(apic->tmr, 0, sizeof(apic->tmr));
    apic->irr_words = apic->isr_words = 0;
    apic->xapic_id = apic->id << APIC_XAPIC_ID_SHIFT;
    apic->tpr = apic->ldr = apic->esr = apic->esr_latched = apic->icr_low = apic->icr_high = 0;
    apic->dfr = APIC_DFR_FLAT;
    apic->svr = 0xff;
    for (unsigned i = 0; i < APIC_LVTS; i++)
        apic->lvt[i] = (uint32_t)APIC_LVT_MASK;
}

hv_status_t apic_create(struct vp *vp)
{
    struct apic *apic = vp->apic;

    *apic = (struct apic){.vp = vp, .base = APIC_BASE_DEFAULT | APIC_BASE_BSP | APIC_BASE_ENABLE};
    apic_reset(apic);
    return apic_page_place(apic);
}
