/*
 * Loads between magic breaks, one for each type, IPAT and leaf size: a debugger that shows what the CPU
 * walked can check each leaf without the hypervisor's help.
 */
#include "tests/guest/guest.h"

#define AT (LAB_FREE_PAGE + 512u)

static unsigned number;

static void one(unsigned t, unsigned ipat, bool large)
{
    uint64_t pages = large ? 512 : 1, gva = GVA_BAR2 + AT * PAGE;
    uint32_t flags = F_TYPE(t) | F_WRITE | (ipat ? F_IPAT : 0u);

    if (!type_legal(ipat != 0))
        return;
    number++;
    if (!expect_status("create", range_create(AT, pages, flags, lab.main, AT), HV_OK))
        return;
    say("# oracle %u gva=0x%lx gpa=0x%lx type=%s ipat=%u level=%u\n", number, gva,
        lab.base[2] + AT * PAGE, type_name[t], ipat,
        large && (lab.caps & LAB_CAP_LARGE_2M) ? 2u : 1u);
    invlpg(gva);
    __asm__ volatile("xchgw %%bx, %%bx\n\tmovl (%0), %%eax\n\txchgw %%bx, %%bx" ::"r"(gva)
                     : "eax", "memory");
    expect_status("destroy", range_destroy(AT), HV_OK);
}

void oracle_run(void)
{
    say("TAP version 13\n1..1\n");
    if (!lab.present) {
        say("ok 1 - oracle # SKIP no lab device\n");
        tap_done(0, 0, 1);
        return;
    }
    for (unsigned large = 0; large < 2; large++)
        for (unsigned t = 0; t < 5; t++)
            for (unsigned ipat = 0; ipat < 2; ipat++)
                one(t, ipat, large);
    say("%sok 1 - oracle: %u loads\n", failed() ? "not " : "", number);
    tap_done(!failed(), failed(), 0);
}
