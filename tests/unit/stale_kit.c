#include "tests/unit/stale_kit.h"

#include <string.h>

#include "hv/vm/walk.h"

const uint64_t target_gpa[TARGETS] = {
    KIT_BAR, KIT_BAR + PAGE_BYTES, KIT_BAR + 2 * PAGE_BYTES, KIT_BAR + 3 * PAGE_BYTES,
    0x50000, KIT_HIGH + 0x3000};
const uint64_t frame_gpa[FRAMES] = {0x10000, 0x20000, KIT_HIGH + 0x8000};
const uint64_t places[PLACES] = {CODE + 0x100, CODE + 0x100 + VP_PLACES, CODE + 0x228};
struct stale_world world;

const struct form forms[FORMS] = {
    {{0x8b, 0x03}, 2, LOAD, 4, GPR_RAX, GPR_RBX, 0, false, false},
    {{0x8b, 0x0b}, 2, LOAD, 4, GPR_RCX, GPR_RBX, 0, false, false}, /* another register */
    {{0x8b, 0x07}, 2, LOAD, 4, GPR_RAX, GPR_RDI, 0, false, false}, /* another base */
    {{0x8b, 0x43, 0x10}, 3, LOAD, 4, GPR_RAX, GPR_RBX, 0x10, false, false},
    {{0x8a, 0x03}, 2, LOAD, 1, GPR_RAX, GPR_RBX, 0, false, true}, /* another width */
    {{0x66, 0x8b, 0x03}, 3, LOAD, 2, GPR_RAX, GPR_RBX, 0, false, true},
    {{0x48, 0x8b, 0x03}, 3, LOAD, 8, GPR_RAX, GPR_RBX, 0, true, false},
    {{0x89, 0x03}, 2, STORE, 4, GPR_RAX, GPR_RBX, 0, false, false}, /* another direction */
    {{0x89, 0x0b}, 2, STORE, 4, GPR_RCX, GPR_RBX, 0, false, false},
    {{0x48, 0x89, 0x03}, 3, STORE, 8, GPR_RAX, GPR_RBX, 0, true, false},
    {{0xc6, 0x03, 0x5a}, 3, STORE_IMM, 1, 0, GPR_RBX, 0, false, false},
    {{0xc6, 0x03, 0xa5}, 3, STORE_IMM, 1, 0, GPR_RBX, 0, false, false},
    /* two that differ in the last of 11 bytes */
    {{0x48, 0xc7, 0x83, 0x10, 0, 0, 0, 0x78, 0x56, 0x34, 0x12},
     11,
     STORE_IMM,
     8,
     0,
     GPR_RBX,
     0x10,
     true,
     false},
    {{0x48, 0xc7, 0x83, 0x10, 0, 0, 0, 0x78, 0x56, 0x34, 0x52},
     11,
     STORE_IMM,
     8,
     0,
     GPR_RBX,
     0x10,
     true,
     false},
    {{0x09, 0x03}, 2, CHANGE, 4, GPR_RAX, GPR_RBX, 0, false, false}, /* or: no MOV */
};

/* ---- what there is at one moment ---- */

static struct translation translate(uint64_t linear, uint8_t access)
{
    const struct guest_paging paging = vp_paging(&fake_backend.state);
    const struct guest_access how = {.access = access};
    struct translation t = {0};

    t.allowed = guest_translate(&kit.vm, &paging, &how, GVA(linear), &t.gpa, &t.error);
    return t;
}

void stale_look(struct moment *m)
{
    memset(m, 0, sizeof(*m));
    m->code = translate(world.rip, HV_ACCESS_FETCH);
    if (m->code.allowed)
        memcpy(m->bytes, kit_byte(m->code.gpa.v), sizeof(m->bytes));
    for (unsigned page = 0; page < 2; page++)
        for (unsigned write = 0; write < 2; write++)
            m->data[page][write] =
                translate(DATA + page * PAGE_BYTES, write ? HV_ACCESS_WRITE : HV_ACCESS_READ);
    memcpy(m->behind, world.behind, sizeof(m->behind));
    m->rings = kit.rings;
}

/* ---- the model ---- */

uint8_t stale_memory_byte(unsigned target, uint64_t offset)
{
    return (uint8_t)(target * 31 + offset * 11 + 5);
}

static unsigned target_of(uint64_t gpa)
{
    for (unsigned i = 0; i < TARGETS; i++)
        if (target_gpa[i] == (gpa & ~PAGE_MASK))
            return i;
    fail();
    return 0;
}

const struct form *stale_form_of(const uint8_t *bytes)
{
    for (unsigned i = 0; i < ARRAY_COUNT(forms); i++)
        if (memcmp(bytes, forms[i].code, forms[i].length) == 0 && !(forms[i].rex && world.compat))
            return &forms[i];
    return NULL; /* UD2; or, in compatibility mode, DEC with no operand in memory */
}

static void expect_event(struct outcome *out, uint8_t vector, uint32_t error, uint64_t address)
{
    out->resume = HV_RESUME;
    out->event = vector;
    out->error = error;
    out->address = address;
}

