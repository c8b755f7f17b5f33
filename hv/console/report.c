#include "hv/console/report.h"

#include "hv/mmio/insn.h"
#include "hv/vm/backend.h"
#include "hv/vm/walk.h"
#include "hv/x86/regs.h"

#define ULL(x) ((unsigned long long)(x))

static void print_registers(const struct vp *vp, const struct vp_state *s)
{
    const uint64_t *g = vp->gpr;

    log_line("vm", "  rip %#llx rsp %#llx rflags %#llx cs %#x/%#x", ULL(s->rip), ULL(s->rsp),
             ULL(s->rflags), s->seg[INSN_CS].selector, s->seg[INSN_CS].attributes);
    log_line("vm", "  rax %#llx rcx %#llx rdx %#llx rbx %#llx", ULL(g[GPR_RAX]), ULL(g[GPR_RCX]),
             ULL(g[GPR_RDX]), ULL(g[GPR_RBX]));
    log_line("vm", "  rbp %#llx rsi %#llx rdi %#llx r8 %#llx", ULL(g[GPR_RBP]), ULL(g[GPR_RSI]),
             ULL(g[GPR_RDI]), ULL(g[GPR_R8]));
    log_line("vm", "  r9 %#llx r10 %#llx r11 %#llx r12 %#llx", ULL(g[9]), ULL(g[10]), ULL(g[11]),
             ULL(g[12]));
    log_line("vm", "  r13 %#llx r14 %#llx r15 %#llx", ULL(g[13]), ULL(g[14]), ULL(g[15]));
    log_line("vm", "  cr0 %#llx cr3 %#llx cr4 %#llx efer %#llx pat %#llx", ULL(s->cr0), ULL(s->cr3),
             ULL(s->cr4), ULL(s->efer), ULL(s->pat));
}

static void print_instruction(const struct insn *insn)
{
    log_line("vm", "  decoded: %s, %u bytes of memory, instruction of %u bytes", insn_name(insn),
             insn->bytes, insn->length);
}

static void print_code(struct vm *vm, const struct guest_paging *paging,
                       const struct vp_state *state)
{
    uint64_t rip = vp_code_address(state);
    uint8_t code[INSN_MAX_BYTES];
    char text[INSN_MAX_BYTES * 3 + 1] = "";
    struct guest_walk walk;
    struct insn insn;
    unsigned bytes = (unsigned)MIN(INSN_MAX_BYTES, PAGE_BYTES - (rip & PAGE_MASK));

    if (guest_walk(vm, paging, GVA(rip), &walk) != WALK_OK ||
        !guest_physical_read(vm, walk.gpa, code, bytes)) {
        log_line("vm", "  code at %#llx cannot be read", ULL(rip));
        return;
    }
    for (unsigned i = 0; i < bytes; i++)
        format(text + i * 3, 4, " %02x", code[i]);
    log_line("vm", "  code%s", text);
    if (insn_decode(code, bytes, vp_code_mode(state), &insn) == INSN_OK)
        print_instruction(&insn);
}

/* Why an access of the guest's to `gva` has its memory type. */
static void print_memtype(struct vp *vp, gva_t gva)
{
    struct hv_memtype_report type;
    char text[HV_MEMTYPE_TEXT_BYTES];

    if (hv_effective_memtype(vp, gva, &type) != HV_OK)
        return;
    hv_memtype_explain(&type, text, sizeof(text));
    log_line("vm", "  memory type: %s", text);
}

/* Both translations of the address in question. */
static void print_walks(struct vm *vm, const struct guest_paging *paging,
                        const struct hv_exit_memory *m)
{
    struct guest_walk walk;

    if (!m->gla_valid)
        log_line("vm", "  the CPU does not tell the linear address");
    else if (guest_walk(vm, paging, m->gla, &walk) == WALK_OK)
        log_line("vm", "  guest walk: %#llx -> %#llx, entry %#llx at level %u", ULL(m->gla.v),
                 ULL(walk.gpa.v), ULL(walk.entry), walk.level);
    else
        log_line("vm", "  guest walk: %#llx does not translate", ULL(m->gla.v));
    pt_dump_walk(&vm->tables, m->gpa.v, "vm");
    if (m->gla_valid)
        print_memtype(vm->vp, m->gla);
}

