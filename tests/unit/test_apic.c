/* The local APIC: its page, vectors and priorities. */
#include "tests/unit/apic_kit.h"

#include <string.h>

/* ---- registers ---- */

/* Value after reset and what a write of all ones leaves; P: there is a register. */
static const struct {
    uint16_t offset;
    uint32_t reset, ones;
} registers[] = {
    {P_ID, 0, 0xff000000},
    {P_VERSION, 0x00050014, 0x00050014},
    {P_TPR, 0, 0xff},
    {0x90, 0, 0},
    {P_EOI, 0, 0},
    {0xc0, 0, 0},
    {P_LDR, 0, 0xff000000},
    {P_DFR, 0xffffffff, 0xffffffff},
    {P_SVR, 0xff, 0x1ff},
    {P_ICR_HIGH, 0, 0xff000000},
    {P_TIMER, MASKED, 0x000700ff},
    {0x330, MASKED, 0x000107ff},
    {0x340, MASKED, 0x000107ff},
    {P_LINT0, MASKED, 0x0001a7ff},
    {0x360, MASKED, 0x0001a7ff},
    {P_ERROR, MASKED, 0x000100ff},
    {P_INITIAL, 0, 0xffffffff},
    {P_CURRENT, 0, 0},
    {P_DIVIDE, 0, 0xb},
};

static void test_registers(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(registers); i++)
        assert_int_equal(page_get(registers[i].offset), registers[i].reset);
    assert_int_equal(page_get(P_PPR), 0);
    assert_int_equal(page_get(P_ICR), 0);
    for (uint64_t offset = P_ISR; offset < P_ESR; offset += 16)
        assert_int_equal(page_get(offset), 0);
    page_put(P_SVR, 0x1ff); /* or the LVT stays masked */
    for (unsigned i = 0; i < ARRAY_COUNT(registers); i++) {
        page_put(registers[i].offset, UINT32_MAX);
        assert_int_equal(page_get(registers[i].offset), registers[i].ones);
        if (registers[i].offset != P_SVR)
            page_put(registers[i].offset, 0);
    }
    page_put(P_DFR, 0);
    assert_int_equal(page_get(P_DFR), 0x0fffffff);
    page_put(P_ESR, 0);
    assert_int_equal(page_get(P_ESR), 0); /* none of this was an error */
}

static bool is_read_only(uint64_t offset)
{
    return offset == P_VERSION || offset == P_PPR || (offset >= P_ISR && offset < P_ESR) ||
           offset == P_CURRENT;
}

static void test_read_only(void **state)
{
    struct apic before;

    (void)state;
    apic_accept(&kit.apic, 0x55, true);
    before = kit.apic;
    for (uint64_t offset = 0; offset < 0x400; offset += 16)
        if (is_read_only(offset))
            for (uint32_t value = 0; value != 2; value++)
                page_put(offset, value - 1);
    assert_memory_equal(&kit.apic, &before, sizeof(before));
}

/* Offsets that no register has: 0, and an error that can be read. */
static void test_reserved(void **state)
{
    unsigned reserved = 0;

    (void)state;
    for (uint64_t offset = 0; offset < PAGE_BYTES; offset += 16) {
        bool exists = (offset >= 0x80 && offset <= 0x280) ||
                      (offset >= P_ICR && offset <= P_CURRENT) || offset == P_ID ||
                      offset == P_VERSION || offset == P_DIVIDE;

        for (unsigned write = 0; write < 2; write++) {
            page_put(P_ESR, 0);
            page_put(P_ESR, 0);
            assert_int_equal(page_get(P_ESR), 0);
            if (write && !exists)
                page_put(offset, UINT32_MAX);
            else if (!write)
                assert_true(page_get(offset) == 0 || exists);
            page_put(P_ESR, 0);
            assert_int_equal(page_get(P_ESR), exists ? 0 : 0x80);
            reserved += !exists;
        }
    }
    assert_int_equal(reserved, 2 * (256 - 2 - 33 - 10 - 1));
}

