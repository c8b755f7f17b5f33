#define _GNU_SOURCE /* memfd_create, registers in ucontext.h */

#include "tests/unit/native_cpu.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "hv/base/assert.h"
#include "hv/base/bits.h"
#include "hv/base/types.h"

#define ARENA_LOW    0x20000000ull
#define ARENA_HIGH   0x300000000000ull
#define GS_BASE      0x1234560ull
#define JUMP_BYTES   6u
#define STUB_BYTES   32u /* at the end of the code, where the generator puts none */
#define TASK_END     0x7ffffffff000ull
#define LDT_WRITE    0x11
#define MOST_ENTRIES 12u
#define STACK_BYTES  0x20000u

/* What the assembly loads and stores. Only the offsets below are known to it. */
struct native_frame {
    uint64_t gpr[16];
    uint64_t rflags;   /* 128 */
    uint64_t target;   /* 136: of a near jump */
    uint64_t host_rsp; /* 144 */
    uint32_t far_ip;   /* 152: and of a far one */
    uint16_t far_cs;   /* 156 */
    uint16_t ds;       /* 158 */
    uint16_t es;       /* 160 */
    uint16_t ss;       /* 162 */
    uint16_t gs;       /* 164 */
    uint8_t segments;  /* 166: load them */
    uint8_t avx;       /* 167 */
    uint16_t host_ss;  /* 168 */
    uint16_t host_cs;
    uint8_t vector[16][32] ALIGNED(32); /* 192 */
};
_Static_assert(offsetof(struct native_frame, rflags) == 128, "known to the assembly");
_Static_assert(offsetof(struct native_frame, target) == 136, "known to the assembly");
_Static_assert(offsetof(struct native_frame, host_rsp) == 144, "known to the assembly");
_Static_assert(offsetof(struct native_frame, far_ip) == 152, "known to the assembly");
_Static_assert(offsetof(struct native_frame, ds) == 158, "known to the assembly");
_Static_assert(offsetof(struct native_frame, segments) == 166, "known to the assembly");
_Static_assert(offsetof(struct native_frame, avx) == 167, "known to the assembly");
_Static_assert(offsetof(struct native_frame, host_ss) == 168, "known to the assembly");
_Static_assert(offsetof(struct native_frame, vector) == 192, "known to the assembly");

extern struct native_frame native_frame;
struct native_frame native_frame;

extern void native_enter(void);
extern void native_far(void);
extern void native_leave(void);
extern void native_signal_entry(int number, siginfo_t *info, void *context);
extern void native_signal(int number, siginfo_t *info, void *context);

/*
 * native_enter loads everything and jumps to the case's code, through native_far when that is 16- or 32-bit. It ends in a jump to native_leave, and so does a
 * fault, through the signal handler: registers are then as the fault found them. The handler's entry clears AC
 * before C code runs; the kernel does not.
 */