uint64_t stale_linear_of(const struct form *form, const uint64_t *gpr)
{
    uint64_t linear = gpr[form->base] + form->disp;

    return world.compat ? (uint32_t)linear : linear;
}

static uint64_t model_read(const struct behind *b, unsigned target, uint64_t offset, unsigned bytes,
                           struct outcome *out)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        uint8_t byte = 0xff;

        if (b->rights & PT_R)
            byte = stale_memory_byte(target, offset + i);
        else if (b->who != NOBODY)
            byte = kit_answer(b->who, offset + i);
        value |= (uint64_t)byte << (i * 8);
    }
    if (!(b->rights & PT_R) && b->who != NOBODY)
        out->access[out->seen++] =
            (struct kit_access){.who = b->who, .offset = offset, .bytes = bytes, .value = value};
    return value;
}

static void model_write(const struct behind *b, bool rings, uint64_t offset, unsigned bytes,
                        uint64_t value, struct outcome *out)
{
    const struct kit_access access = {.who = b->who,
                                      .write = true,
                                      .offset = offset,
                                      .bytes = bytes,
                                      .value = value & ones_of(bytes)};

    if (b->who == NOBODY)
        return;
    if (b->bell) {
        out->question = access;
        out->asked = 1;
    }
    if (!b->bell || !rings)
        out->access[out->seen++] = access;
}

void stale_model(const uint64_t *gpr, const struct moment *code, const struct moment *tables,
                 const struct moment *behind, struct outcome *out)
{
    const struct form *form = stale_form_of(code->bytes);
    const struct translation *t;
    const struct behind *b;
    uint64_t linear, value, offset;
    unsigned target;
    bool writes;

    memset(out, 0, sizeof(*out));
    memcpy(out->gpr, gpr, sizeof(out->gpr));
    if (!code->code.allowed) {
        expect_event(out, VECTOR_PF, code->code.error, world.rip);
        return;
    }
    if (form == NULL) {
        expect_event(out, VECTOR_UD, 0, 0);
        return;
    }
    writes = form->kind != LOAD;
    linear = stale_linear_of(form, gpr);
    t = &tables->data[linear >> PAGE_SHIFT & 1][writes];
    if (!t->allowed) {
        expect_event(out, VECTOR_PF, t->error, linear);
        return;
    }
    target = target_of(t->gpa.v);
    b = &behind->behind[target];
    offset = linear & PAGE_MASK;
    if (writes ? b->rights & PT_W : b->rights & PT_R) {
        out->resume = HV_RESUME;
        return;
    }
    out->resume = HV_ADVANCE;
    out->length = form->length;
    value = form->kind == STORE_IMM ? 0 : gpr[form->reg];
    if (form->kind == STORE_IMM) /* the last bytes, none of them negative */
        memcpy(&value, form->code + form->length - MIN(form->bytes, 4u), sizeof(uint32_t));
    if (form->kind == LOAD) {
        value = model_read(b, target, offset, form->bytes, out);
        if (form->keeps)
            value |= gpr[form->reg] & ~ones_of(form->bytes);
        out->gpr[form->reg] = value;
        return;
    }
    if (form->kind == CHANGE)
        value |= model_read(b, target, offset, form->bytes, out);
    model_write(b, behind->rings, offset, form->bytes, value, out);
}

/* ---- changes ---- */

uint64_t stale_random_below(uint64_t n)
{
    return kit_random() % n;
}

uint64_t *stale_entry_at(uint64_t linear, unsigned level)
{
    uint64_t table = fake_backend.state.cr3;

    for (unsigned at = 4;; at--) {
        uint64_t index = linear >> (PAGE_SHIFT + 9 * (at - 1)) & 511;
        uint64_t *entry = (uint64_t *)(void *)kit_byte((table & BITS(51, 12)) + index * 8);

        if (at == level)
            return entry;
        if (at < 4 && (*entry & PTE_PS))
            return NULL; /* a large page is above */
        table = *entry;
    }
}

void stale_put_entry(uint64_t table, unsigned index, uint64_t value)
{
    memcpy(kit_byte(table + index * 8), &value, sizeof(value));
}

void stale_build_tables(void)
{
    memset(kit_byte(TABLES), 0, 12 * PAGE_BYTES);
    stale_put_entry(TOP, 0, POINTER | KIT_LINK);
    stale_put_entry(POINTER, CODE >> 30, CODE_2 | KIT_LINK);
    stale_put_entry(POINTER, DATA >> 30, DATA_2 | KIT_LINK);
    stale_put_entry(CODE_2, 0, CODE_1 | KIT_LINK);
    stale_put_entry(DATA_2, 0, DATA_1 | KIT_LINK);
    stale_put_entry(CODE_1, 0, frame_gpa[stale_random_below(FRAMES)] | KIT_LINK);
    for (unsigned page = 0; page < 2; page++)
        stale_put_entry(DATA_1, page, target_gpa[stale_random_below(TARGETS)] | KIT_LINK);
    memcpy(kit_byte(TOP + OTHER), kit_byte(TOP), PAGE_BYTES);
    kit.cr3 = fake_backend.state.cr3 = TOP;
}