static void test_widths(void **state)
{
    (void)state;
    for (unsigned bytes = 1; bytes <= 8; bytes *= 2)
        for (uint64_t offset = P_VERSION; offset < P_VERSION + 16; offset += bytes) {
            unsigned lane = offset & 15;
            uint64_t whole = lane < 4 ? 0x00050014u >> (lane * 8) : 0;

            assert_int_equal(page_read(offset, bytes), whole & ones_of(bytes));
        }
    page_put(P_TPR, 0x55);
    for (unsigned bytes = 1; bytes <= 8; bytes *= 2)
        for (uint64_t offset = P_TPR; offset < P_TPR + 16; offset += bytes)
            if (bytes != 4 || offset != P_TPR)
                page_write(offset, bytes, 0x22);
    assert_int_equal(page_get(P_TPR), 0x55);
    apic_accept(&kit.apic, 0x66, false);
    assert_int_equal(deliver_next(), 0x66);
    page_write(P_EOI, 1, 0); /* only the whole register is an end of interrupt */
    page_write(P_EOI, 2, 0);
    page_write(P_EOI, 8, 0);
    page_write(P_EOI + 4, 4, 0);
    assert_true(set_has(P_ISR, 0x66));
    page_put(P_EOI, 0xdeadbeef); /* whatever the value */
    assert_false(set_has(P_ISR, 0x66));
    page_put(P_ESR, 0);
    assert_int_equal(page_get(P_ESR), 0);
}

/* ---- vectors ---- */

static void test_every_vector(void **state)
{
    (void)state;
    for (unsigned vector = 16; vector < 256; vector++) {
        bool level = vector & 1;

        kit.vp.attention = false;
        apic_accept(&kit.apic, (uint8_t)vector, level);
        assert_true(kit.vp.attention);
        for (unsigned other = 0; other < 256; other++) {
            assert_int_equal(set_has(P_IRR, other), other == vector);
            assert_false(set_has(P_ISR, other));
        }
        assert_int_equal(set_has(P_TMR, vector), level);
        assert_int_equal(apic_next(&kit.apic), vector);
        assert_int_equal(apic_next(&kit.apic), vector); /* asking takes nothing */
        apic_take(&kit.apic, (uint8_t)vector);
        assert_false(set_has(P_IRR, vector));
        assert_true(set_has(P_ISR, vector));
        assert_int_equal(page_get(P_PPR), vector & 0xf0);
        assert_int_equal(apic_next(&kit.apic), -1);
        page_put(P_EOI, 0);
        assert_false(set_has(P_ISR, vector));
        assert_int_equal(page_get(P_PPR), 0);
    }
    apic_accept(&kit.apic, 0x31, false); /* an edge takes back what level had set */
    assert_false(set_has(P_TMR, 0x31));
    assert_int_equal(kit.apic.accepted, 241);
    assert_int_equal(kit.apic.dropped, 0);
}

/* One waits behind the one in service; a third is the second. */
static void test_same_vector(void **state)
{
    (void)state;
    apic_accept(&kit.apic, 0x41, false);
    assert_int_equal(deliver_next(), 0x41);
    apic_accept(&kit.apic, 0x41, false);
    apic_accept(&kit.apic, 0x41, false);
    assert_int_equal(deliver_next(), -1);
    kit.vp.attention = false;
    page_put(P_EOI, 0);
    assert_true(kit.vp.attention);
    assert_int_equal(deliver_next(), 0x41);
    kit.vp.attention = false;
    page_put(P_EOI, 0);
    assert_false(kit.vp.attention); /* nothing waits: nobody has to look */
    assert_int_equal(deliver_next(), -1);
    page_put(P_EOI, 0); /* nothing is in service */
    assert_int_equal(deliver_next(), -1);
}

static void test_illegal_vectors(void **state)
{
    (void)state;
    for (unsigned vector = 0; vector < 16; vector++) {
        kit.vp.attention = false;
        apic_accept(&kit.apic, (uint8_t)vector, false);
        assert_false(kit.vp.attention);
        assert_int_equal(apic_next(&kit.apic), -1);
        assert_int_equal(page_get(P_ESR), 0); /* not before a write */
        page_put(P_ESR, 0xffffffff);
        assert_int_equal(page_get(P_ESR), 0x40);
        page_put(P_ESR, 0);
        assert_int_equal(page_get(P_ESR), 0);
    }
    for (uint64_t offset = P_ISR; offset < P_ESR; offset += 16)
        assert_int_equal(page_get(offset), 0);
    assert_int_equal(kit.apic.dropped, 16);
}

