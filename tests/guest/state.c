/* Instructions run in a state that the check chose, and what the device must have seen of them. */
#include "tests/guest/guest.h"

#define CR4_OSFXSR     0x00200ull
#define CR4_OSXMMEXCPT 0x00400ull
#define CR4_OSXSAVE    0x40000ull
#define XCR0_ALL       7ull

void state_run(struct cpu_state *state, uint64_t entry, unsigned vector_bytes);
void state_enter(struct cpu_state *state, const uint64_t frame[6]);

static unsigned width;   /* of the vector registers that may be used now */
static unsigned enabled; /* what they may be at most */
static uint64_t cr4_before, xcr0_before;

bool cpu_has(enum need need)
{
    switch (need) {
    case NEEDS_NOTHING:
        return true;
    case NEEDS_MOVBE:
        return cpuid(1, 0).c >> 22 & 1;
    case NEEDS_CX16:
        return cpuid(1, 0).c >> 13 & 1;
    case NEEDS_SSE3:
        return cpuid(1, 0).c & 1;
    case NEEDS_SSE41:
        return cpuid(1, 0).c >> 19 & 1;
    case NEEDS_AVX:
        return cpuid(1, 0).c >> 28 & 1;
    case NEEDS_AVX2:
        return cpu_has(NEEDS_AVX) && (cpuid(7, 0).b >> 5 & 1);
    }
    return false;
}

void vectors_on(void)
{
    bool avx = cpu_has(NEEDS_AVX);

    cr4_before = read_cr4();
    (void)try_write_cr4(cr4_before | CR4_OSFXSR | CR4_OSXMMEXCPT | (avx ? CR4_OSXSAVE : 0));
    if (avx) {
        xcr0_before = xgetbv(0);
        (void)try_xsetbv(0, XCR0_ALL);
    }
    width = enabled = avx ? 32 : 16;
}

void vectors_off(void)
{
    if (enabled == 32)
        (void)try_xsetbv(0, xcr0_before);
    width = enabled = 0;
    (void)try_write_cr4(cr4_before);
}

void vectors_use(bool yes)
{
    width = yes ? enabled : 0;
}

unsigned vectors_width(void)
{
    return width;
}

struct job {
    struct cpu_state *state;
    uint64_t entry;
};

static void run_job(void *arg)
{
    const struct job *job = arg;

    state_run(job->state, job->entry, width);
}

int state_try(struct cpu_state *state, uint64_t entry)
{
    struct job job = {state, entry};
    int vector = trap_try(run_job, &job);

    if (vector >= 0) {
        memcpy(state->gpr, trap_last.gpr, sizeof(state->gpr));
        state->rflags = trap_last.rflags;
    }
    return vector;
}

/* ---- code of any kind ---- */

static uint8_t code_room[4096] __attribute__((aligned(4096)));

struct entrance {
    struct cpu_state *state;
    uint64_t frame[6];
};

static void enter(void *arg)
{
    const struct entrance *e = arg;

    state_enter(e->state, e->frame);
}

int code_try(struct cpu_state *state, enum code_kind kind, const uint8_t *code)
{
    static const uint8_t selectors[][2] = {[KERNEL64] = {0x08, 0x10},
                                           [KERNEL32] = {0x18, 0x10},
                                           [KERNEL16] = {8 * GDT_FREE, 8 * (GDT_FREE + 1)},
                                           [USER64] = {0x33, 0x2b},
                                           [USER32] = {0x23, 0x2b}};
    uint64_t at = (uint64_t)(uintptr_t)code_room, end;
    struct entrance e = {state, {state->gpr[7]}};
    int vector;

    memcpy(code_room, code + 1, code[0]);
    code_room[code[0]] = 0x0f; /* UD2 */
    code_room[code[0] + 1] = 0x0b;
    if (kind == USER64 || kind == USER32) {
        map(GVA_USER_CODE, at, PAGE, PAGE, 0);
        allow_user(GVA_USER_CODE, PAGE);
        at = GVA_USER_CODE;
    }
    if (kind == KERNEL16)
        at = 0;
    end = at + code[0];
    e.frame[1] = at;
    e.frame[2] = selectors[kind][0];
    e.frame[3] = state->rflags;
    e.frame[4] = state->gpr[4];
    e.frame[5] = selectors[kind][1];
    (void)cpuid(0, 0);
    vector = trap_try(enter, &e);
    memcpy(state->gpr, trap_last.gpr, sizeof(state->gpr));
    state->rflags = trap_last.rflags & ~FLAG_RF;
    return vector == VEC_UD && trap_last.rip == end ? -1 : vector;
}

void segment_set(unsigned index, uint64_t base, uint32_t limit, uint32_t flags)
{
    guest_gdt[index] = (limit & 0xffff) | (base & 0xffffff) << 16 | (uint64_t)flags << 40 |
                       (uint64_t)(limit >> 16 & 0xf) << 48 | (base >> 24 & 0xff) << 56;
}

void segments_16(uint64_t data_base, uint32_t data_limit)
{
    segment_set(GDT_FREE, (uint64_t)(uintptr_t)code_room, 0xfff, 0x009b);
    segment_set(GDT_FREE + 1, data_base, data_limit, 0x0093);
}

static uint64_t random_word(uint32_t *seed)
{
    uint64_t high = random_next(seed);

    return high << 32 | random_next(seed);
}

void state_random(struct cpu_state *state, uint32_t *seed)
{
    for (unsigned g = 0; g < 16; g++)
        state->gpr[g] = random_word(seed);
    state->rflags = (random_next(seed) & FLAGS_ARITHMETIC) | 2;
    for (unsigned v = 0; v < 16 && width != 0; v++)
        for (unsigned k = 0; k < 4; k++)
            state->vector[v][k] = random_word(seed);
}

uint64_t digest_pieces(uint64_t digest, uint64_t offset, unsigned bytes, const uint8_t *content,
                       bool write)
{
    for (unsigned done = 0, n; done < bytes; done += n) {
        uint64_t value = 0;

        for (n = 8; n > bytes - done || (offset + done) % n != 0;)
            n /= 2;
        for (unsigned k = 0; k < n; k++)
            value |= (uint64_t)content[done + k] << (8 * k);
        digest = LAB_DIGEST_STEP(digest, LAB_DIGEST_HEAD(2, offset + done, n, write));
        digest = LAB_DIGEST_STEP(digest, value);
    }
    return digest;
}

void digest_start(void)
{
    store(GVA_REGS + LAB_DIGEST, 8, 0);
}

uint64_t digest_now(void)
{
    return load(GVA_REGS + LAB_DIGEST, 8);
}

void say_traps(uint64_t since)
{
    uint64_t now = lab_traps();
    struct trap_record t;

    for (; since < now && trap_record(since, &t); since++)
        say("# %lu: %s %lu bytes at 0x%lx: 0x%lx\n", since, t.write ? "write" : "read", t.bytes,
            t.offset, t.value);
}