/* clang-format off */
__asm__(
    ".pushsection .text\n"
    ".macro each16 what\n"
    "  .set n, 0\n"
    "  .irp reg, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
    "    \\what \\reg\n"
    "  .endr\n"
    ".endm\n"
    ".macro load_ymm r\n vmovdqa native_frame+192+32*\\r(%rip), %ymm\\r\n .endm\n"
    ".macro save_ymm r\n vmovdqa %ymm\\r, native_frame+192+32*\\r(%rip)\n .endm\n"
    ".macro load_xmm r\n movdqa native_frame+192+32*\\r(%rip), %xmm\\r\n .endm\n"
    ".macro save_xmm r\n movdqa %xmm\\r, native_frame+192+32*\\r(%rip)\n .endm\n"
    ".globl native_enter, native_far, native_leave, native_signal_entry\n"
    ".hidden native_enter, native_far, native_leave, native_signal_entry\n"
    "native_enter:\n"
    "  push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n push %r15\n pushfq\n"
    "  mov %rsp, native_frame+144(%rip)\n"
    "  cmpb $0, native_frame+167(%rip)\n"
    "  je 1f\n"
    "  each16 load_ymm\n"
    "  jmp 2f\n"
    "1: each16 load_xmm\n"
    "2: cmpb $0, native_frame+166(%rip)\n"
    "  jne 3f\n"
    "  pushq native_frame+128(%rip)\n popfq\n"
    "  jmp 4f\n"
    "3: movw native_frame+158(%rip), %ds\n"
    "  movw native_frame+160(%rip), %es\n"
    "  movw native_frame+164(%rip), %gs\n"
    "  pushq native_frame+128(%rip)\n popfq\n"
    "  movw native_frame+162(%rip), %ss\n"
    "4: mov native_frame+0(%rip), %rax\n"
    "  mov native_frame+8(%rip), %rcx\n"
    "  mov native_frame+16(%rip), %rdx\n"
    "  mov native_frame+24(%rip), %rbx\n"
    "  mov native_frame+32(%rip), %rsp\n"
    "  mov native_frame+40(%rip), %rbp\n"
    "  mov native_frame+48(%rip), %rsi\n"
    "  mov native_frame+56(%rip), %rdi\n"
    "  mov native_frame+64(%rip), %r8\n"
    "  mov native_frame+72(%rip), %r9\n"
    "  mov native_frame+80(%rip), %r10\n"
    "  mov native_frame+88(%rip), %r11\n"
    "  mov native_frame+96(%rip), %r12\n"
    "  mov native_frame+104(%rip), %r13\n"
    "  mov native_frame+112(%rip), %r14\n"
    "  mov native_frame+120(%rip), %r15\n"
    "  jmp *native_frame+136(%rip)\n"
    "native_far:\n"
    "  ljmpl *native_frame+152(%rip)\n"
    "native_leave:\n"
    "  mov %rax, native_frame+0(%rip)\n"
    "  mov %rcx, native_frame+8(%rip)\n"
    "  mov %rdx, native_frame+16(%rip)\n"
    "  mov %rbx, native_frame+24(%rip)\n"
    "  mov %rsp, native_frame+32(%rip)\n"
    "  mov %rbp, native_frame+40(%rip)\n"
    "  mov %rsi, native_frame+48(%rip)\n"
    "  mov %rdi, native_frame+56(%rip)\n"
    "  mov %r8, native_frame+64(%rip)\n"
    "  mov %r9, native_frame+72(%rip)\n"
    "  mov %r10, native_frame+80(%rip)\n"
    "  mov %r11, native_frame+88(%rip)\n"
    "  mov %r12, native_frame+96(%rip)\n"
    "  mov %r13, native_frame+104(%rip)\n"
    "  mov %r14, native_frame+112(%rip)\n"
    "  mov %r15, native_frame+120(%rip)\n"
    "  movw native_frame+168(%rip), %ss\n"
    "  mov native_frame+144(%rip), %rsp\n"
    "  pushfq\n popq native_frame+128(%rip)\n"
    "  popfq\n"
    "  cmpb $0, native_frame+166(%rip)\n"
    "  je 5f\n"
    "  xor %eax, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %gs\n"
    "5: cmpb $0, native_frame+167(%rip)\n"
    "  je 6f\n"
    "  each16 save_ymm\n"
    "  vzeroupper\n"
    "  jmp 7f\n"
    "6: each16 save_xmm\n"
    "7: pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n"
    "  ret\n"
    "native_signal_entry:\n"
    "  pushfq\n andq $~0x40000, (%rsp)\n popfq\n"
    "  jmp native_signal\n"
    ".popsection\n");
/* clang-format on */

static uint8_t *memory; /* the arena's pages again, all writable */
static uint64_t gs_base_now;
static volatile sig_atomic_t running;
static int last_trap;
static uint64_t last_error, last_address, last_rip;

/* ---- signals ---- */