/* Nested handlers end from the highest on, in whatever order they began. */
static void test_end_order(void **state)
{
    static const uint8_t in[] = {0x20, 0x35, 0x51, 0x9f, 0xa0, 0xff};

    (void)state;
    for (unsigned i = 0; i < sizeof(in); i++) {
        apic_accept(&kit.apic, in[i], false);
        assert_int_equal(deliver_next(), in[i]);
        assert_int_equal(page_get(P_PPR), in[i] & 0xf0);
    }
    for (unsigned i = sizeof(in); i-- > 0;) {
        for (unsigned j = 0; j < sizeof(in); j++)
            assert_int_equal(set_has(P_ISR, in[j]), j <= i);
        page_put(P_EOI, 0);
    }
    for (unsigned i = 0; i < sizeof(in); i++)
        apic_accept(&kit.apic, in[i], false);
    for (unsigned i = sizeof(in); i-- > 0;) {
        assert_int_equal(deliver_next(), in[i]);
        assert_int_equal(deliver_next(), -1);
        page_put(P_EOI, 0);
    }
}

/* What TPR, a vector in service and one that waits say to each other. */
static void compare_priorities(unsigned tpr, unsigned service, unsigned vector)
{
    unsigned priority = service << 4 > (tpr & 0xf0) ? service << 4 : tpr;

    apic_reset(&kit.apic);
    page_put(P_SVR, 0x1ff);
    if (service != 0) {
        apic_accept(&kit.apic, (uint8_t)(service << 4 | 7), false);
        assert_int_equal(deliver_next(), service << 4 | 7);
    }
    page_put(P_TPR, tpr);
    assert_int_equal(page_get(P_PPR), priority);
    apic_accept(&kit.apic, (uint8_t)vector, false);
    assert_int_equal(apic_next(&kit.apic), vector >> 4 > priority >> 4 ? (int)vector : -1);
}

static void test_priorities(void **state)
{
    (void)state;
    for (unsigned tpr = 0; tpr < 256; tpr += 5)
        for (unsigned service = 0; service < 16; service++)
            for (unsigned vector = 16; vector < 256; vector += 5)
                compare_priorities(tpr, service, vector);
}

static void test_task_priority(void **state)
{
    (void)state;
    page_put(P_TPR, 0x6f);
    assert_int_equal(apic_cr8_read(&kit.apic), 6);
    apic_accept(&kit.apic, 0x61, false);
    assert_int_equal(deliver_next(), -1); /* of the same class */
    kit.vp.attention = false;
    apic_cr8_write(&kit.apic, 5);
    assert_true(kit.vp.attention);
    assert_int_equal(page_get(P_TPR), 0x50); /* the lower half goes */
    assert_int_equal(deliver_next(), 0x61);
    kit.vp.attention = false;
    page_put(P_TPR, 0);
    assert_false(kit.vp.attention);
    apic_accept(&kit.apic, 0x62, false);
    kit.vp.attention = false;
    page_put(P_TPR, 0x10);
    assert_true(kit.vp.attention);
    for (unsigned value = 0; value < 16; value++) {
        apic_cr8_write(&kit.apic, value);
        assert_int_equal(page_get(P_TPR), value << 4);
    }
}

/* ---- switched off by software; errors ---- */

static void test_software_disabled(void **state)
{
    (void)state;
    for (uint64_t offset = P_TIMER; offset <= P_ERROR; offset += 16)
        page_put(offset, 0x30);
    apic_accept(&kit.apic, 0x71, false);
    apic_accept(&kit.apic, 0x82, false);
    assert_int_equal(deliver_next(), 0x82);
    page_put(P_SVR, 0xff);
    for (uint64_t offset = P_TIMER; offset <= P_ERROR; offset += 16) {
        assert_int_equal(page_get(offset), MASKED | 0x30);
        page_put(offset, 0x31); /* the mask cannot be taken off */
        assert_int_equal(page_get(offset), MASKED | 0x31);
    }
    apic_accept(&kit.apic, 0x93, false); /* none is taken in */
    assert_int_equal(kit.apic.dropped, 1);
    assert_int_equal(deliver_next(), -1);
    page_put(P_EOI, 0); /* what was there is still there */
    assert_int_equal(deliver_next(), 0x71);
    page_put(P_SVR, 0x1ff);
    assert_int_equal(page_get(P_TIMER), MASKED | 0x31); /* and stays until somebody takes it off */
    page_put(P_TIMER, 0x31);
    assert_int_equal(page_get(P_TIMER), 0x31);
}

