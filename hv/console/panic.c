#include "hv/base/assert.h"
#include "hv/console/report.h"
#include "hv/mem/space.h"
#include "hv/vm/backend.h"
#include "hv/x86/cpu.h"
#include "hv/x86/regs.h"

static const char *const gpr_names[GPR_COUNT] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp",
                                                 "rsi", "rdi", "r8",  "r9",  "r10", "r11",
                                                 "r12", "r13", "r14", "r15"};

static const char *const vector_names[VECTOR_COUNT] = {
    "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9",   "#TS",
    "#NP", "#SS", "#GP", "#PF", "15",  "#MF", "#AC", "#MC", "#XM", "#VE", "#CP",
    "22",  "23",  "24",  "25",  "26",  "27",  "28",  "29",  "30",  "31"};

static bool panicking;

/* Everything about the guest that ran, when one did. */
static void print_guest(void)
{
    const struct vp *vp = this_cpu()->running;

    if (!vp || !hv_backend)
        return;
    report_guest(vp);
    hv_backend->report(vp);
}

NORETURN static void stop_once(bool first)
{
    if (first)
        print_guest();
    log_line("panic",
             "the hypervisor has stopped; this is a bug of it: please report the lines above");
    machine_stop(true);
}

void assert_fail(const char *expr, const char *file, int line)
{
    bool first = !__atomic_exchange_n(&panicking, true, __ATOMIC_SEQ_CST);

    log_panic_on();
    log_line("panic", "assertion failed: %s (%s:%d) on CPU %u, caller %p", expr, file, line,
             this_cpu()->index, __builtin_return_address(0));
    stop_once(first);
}

static void print_frame(const struct exception_frame *frame)
{
    log_line("panic",
             "%s error %#llx on CPU %u, cs:rip %#llx:%#llx rflags %#llx ss:rsp %#llx:%#llx",
             vector_names[frame->vector & (VECTOR_COUNT - 1)], (unsigned long long)frame->error,
             this_cpu()->index, (unsigned long long)frame->cs, (unsigned long long)frame->rip,
             (unsigned long long)frame->rflags, (unsigned long long)frame->ss,
             (unsigned long long)frame->rsp);
    for (unsigned i = 0; i < GPR_COUNT; i += 4)
        log_line("panic", "%-3s %#18llx  %-3s %#18llx  %-3s %#18llx  %-3s %#18llx", gpr_names[i],
                 (unsigned long long)frame->gpr[i], gpr_names[i + 1],
                 (unsigned long long)frame->gpr[i + 1], gpr_names[i + 2],
                 (unsigned long long)frame->gpr[i + 2], gpr_names[i + 3],
                 (unsigned long long)frame->gpr[i + 3]);
    log_line("panic", "cr0 %#llx cr2 %#llx cr3 %#llx cr4 %#llx", (unsigned long long)read_cr0(),
             (unsigned long long)read_cr2(), (unsigned long long)read_cr3(),
             (unsigned long long)read_cr4());
    if (frame->vector == VECTOR_PF)
        space_dump_walk(HVA(read_cr2()));
}

void exception_entry(struct exception_frame *frame)
{
    bool first;

    if (frame->vector == VECTOR_NMI) {
        this_cpu()->nmis++;
        return;
    }
    first = !__atomic_exchange_n(&panicking, true, __ATOMIC_SEQ_CST);
    log_panic_on();
    if (first)
        print_frame(frame);
    else
        log_line("panic", "%s at %#llx while a panic was being reported",
                 vector_names[frame->vector % VECTOR_COUNT], (unsigned long long)frame->rip);
    stop_once(first);
}