static void print_access(const struct hv_exit_memory *m)
{
    log_line("vm", "  access %c%c%c to gpa %#llx%s", m->access & HV_ACCESS_READ ? 'R' : '-',
             m->access & HV_ACCESS_WRITE ? 'W' : '-', m->access & HV_ACCESS_FETCH ? 'X' : '-',
             ULL(m->gpa.v), m->final ? "" : ", during a guest table walk");
}

void report_guest(const struct vp *vp)
{
    struct vp_state state;
    struct guest_paging paging;
    struct guest_walk walk;

    hv_backend->state_get(vp, &state);
    paging = vp_paging(&state);
    print_registers(vp, &state);
    print_code(vp->vm, &paging, &state);
    if (guest_walk(vp->vm, &paging, GVA(vp_code_address(&state)), &walk) == WALK_OK)
        pt_dump_walk(&vp->vm->tables, walk.gpa.v, "vm");
}

void report_stop(const struct vm *vm)
{
    const struct hv_exit *exit = &vm->stop_exit;
    struct vp_state state;
    struct guest_paging paging;
    bool memory;

    if (vm->stop == VM_STOP_GUEST_EXIT || vm->stop == VM_STOP_POWER_OFF)
        return;
    memory = exit->reason == HV_EXIT_MEMORY;
    hv_backend->state_get(vm->vp, &state);
    paging = vp_paging(&state);
    log_line("vm", "VM %u: %s", vm->id, vm_stop_text(vm->stop));
    /* Those come between two exits, or from a port's handler. */
    if (vm->stop != VM_STOP_PAUSED && vm->stop != VM_STOP_RESET)
        log_line("vm", "  exit: %s (raw reason %#x, info %#llx)", hv_exit_name(exit->reason),
                 exit->raw_reason, ULL(exit->raw_info));
    if (memory)
        print_access(&exit->memory);
    print_registers(vm->vp, &state);
    print_code(vm->vp->vm, &paging, &state);
    if (memory)
        print_walks(vm->vp->vm, &paging, &exit->memory);
    if (vm->stop == VM_STOP_ENTRY_FAILURE || vm->stop == VM_STOP_UNEXPECTED)
        hv_backend->report(vm->vp);
}

void report_stats(const struct vm *vm)
{
    const struct vm_stats *s = &vm->stats;
    uint64_t all = 0;

    for (unsigned i = 0; i < HV_EXIT_COUNT; i++) {
        all += s->exits[i];
        if (s->exits[i])
            log_line("stats", "exits %-20s %12llu", hv_exit_name(i), ULL(s->exits[i]));
    }
    log_line("stats", "exits %-20s %12llu", "all", ULL(all));
    log_line("stats",
             "trapped reads %llu, writes %llu; unclaimed %llu, not emulated %llu, spurious %llu",
             ULL(s->trapped_reads), ULL(s->trapped_writes), ULL(s->unclaimed), ULL(s->unsupported),
             ULL(s->spurious));
    log_line(
        "stats",
        "shoot-downs %llu, invalidations %llu; table pages %llu; leaves 4K %llu 2M %llu 1G %llu",
        ULL(s->flushes), ULL(s->invalidations), ULL(vm->pool.used_tables),
        ULL(vm->tables.leaves[1]), ULL(vm->tables.leaves[2]), ULL(vm->tables.leaves[3]));
}

void report_layout(const struct vm *vm)
{
    for (unsigned i = 0; i < vm->ram_count; i++) {
        const struct vm_ram *ram = &vm->ram[i];

        log_line("vm", "RAM  %#11llx-%#11llx  %6llu MiB  RWX WB", ULL(ram->gpa.v),
                 ULL(ram->gpa.v + ram->bytes - 1), ULL(ram->bytes >> 20));
    }
}