static void test_error_interrupt(void **state)
{
    (void)state;
    page_put(P_ERROR, 0xe5);
    (void)page_get(0x40);
    assert_int_equal(deliver_next(), 0xe5);
    page_put(P_EOI, 0);
    (void)page_get(0x40); /* the same kind is not told twice before ESR is written */
    assert_int_equal(deliver_next(), -1);
    apic_accept(&kit.apic, 3, false); /* another kind is */
    assert_int_equal(deliver_next(), 0xe5);
    page_put(P_EOI, 0);
    page_put(P_ESR, 0);
    assert_int_equal(page_get(P_ESR), 0xc0);
    (void)page_get(0x40);
    assert_int_equal(deliver_next(), 0xe5);
    page_put(P_EOI, 0);
    page_put(P_ESR, 0);
    page_put(P_ERROR, 0x05); /* an illegal one: an error of its own, which has an end */
    (void)page_get(0x40);
    assert_int_equal(deliver_next(), -1);
    page_put(P_ESR, 0);
    assert_int_equal(page_get(P_ESR), 0xc0);
    page_put(P_ERROR, MASKED | 0xe5);
    (void)page_get(0x40);
    assert_int_equal(deliver_next(), -1);
    page_put(P_ESR, 0);
    assert_int_equal(page_get(P_ESR), 0x80); /* collected all the same */
}

/* ---- against a model ---- */

/* Sets as arrays of bool and priorities by search: nothing in common with the code. */
static struct {
    bool waits[256], serves[256];
    unsigned tpr;
    bool on;
} model;

static int model_highest(const bool *set)
{
    int vector = 255;

    while (vector >= 0 && !set[vector])
        vector--;
    return vector;
}

static int model_next(void)
{
    int waits = model_highest(model.waits), serves = model_highest(model.serves);

    if (waits < 0 || waits / 16 <= (int)model.tpr / 16 ||
        (serves >= 0 && waits / 16 <= serves / 16))
        return -1;
    return waits;
}

static void model_step(unsigned operation, uint8_t vector)
{
    int next;

    switch (operation) {
    case 0:
        page_put(P_TPR, model.tpr = vector);
        break;
    case 1:
        page_put(P_EOI, 0);
        if ((next = model_highest(model.serves)) >= 0)
            model.serves[next] = false;
        break;
    case 2:
    case 3:
        next = model_next();
        assert_int_equal(deliver_next(), next);
        if (next >= 0) {
            model.waits[next] = false;
            model.serves[next] = true;
        }
        break;
    case 4:
        model.on = vector < 200;
        page_put(P_SVR, model.on ? 0x1ff : 0xff);
        break;
    default:
        apic_accept(&kit.apic, vector, operation & 1);
        if (model.on && vector >= 16)
            model.waits[vector] = true;
        break;
    }
}

static void test_model(void **state)
{
    (void)state;
    memset(&model, 0, sizeof(model));
    model.on = true;
    for (unsigned i = 0; i < 200000; i++) {
        uint64_t random = kit_random();
        unsigned check = random >> 32 & 255;

        kit.vp.attention = false;
        int before = model_next();
        model_step(random & 7, (uint8_t)(random >> 8));
        assert_int_equal(apic_next(&kit.apic), model_next());
        if (model_next() > before) /* something to deliver that was not there */
            assert_true(kit.vp.attention);
        assert_int_equal(set_has(P_IRR, check), model.waits[check]);
        assert_int_equal(set_has(P_ISR, check), model.serves[check]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, apic_open, kit_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_registers, kit_open, kit_close),
        TEST(test_read_only),
        TEST(test_reserved),
        TEST(test_widths),
        TEST(test_every_vector),
        TEST(test_same_vector),
        TEST(test_illegal_vectors),
        TEST(test_end_order),
        TEST(test_priorities),
        TEST(test_task_priority),
        TEST(test_software_disabled),
        TEST(test_error_interrupt),
        TEST(test_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
