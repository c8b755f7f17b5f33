#define _GNU_SOURCE
#include "tests/fake/backend.h"

#include <signal.h>
#include <ucontext.h>

#include "hv/base/bits.h"
#include "hv/vm/host_irq.h"

const struct backend *hv_backend;
struct fake_backend fake_backend;
struct fake_cpu fake_cpu;

/* ---- the table ---- */

static void state_get(const struct vp *vp, struct vp_state *state)
{
    fake_backend.state_gets++;
    if (fake_backend.on_state_get)
        fake_backend.on_state_get(vp->vm->vp);
    *state = fake_backend.state;
}

static void set_cr0(struct vp *vp, uint64_t value)
{
    (void)vp;
    fake_backend.cr0_sets++;
    fake_backend.state.cr0 = value;
}

static void set_cr4(struct vp *vp, uint64_t value)
{
    (void)vp;
    fake_backend.cr4_sets++;
    fake_backend.state.cr4 = value;
}

static void set_efer(struct vp *vp, uint64_t value)
{
    (void)vp;
    fake_backend.efer_sets++;
    fake_backend.state.efer = value;
}

static void set_pat(struct vp *vp, uint64_t value)
{
    (void)vp;
    fake_backend.pat_sets++;
    fake_backend.state.pat = value;
}

static void set_rflags(struct vp *vp, uint64_t value)
{
    (void)vp;
    fake_backend.rflags_sets++;
    fake_backend.state.rflags = value;
}

static void load_rsp(struct vp *vp)
{
    fake_backend.rsp_loads++;
    vp->gpr[GPR_RSP] = fake_backend.state.rsp;
}

static void store_rsp(struct vp *vp)
{
    fake_backend.rsp_stores++;
    fake_backend.state.rsp = vp->gpr[GPR_RSP];
}

static uint8_t memtype_combine(const struct pt_leaf *leaf, struct hv_memtype_report *report)
{
    return (uint8_t)memtype_combine_ept((enum memtype)leaf->attr.memtype, leaf->attr.ignore_pat,
                                        report->pat_type);
}

static const struct backend table = {
    .name = "fake",
    .room = "fake",
    .state_get = state_get,
    .set_cr0 = set_cr0,
    .set_cr4 = set_cr4,
    .set_efer = set_efer,
    .set_pat = set_pat,
    .set_rflags = set_rflags,
    .load_rsp = load_rsp,
    .store_rsp = store_rsp,
    .memtype_combine = memtype_combine,
};

void host_interrupt_end(void)
{
    fake_backend.interrupts_ended++;
}

unsigned fake_backend_sets(void)
{
    return fake_backend.cr0_sets + fake_backend.cr4_sets + fake_backend.efer_sets +
           fake_backend.pat_sets;
}

/* ---- privileged instructions ---- */

#define REX_FIRST 0x40u
#define REX_LAST  0x4fu
#define REX_B     BIT(0)
#define ESCAPE    0x0fu
#define MODRM_REG BITS(5, 3)
#define MODRM_RM  BITS(2, 0)
#define DR6       6u

/* Returns the bytes of the instruction; 0: none that we know. */
static unsigned carry_out(const uint8_t *code, greg_t *gregs)
{
    static const int number[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX,
                                  REG_RSP, REG_RBP, REG_RSI, REG_RDI};
    bool rex = code[0] >= REX_FIRST && code[0] <= REX_LAST, upper = rex && (code[0] & REX_B);
    const uint8_t *at = code + rex;
    unsigned low = (unsigned)FIELD_GET(MODRM_RM, at[2]);
    greg_t *reg = &gregs[upper ? REG_R8 + (int)low : number[low]];

    if (at[0] != ESCAPE)
        return 0;
    switch (at[1]) {
    case 0x01: /* XSETBV: 0F 01 D1 */
        if (at[2] != 0xd1 || (uint32_t)gregs[REG_RCX] != 0)
            return 0;
        fake_cpu.xcr0 = (uint32_t)gregs[REG_RAX] | (uint64_t)gregs[REG_RDX] << 32;
        fake_cpu.xsetbvs++;
        return 3;
    case 0x09: /* WBINVD */
        fake_cpu.wbinvds++;
        return 2;
    case 0x21: /* MOV r64, DR */
    case 0x23: /* MOV DR, r64 */
        if (FIELD_GET(MODRM_REG, at[2]) != DR6)
            return 0;
        if (at[1] == 0x21)
            *reg = (greg_t)fake_cpu.dr6;
        else
            fake_cpu.dr6 = (uint64_t)*reg;
        return 3 + rex;
    default:
        return 0;
    }
}

static struct sigaction before_segv, before_ill;

static void on_signal(int number, siginfo_t *info, void *context)
{
    greg_t *gregs = ((ucontext_t *)context)->uc_mcontext.gregs;
    unsigned bytes = 0;

    /* A bad address: a bug of somebody's. A privileged instruction has none. */
    if (number == SIGILL || info->si_code != SEGV_MAPERR)
        bytes = carry_out((const uint8_t *)gregs[REG_RIP], gregs);
    if (bytes == 0) /* theirs to report, when it happens again */
        sigaction(number, number == SIGILL ? &before_ill : &before_segv, NULL);
    gregs[REG_RIP] += bytes;
}

void fake_cpu_catch(void)
{
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

    sigaction(SIGSEGV, &action, &before_segv);
    sigaction(SIGILL, &action, &before_ill);
}

void fake_backend_reset(void)
{
    fake_backend = (struct fake_backend){0};
    fake_cpu = (struct fake_cpu){0};
    hv_backend = &table;
}
