#include "tests/unit/mode_kit.h"

#include <string.h>

#define TABLES \
    0x3e0000ull /* the top one, a directory for PAE, and the operand's and the code's tables */
#define DIR     (TABLES + PAGE_BYTES)
#define TABLE_1 (TABLES + 2 * PAGE_BYTES)
#define TABLE_2 (TABLES + 3 * PAGE_BYTES)

#define CODE_64 0xa09bu
#define CODE_32 0xc09bu
#define CODE_16 0x809bu
#define DATA_32 0xc093u
#define DATA_16 0x0093u

unsigned mode_length;

static enum mode now;
static uint64_t operand_gpa;

static uint64_t code_linear(void)
{
    return now >= MODE_FLAT ? KIT_CODE_RAM : KIT_CODE;
}

uint64_t mode_linear(unsigned at)
{
    return (now >= MODE_FLAT ? operand_gpa : KIT_DATA) + at;
}

uint64_t mode_rip(void)
{
    return now == MODE_64 ? KIT_CODE + MODE_CODE : MODE_CODE;
}

uint64_t mode_data(void)
{
    return now == MODE_64 ? KIT_DATA : 0;
}

enum insn_mode mode_width(void)
{
    if (now == MODE_64)
        return INSN_64;
    return now == MODE_COMPAT_16 || now == MODE_REAL ? INSN_16 : INSN_32;
}

static void segments(void)
{
    static const uint32_t code[] = {[INSN_64] = CODE_64, [INSN_32] = CODE_32, [INSN_16] = CODE_16};
    const enum insn_mode width = mode_width();

    for (unsigned i = 0; i < ARRAY_COUNT(fake_backend.state.seg); i++)
        fake_backend.state.seg[i] =
            (struct vp_segment){.base = now == MODE_64 ? 0
                                        : i == INSN_CS ? code_linear()
                                                       : mode_linear(0),
                                .limit = now == MODE_REAL ? UINT16_MAX : UINT32_MAX,
                                .attributes = i == INSN_CS       ? code[width]
                                              : width == INSN_16 ? DATA_16
                                                                 : DATA_32};
}

static void put(uint64_t table, uint64_t linear, unsigned shift, uint64_t entry)
{
    const unsigned bytes = now == MODE_TWO ? 4 : 8;
    const uint64_t index = linear >> shift & (now == MODE_TWO ? 1023 : 511);

    memcpy(kit_byte(table + index * bytes), &entry, bytes);
}

static void tables(void)
{
    const unsigned shift = now == MODE_TWO ? 22 : 21;
    const uint64_t dir = now == MODE_TWO ? TABLES : DIR;

    memset(kit_byte(TABLES), 0, 4 * PAGE_BYTES);
    if (now == MODE_PAE)
        put(TABLES, 0, 30, DIR | PTE_P);
    put(dir, KIT_CODE, shift, TABLE_1 | KIT_LINK);
    put(dir, KIT_DATA, shift, TABLE_2 | KIT_LINK);
    put(TABLE_1, KIT_CODE, PAGE_SHIFT, KIT_CODE_RAM | KIT_LINK);
}

static uint64_t *operand_entry(unsigned page)
{
    const uint64_t linear = KIT_DATA + page * PAGE_BYTES;

    if (now <= MODE_COMPAT_16)
        return kit_entry(linear, 1);
    return (uint64_t *)(void *)kit_byte(TABLE_2 + (linear >> PAGE_SHIFT & 511) * 8);
}

void mode_map(unsigned page, uint64_t gpa, uint64_t bits)
{
    if (now == MODE_TWO)
        put(TABLE_2, KIT_DATA + page * PAGE_BYTES, PAGE_SHIFT, gpa | bits);
    else if (now < MODE_FLAT)
        *operand_entry(page) = gpa | bits;
}

uint64_t mode_entry(unsigned page)
{
    uint32_t narrow;

    if (now != MODE_TWO)
        return *operand_entry(page);
    memcpy(&narrow, kit_byte(TABLE_2 + (KIT_DATA >> PAGE_SHIFT & 1023) * 4 + page * 4), 4);
    return narrow;
}

void mode_open(enum mode mode, uint64_t gpa)
{
    struct vp_state *state = &fake_backend.state;

    now = mode;
    operand_gpa = gpa;
    state->cr0 = CR0_PE | CR0_WP | CR0_PG;
    state->cr3 = kit.cr3;
    state->cr4 = CR4_PAE;
    state->efer = EFER_NXE;
    state->rflags = 0;
    if (mode <= MODE_COMPAT_16)
        state->efer |= EFER_LME | EFER_LMA;
    else
        state->cr3 = TABLES;
    if (mode >= MODE_TWO)
        state->cr4 = 0;
    if (mode >= MODE_FLAT)
        state->cr0 = mode == MODE_FLAT ? CR0_PE : 0;
    segments();
    if (mode == MODE_PAE || mode == MODE_TWO)
        tables();
    for (unsigned page = 0; page < 2; page++)
        mode_map(page, gpa + page * PAGE_BYTES, KIT_LINK);
}

void mode_code(const void *bytes, unsigned count)
{
    memcpy(kit_byte(KIT_CODE_RAM + MODE_CODE), bytes, count);
}

enum hv_resume mode_fault(unsigned at, uint8_t access)
{
    struct hv_exit exit;
    enum hv_resume resume;

    fake_backend.state.rip = mode_rip();
    kit_exit(&exit, mode_rip(), operand_gpa + at, access);
    exit.memory.cr3 = fake_backend.state.cr3;
    exit.memory.efer = fake_backend.state.efer;
    exit.memory.code_64 = now == MODE_64;
    exit.memory.gla_valid = kit.tells_linear;
    exit.memory.gla = GVA(mode_linear(at));
    resume = kit_run(&exit);
    mode_length = exit.length;
    return resume;
}

void mode_point_to(unsigned at)
{
    kit.vp.gpr[GPR_RBX] = kit.vp.gpr[GPR_RSI] = kit.vp.gpr[GPR_RDI] = mode_data() + at;
}

enum hv_resume mode_run(const char *code, unsigned bytes, unsigned at, uint8_t access)
{
    const int nop = 0x90;

    memset(kit_byte(KIT_CODE_RAM + MODE_CODE), nop, INSN_MAX_BYTES);
    mode_code(code, bytes);
    return mode_fault(at, access);
}

uint64_t mode_answer(unsigned who, uint64_t offset, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)kit_answer(who, offset + i) << (i * 8);
    return value;
}

int mode_open_alone(void **state)
{
    kit_open(state);
    mode_open(MODE_64, MODE_PLACE);
    fake_backend.state.cr4 |= CR4_OSFXSR | CR4_OSXSAVE;
    fake_backend.state.rsp = 0x7000;
    return 0;
}

int mode_open_device(void **state)
{
    kit_open(state);
    kit_attach(MODE_DEVICE, MODE_PLACE, 2 * PAGE_BYTES);
    mode_open(MODE_64, MODE_PLACE);
    fake_backend.state.rsp = 0x7000;
    return 0;
}

void mode_expect_seen(unsigned n, bool write, uint64_t offset, unsigned bytes, uint64_t value)
{
    assert_true(n < kit.seen_count);
    assert_int_equal(kit.seen[n].write, write);
    assert_int_equal(kit.seen[n].offset, offset);
    assert_int_equal(kit.seen[n].bytes, bytes);
    assert_int_equal(kit.seen[n].value, value);
}