void native_signal(int number, siginfo_t *info, void *context)
{
    ucontext_t *at = context;
    greg_t *regs = at->uc_mcontext.gregs;

    (void)info;
    if (!running) {
        signal(number,
               SIG_DFL); /* an error of the test itself: it happens again and ends the program */
        return;
    }
    last_trap = (int)regs[REG_TRAPNO];
    last_error = (uint64_t)regs[REG_ERR];
    last_address = (uint64_t)regs[REG_CR2];
    last_rip = (uint64_t)regs[REG_RIP];
    regs[REG_RIP] = (greg_t)(uintptr_t)native_leave;
    /* CS, GS, FS, SS from bit 0 on, as Linux packs them. */
    regs[REG_CSGSFS] = (greg_t)(((uint64_t)regs[REG_CSGSFS] & 0x0000ffffffff0000ull) |
                                native_frame.host_cs | (uint64_t)native_frame.host_ss << 48);
}

static void handle(int number)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};

    action.sa_sigaction = native_signal_entry;
    ASSERT(sigaction(number, &action, NULL) == 0);
}

static void open_signals(void)
{
    stack_t stack = {.ss_size = STACK_BYTES};

    stack.ss_sp =
        mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT(stack.ss_sp != MAP_FAILED);
    ASSERT(sigaltstack(&stack, NULL) == 0);
    handle(SIGSEGV);
    handle(SIGBUS);
    handle(SIGILL);
    handle(SIGTRAP);
}

/* ---- pages ---- */

static void *map_at(uint64_t address, size_t bytes, int rights, int file, uint64_t offset)
{
    void *at =
        mmap((void *)(uintptr_t)address, bytes, rights,
             MAP_SHARED | MAP_POPULATE | (address ? MAP_FIXED_NOREPLACE : 0), file, (off_t)offset);

    ASSERT(at != MAP_FAILED && (address == 0 || at == (void *)(uintptr_t)address));
    return at;
}

static void open_arena(int file, uint64_t arena)
{
    for (unsigned i = 0; i < ARENA_PAGES; i++) {
        int rights = arena_rights[i] & INSN_WRITES  ? PROT_READ | PROT_WRITE
                     : arena_rights[i] & INSN_READS ? PROT_READ
                                                    : PROT_NONE;

        map_at(arena + i * PAGE_BYTES, PAGE_BYTES, rights, file, i * PAGE_BYTES);
    }
    map_at(arena + ARENA_TO_CODE, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, file,
           ARENA_BYTES);
}

static void open_pages(void)
{
    int file = memfd_create("operands", 0);

    ASSERT(file >= 0 && ftruncate(file, ARENA_BYTES + CODE_BYTES) == 0);
    memory = map_at(0, ARENA_BYTES, PROT_READ | PROT_WRITE, file, 0);
    open_arena(file, ARENA_LOW);
    open_arena(file, ARENA_HIGH);
    close(file);
}

/* ---- what there is ---- */

static bool line_has(const char *path, const char *word)
{
    FILE *file = fopen(path, "r");
    char line[8192];
    bool found = false;

    while (file != NULL && !found && fgets(line, sizeof(line), file) != NULL)
        found = strstr(line, word) != NULL;
    if (file != NULL)
        fclose(file);
    return found;
}