void stale_put_code(void)
{
    const uint64_t at = frame_gpa[stale_random_below(FRAMES)] +
                        (places[stale_random_below(ARRAY_COUNT(places))] & PAGE_MASK);

    if (stale_random_below(8) == 0)
        memcpy(kit_byte(at), "\x0f\x0b", 2);
    else
        memcpy(kit_byte(at), forms[stale_random_below(ARRAY_COUNT(forms))].code, INSN_MAX_BYTES);
}

void stale_put_back_code(void)
{
    const struct vp_place *place = vp_place_of(&kit.vp, world.rip);

    for (unsigned f = 0; f < FRAMES && place->rip == world.rip; f++) {
        memcpy(kit_byte(frame_gpa[f] + (world.rip & PAGE_MASK)), &place->bytes[0], 8);
        memcpy(kit_byte(frame_gpa[f] + (world.rip & PAGE_MASK)) + VP_PLACE_SECOND, &place->bytes[1],
               8);
    }
}

static uint64_t random_linear(void)
{
    return stale_random_below(3) ? DATA + stale_random_below(2) * PAGE_BYTES : CODE;
}

/* The table below an entry moves to its other copy, where another leaf is. */
void stale_move_table(void)
{
    const uint64_t linear = random_linear();
    const unsigned level = 2 + (unsigned)stale_random_below(3);
    uint64_t *entry = stale_entry_at(linear, level), *leaf, from;

    if (entry == NULL || (level < 4 && (*entry & PTE_PS)))
        return;
    from = *entry & BITS(51, 12);
    memcpy(kit_byte(from ^ OTHER), kit_byte(from), PAGE_BYTES);
    *entry ^= OTHER;
    leaf = stale_entry_at(linear, 1);
    if (leaf)
        *leaf =
            (*leaf & ~BITS(51, 12)) | (linear == CODE ? frame_gpa[stale_random_below(FRAMES)]
                                                      : target_gpa[stale_random_below(TARGETS)]);
}

void stale_change_entry(void)
{
    const uint64_t linear = random_linear(), bits[] = {PTE_P, PTE_W, PTE_A, PTE_U};
    const unsigned level = 1 + (unsigned)stale_random_below(4);
    uint64_t *entry = stale_entry_at(linear, level);

    if (entry == NULL)
        return;
    if (level == 1 && stale_random_below(2) == 0)
        *entry = (linear == CODE ? frame_gpa[stale_random_below(FRAMES)]
                                 : target_gpa[stale_random_below(TARGETS)]) |
                 KIT_LINK;
    else
        *entry ^= bits[stale_random_below(ARRAY_COUNT(bits))];
}

/* The operands' pages become, or were, a large page that shows the BAR. */
void stale_change_large(void)
{
    uint64_t *entry = stale_entry_at(DATA, 2);

    *entry = *entry & PTE_PS ? DATA_1 | KIT_LINK : KIT_BAR | KIT_LINK | PTE_PS;
}

void stale_change_cr3(void)
{
    const uint64_t other = fake_backend.state.cr3 ^ OTHER;

    memcpy(kit_byte(other), kit_byte(other ^ OTHER), 8);
    kit.cr3 = fake_backend.state.cr3 = other;
    if (stale_random_below(2))
        stale_move_table();
}

void stale_set_rights(unsigned target, uint8_t rights)
{
    if (world.behind[target].rights != rights && world.behind[target].rights)
        kit_direct(target, 0, MEMTYPE_WB);
    if (world.behind[target].rights != rights && rights)
        kit_direct(target, rights, MEMTYPE_WB);
    world.behind[target].rights = rights;
}

void stale_change_leaf(void)
{
    static const uint8_t rights[] = {0, 0, PT_R, PT_R | PT_W};

    stale_set_rights((unsigned)stale_random_below(BAR_TARGETS),
                     rights[stale_random_below(ARRAY_COUNT(rights))]);
}

void stale_change_region(void)
{
    const unsigned target = (unsigned)stale_random_below(BAR_TARGETS);
    struct behind *b = &world.behind[target];

    if (b->who != NOBODY)
        kit_detach(b->who, target_gpa[target]);
    b->who = stale_random_below(4) == 0 ? NOBODY : target * 2 + (unsigned)stale_random_below(2);
    b->bell = stale_random_below(2);
    if (b->who != NOBODY)
        kit_attach_as(b->who, target_gpa[target], PAGE_BYTES, b->bell, 0);
}

void stale_change_rings(void)
{
    kit.rings = !kit.rings;
}

/* What other CPUs and devices change at any moment. What only this CPU does is in test_random(). */
static void (*const changes[])(void) = {
    stale_put_code,     stale_put_code,      stale_move_table,
    stale_change_entry, stale_change_entry,  stale_change_large,
    stale_change_leaf,  stale_change_region, stale_change_rings};

void stale_change(void)
{
    for (uint64_t i = 1 + stale_random_below(3); i > 0; i--)
        changes[stale_random_below(ARRAY_COUNT(changes))]();
}

void stale_set_mode(bool compat)
{
    world.compat = compat;
    fake_backend.state.seg[INSN_CS].attributes = compat ? CODE_32 : CODE_64;
}