static void look(struct diff_world *world)
{
    unsigned a, b, c, d;
    uint32_t xcr0 = 0, high;

    ASSERT(__get_cpuid(1, &a, &b, &c, &d));
    world->needs[NEED_NOTHING] = world->needs[NEED_TEST_1] = true;
    world->needs[NEED_SSE3] = (c & BIT(0)) != 0;
    world->needs[NEED_CX16] = (c & BIT(13)) != 0;
    world->needs[NEED_SSE41] = (c & BIT(19)) != 0;
    world->needs[NEED_MOVBE] = (c & BIT(22)) != 0;
    if (c & BIT(27))
        __asm__("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
    world->avx = (c & BIT(28)) && (xcr0 & 6) == 6;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
        world->avx2 = world->avx && (b & BIT(5));
}

const char *native_missing(const struct diff_world *world)
{
    static char text[128];

    snprintf(text, sizeof(text), "%s%s%s%s%s%s%s", world->needs[NEED_MOVBE] ? "" : " movbe",
             world->needs[NEED_CX16] ? "" : " cx16", world->needs[NEED_SSE3] ? "" : " sse3",
             world->needs[NEED_SSE41] ? "" : " sse4.1", world->avx ? "" : " avx",
             world->avx2 ? "" : " avx2",
             world->modes[INSN_32] ? "" : " modify_ldt, so 16- and 32-bit code");
    return text;
}

static bool has_ldt(void)
{
    struct user_desc desc = {.useable = 1};

    return syscall(SYS_modify_ldt, LDT_WRITE, &desc, sizeof(desc)) == 0;
}

static uint64_t fs_base(void)
{
    uint64_t base = 0;

    ASSERT(syscall(SYS_arch_prctl, ARCH_GET_FS, &base) == 0);
    return base;
}

void native_open(struct diff_world *world)
{
    *world = (struct diff_world){.arenas = {ARENA_LOW, ARENA_HIGH}, .arena_count = 2};
    look(world);
    world->modes[INSN_64] = true;
    world->modes[INSN_16] = world->modes[INSN_32] = has_ldt();
    world->fs_base = fs_base();
    world->gs_base = GS_BASE;
    world->alignment_check = true;
    world->non_canonical = !line_has("/proc/cpuinfo", " la57"); /* else other addresses are */
    world->rex_noise = true;
    world->limits = true;
    /* With these the kernel makes a locked access that crosses a line wait for milliseconds. */
    world->whole_locks = line_has("/proc/cpuinfo", "split_lock_detect");
    open_pages();
    open_signals();
    __asm__("movw %%ss, %0" : "=m"(native_frame.host_ss));
    __asm__("movw %%cs, %0" : "=m"(native_frame.host_cs));
    native_frame.avx = world->avx;
}

void native_close(void)
{
    ASSERT(munmap((void *)ARENA_LOW, ARENA_TO_CODE + CODE_BYTES) == 0);
    ASSERT(munmap((void *)ARENA_HIGH, ARENA_TO_CODE + CODE_BYTES) == 0);
    ASSERT(munmap(memory, ARENA_BYTES) == 0);
}

/* ---- code ---- */

/* JMP [RIP + disp32] to native_leave, through eight bytes behind it, which AC wants aligned. */
static void put_jump(uint64_t code)
{
    uint64_t leave = (uint64_t)(uintptr_t)native_leave, end = code + JUMP_BYTES;
    uint64_t pointer = ALIGN_UP(end, 8);
    uint8_t jump[JUMP_BYTES] = {0xff, 0x25, (uint8_t)(pointer - end)};

    memcpy((void *)(uintptr_t)code, jump, sizeof(jump));
    memcpy((void *)(uintptr_t)pointer, &leave, sizeof(leave));
}

/* JMP ptr16:32, with 66h in 16-bit code, to such a jump in 64-bit code below 4 GiB. */
static void put_far_jump(uint64_t code, uint8_t mode)
{
    uint8_t jump[8] = {0x66, 0xea};
    uint32_t to = (uint32_t)(ARENA_LOW + ARENA_TO_CODE + CODE_BYTES - STUB_BYTES);
    unsigned skip = mode == INSN_16 ? 0 : 1;

    memcpy(jump + 2, &to, 4);
    memcpy(jump + 6, &native_frame.host_cs, 2);
    memcpy((void *)(uintptr_t)code, jump + skip, sizeof(jump) - skip);
    put_jump(to);
}

/* ---- segments ---- */

/* The entry of each segment in the LDT; FS stays the C library's. */
static void set_segment(unsigned i, const struct emu_segment *seg)
{
    static struct emu_segment now[MOST_ENTRIES];
    struct user_desc desc = {.entry_number = i, .useable = 1};

    if (memcmp(&now[i], seg, sizeof(*seg)) == 0 || (seg->attributes & SEGMENT_UNUSABLE))
        return;
    now[i] = *seg;
    desc.base_addr = (unsigned)seg->base;
    desc.limit_in_pages = (seg->attributes & ATTR_PAGES) != 0;
    desc.limit = desc.limit_in_pages ? seg->limit >> PAGE_SHIFT : seg->limit;
    desc.seg_32bit = (seg->attributes & SEGMENT_BIG) != 0;
    desc.contents = seg->attributes >> 2 & 3;
    desc.read_exec_only = !(seg->attributes & SEGMENT_WRITABLE);
    ASSERT(syscall(SYS_modify_ldt, LDT_WRITE, &desc, sizeof(desc)) == 0);
}

/* Each mode has its own, so that they need not be written each time. */
static unsigned entry_of(const struct diff_case *c, unsigned i)
{
    return i + (c->mode == INSN_16 ? 6 : 0);
}

static uint16_t selector(const struct diff_case *c, unsigned i)
{
    if (c->seg[i].attributes & SEGMENT_UNUSABLE)
        return 0;
    return (uint16_t)(entry_of(c, i) << 3 | 7); /* LDT, RPL 3 */
}

static void set_gs(uint64_t base)
{
    if (gs_base_now == base)
        return;
    ASSERT(syscall(SYS_arch_prctl, ARCH_SET_GS, base) == 0);
    gs_base_now = base;
}

static void set_segments(const struct diff_case *c)
{
    struct native_frame *frame = &native_frame;

    frame->segments = c->mode != INSN_64;
    if (!frame->segments) {
        set_gs(c->seg[INSN_GS].base);
        frame->target = c->rip;
        return;
    }
    for (unsigned i = 0; i < ARRAY_COUNT(c->seg); i++)
        if (i != INSN_FS)
            set_segment(entry_of(c, i), &c->seg[i]);
    frame->es = selector(c, INSN_ES);
    frame->ss = selector(c, INSN_SS);
    frame->ds = selector(c, INSN_DS);
    frame->gs = selector(c, INSN_GS);
    frame->far_cs = selector(c, INSN_CS);
    frame->far_ip = (uint32_t)c->rip;
    frame->target = (uint64_t)(uintptr_t)native_far;
    gs_base_now = ~0ull; /* loading the selector changes it */
}

/* ---- running ---- */

static void put_code(const struct diff_case *c)
{
    uint64_t code = c->rip + (c->mode == INSN_64 ? 0 : c->seg[INSN_CS].base);

    memcpy((void *)(uintptr_t)code, c->code, c->length);
    if (c->mode == INSN_64)
        put_jump(code + c->length);
    else
        put_far_jump(code + c->length, c->mode);
}

static void copy_memory(uint8_t *to, const uint8_t *from)
{
    for (unsigned i = 0; i < ARENA_PAGES; i++)
        if (arena_rights[i] != 0)
            memcpy(to + i * PAGE_BYTES, from + i * PAGE_BYTES, PAGE_BYTES);
}

/* The entry of a page that can be read may be empty for a while; then a fault says "absent", and not "rights". */
static bool was_absent(const struct diff_case *c)
{
    uint64_t at = last_address - c->arena;

    if (last_trap != VECTOR_PF || (last_error & 1) || at >= ARENA_BYTES ||
        arena_rights[at / PAGE_BYTES] == 0)
        return false;
    (void)*(volatile uint8_t *)(uintptr_t)last_address;
    return true;
}

static void run_once(const struct diff_case *c)
{
    struct native_frame *frame = &native_frame;

    copy_memory(memory, c->memory);
    memcpy(frame->gpr, c->gpr, sizeof(frame->gpr));
    memcpy(frame->vector, c->vector, sizeof(frame->vector));
    frame->rflags = c->rflags | BIT(9); /* interrupts stay on */
    set_segments(c);
    put_code(c);
    last_trap = NO_FAULT;
    running = 1;
    native_enter();
    running = 0;
}

void native_run(const struct diff_case *c, struct diff_outcome *out)
{
    do
        run_once(c);
    while (was_absent(c));
    memcpy(out->gpr, native_frame.gpr, sizeof(out->gpr));
    memcpy(out->vector, native_frame.vector, sizeof(out->vector));
    out->rflags = native_frame.rflags;
    out->fault = last_trap;
    out->error = (uint32_t)last_error;
    out->address = last_address;
    if (last_trap == VECTOR_PF && last_address >= TASK_END)
        out->error &= ~1u; /* Linux says "rights" of all that is not a process's */
    out->rip = last_trap == NO_FAULT ? c->rip + c->length : last_rip;
    memcpy(out->memory, c->memory, ARENA_BYTES);
    copy_memory(out->memory, memory);
}
