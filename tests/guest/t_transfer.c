/* Transfers of the edu device and its messages: the same checks run on QEMU's own and on ours. */
#include "tests/guest/edu.h"

/* What is sent, and what came back, with bytes around it that must stay. */
static uint8_t sent[2 * 4096 + 2 * GUARD] __attribute__((aligned(4096)));
static uint8_t back[2 * 4096 + 2 * GUARD] __attribute__((aligned(4096)));

static uint64_t address(const void *at)
{
    return (uint64_t)(uintptr_t)at;
}

void edu_start(uint64_t from, uint64_t to, uint64_t bytes, uint64_t command, unsigned width)
{
    store(GVA_EDU + R_SOURCE, width, from);
    store(GVA_EDU + R_DESTINATION, width, to);
    store(GVA_EDU + R_COUNT, width, bytes);
    store(GVA_EDU + R_COMMAND, width, command | DMA_START);
}

static bool to_device(const uint8_t *from, unsigned at, unsigned bytes)
{
    edu_start(address(from), EDU_BUFFER + at, bytes, 0, 8);
    return edu_wait_while(R_COMMAND, DMA_START);
}

static bool to_ram(unsigned at, uint8_t *to, unsigned bytes)
{
    edu_start(EDU_BUFFER + at, address(to), bytes, DMA_TO_RAM, 8);
    return edu_wait_while(R_COMMAND, DMA_START);
}

static uint8_t pattern(unsigned k, unsigned seed)
{
    return (uint8_t)(k * 13 + (k >> 8) + seed * 59);
}

static void fill(uint8_t *at, unsigned bytes, unsigned seed)
{
    for (unsigned k = 0; k < bytes; k++)
        at[k] = pattern(k, seed);
}

static bool same(const char *what, const uint8_t *at, unsigned bytes, unsigned from, unsigned seed)
{
    for (unsigned k = 0; k < bytes; k++)
        if (at[k] != pattern(from + k, seed))
            return expect_eq(what, (uint64_t)k << 8 | at[k],
                             (uint64_t)k << 8 | pattern(from + k, seed));
    return true;
}

static const struct {
    unsigned ram, at, bytes; /* offset in a page of RAM, in the buffer */
} transfers[] = {
    {0, 0, 1},          {1, 3, 1},        {7, 1, 2},    {4095, 0, 3},
    {0, 0, 8},          {4092, 17, 8},    {3, 4090, 5}, {123, 100, 512},
    {4000, 1000, 1000}, {0x123, 0, 4095}, {0, 1, 4094},
};

/* There and back again: what was sent, where it was to go, and nothing beside it at either end. */
static void transfer(unsigned i)
{
    unsigned bytes = transfers[i].bytes, at = transfers[i].at, seed = i + 1;
    uint8_t *from = sent + GUARD + transfers[i].ram, *to = back + GUARD + transfers[i].ram;

    if (!edu_ready())
        return;
    fill(sent, sizeof(sent), 77);
    if (!to_device(sent, 0, MOST_BYTES))
        return;
    fill(from, bytes, seed);
    if (!to_device(from, at, bytes))
        return;
    same("what was sent", from, bytes, 0, seed);
    fill(back, sizeof(back), 78);
    if (!to_ram(at, to, bytes))
        return;
    same("what came back", to, bytes, 0, seed);
    same("the bytes before", back, GUARD + transfers[i].ram, 0, 78);
    same("the bytes behind", to + bytes, GUARD, GUARD + transfers[i].ram + bytes, 78);
    if (!to_ram(0, back, MOST_BYTES))
        return;
    same("the buffer before", back, at, 0, 77);
    same("the buffer", back + at, bytes, 0, seed);
    same("the buffer behind", back + at + bytes, MOST_BYTES - at - bytes, at + bytes, 77);
}

static void name_transfer(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "%u bytes from RAM offset %u to buffer offset %u and back",
                transfers[i].bytes, transfers[i].ram + GUARD, transfers[i].at);
}

/* QEMU 7.2 ends with a fatal error when the last byte of the buffer takes part: an end is one too far in its check. */
static void whole_buffer(unsigned i)
{
    (void)i;
    if (!edu_ready())
        return;
    if (!on_barvisor()) {
        skip("QEMU's edu refuses the last byte of its buffer");
        return;
    }
    fill(sent, BUFFER_BYTES, 5);
    fill(back, BUFFER_BYTES + GUARD, 6);
    if (!to_device(sent, 0, BUFFER_BYTES) || !to_ram(0, back, BUFFER_BYTES))
        return;
    same("what came back", back, BUFFER_BYTES, 0, 5);
    same("the bytes behind", back + BUFFER_BYTES, GUARD, BUFFER_BYTES, 6);
}

/* Addresses beside the buffer, too many bytes: QEMU 7.2 ends with a fatal error, newer ones copy nothing. */
static void outside(unsigned i)
{
    static const struct {
        uint64_t at, bytes;
    } rows[] = {
        {EDU_BUFFER - 1, 2},
        {EDU_BUFFER + 4095, 2},
        {EDU_BUFFER, 4097},
        {0, 16},
        {EDU_BUFFER + 4096, 1},
        {EDU_BUFFER, ~0ull},
        {~0ull, 2},
        {EDU_BUFFER + (1ull << 32), 1},
        {EDU_BUFFER, 1ull << 32},
    };

    (void)i;
    if (!edu_ready())
        return;
    if (!on_barvisor()) {
        skip("QEMU's edu ends the machine");
        return;
    }
    fill(sent, BUFFER_BYTES, 5);
    if (!to_device(sent, 0, BUFFER_BYTES))
        return;
    for (unsigned r = 0; r < COUNT_OF(rows) && !failed(); r++) {
        fill(back, sizeof(back), 9);
        edu_start(rows[r].at, address(back), rows[r].bytes, DMA_TO_RAM, 8);
        edu_wait_while(R_COMMAND, DMA_START);
        same("RAM", back, sizeof(back), 0, 9);
        edu_start(address(back), rows[r].at, rows[r].bytes, 0, 8);
        edu_wait_while(R_COMMAND, DMA_START);
    }
    to_ram(0, back, BUFFER_BYTES);
    same("the buffer", back, BUFFER_BYTES, 0, 5);
}

static void narrow_start(unsigned i)
{
    (void)i;
    if (!edu_ready())
        return;
    fill(sent, 100, 31);
    fill(back, 100, 32);
    edu_start(address(sent), EDU_BUFFER + 8, 100, 0, 4);
    edu_wait_while(R_COMMAND, DMA_START);
    edu_start(EDU_BUFFER + 8, address(back), 100, DMA_TO_RAM, 4);
    edu_wait_while(R_COMMAND, DMA_START);
    same("what came back", back, 100, 0, 31);
    expect_eq("command", edu_get(R_COMMAND), DMA_TO_RAM);
    expect_eq("interrupts", edu_get(R_IRQ), 0);
}

static void dma_interrupt(unsigned i)
{
    (void)i;
    if (!edu_ready())
        return;
    edu_start(address(sent), EDU_BUFFER, 16, DMA_IRQ, 8);
    edu_wait_while(R_COMMAND, DMA_START);
    for (unsigned n = 0; n < POLLS && edu_get(R_IRQ) == 0; n++)
        ;
    expect_eq("interrupt status", edu_get(R_IRQ), IRQ_DMA);
    edu_put(R_ACK, IRQ_DMA);
    expect_eq("acknowledged", edu_get(R_IRQ), 0);
}

/* Without bus mastering a device reaches no memory. PCI 3.0 "Command Register". */
static void no_master(unsigned i)
{
    (void)i;
    if (!edu_ready())
        return;
    fill(sent, 64, 41);
    to_device(sent, 0, 64);
    fill(back, 64, 42);
    command_set(&edu, COMMAND_MASTER, false);
    to_ram(0, back, 64);
    same("RAM", back, 64, 0, 42);
    command_set(&edu, COMMAND_MASTER, true);
    to_ram(0, back, 64);
    same("RAM with bus mastering on", back, 64, 0, 41);
}

/* ---- messages ---- */

#define VECTOR 0x71u
#define ROUNDS 8u
#define SOON   200000u /* ticks in which a message that was not sent does not come */

/* What the handler found. */
static struct {
    unsigned seed, bytes;
    uint32_t came, late, status;
} seen;

/* The data of a transfer is there when its interrupt comes, to the last byte. */
static void on_transfer(struct trap_frame *frame, void *arg)
{
    (void)frame;
    (void)arg;
    seen.came++;
    seen.status = (uint32_t)edu_get(R_IRQ);
    for (unsigned k = 0; k < seen.bytes; k++)
        seen.late += back[GUARD + k] != pattern(k, seen.seed);
    edu_put(R_ACK, IRQ_DMA);
}

static void on_interrupt(struct trap_frame *frame, void *arg)
{
    (void)frame;
    (void)arg;
    seen.came++;
    seen.status = (uint32_t)edu_get(R_IRQ);
    edu_put(R_ACK, 0xffffffff);
}

/* With interrupts off, handlers and messages of this file's vector. */
static bool ready_for_messages(irq_handler *handler)
{
    if (!edu_ready() || !irq_ready())
        return false;
    edu_put(R_ACK, 0xffffffff);
    seen.came = seen.late = seen.status = 0;
    irq_on(VECTOR, handler, NULL);
    return msi_on(&edu, VECTOR);
}

static void messages_end(void)
{
    msi_off(&edu);
    edu_put(R_ACK, 0xffffffff);
    irq_window();
    irq_on(VECTOR, NULL, NULL);
}

static bool comes(uint32_t count)
{
    return expect(irq_wait_count(VECTOR, count, PATIENCE), "the message comes");
}

static void capability(unsigned i)
{
    unsigned at;
    uint32_t control;

    (void)i;
    if (!edu_ready())
        return;
    at = capability_find(&edu, CAP_MSI);
    if (!expect(at != 0, "there is MSI"))
        return;
    control = config_get(&edu, at + MSI_CONTROL, 2);
    /* QEMU's edu has no masks for its vectors, ours has: PCI leaves it to the device. */
    expect_eq("one vector, 64-bit addresses, off", control & ~0x100u, MSI_WIDE);
    config_set(&edu, at + MSI_ADDRESS, 4, 0xfee12347);
    expect_eq("address", config_get(&edu, at + MSI_ADDRESS, 4), 0xfee12344);
    config_set(&edu, at + MSI_ADDRESS + 8, 2, 0x89ab);
    expect_eq("data", config_get(&edu, at + MSI_ADDRESS + 8, 2), 0x89ab);
    config_set(&edu, at + MSI_ADDRESS, 4, 0);
    config_set(&edu, at + MSI_ADDRESS + 8, 2, 0);
}

static void raised(unsigned i)
{
    (void)i;
    if (!ready_for_messages(on_interrupt))
        return;
    for (uint32_t n = 1; n <= 5 && !failed(); n++) {
        edu_put(R_RAISE, 0x10 + n);
        comes(n);
        expect_eq("handlers", seen.came, n);
        expect_eq("its reason", seen.status, 0x10 + n);
        expect_eq("acknowledged", edu_get(R_IRQ), 0);
    }
    messages_end();
}

/* Two of one vector are one when nobody has taken the first. */
static void raised_twice(unsigned i)
{
    (void)i;
    if (!ready_for_messages(on_interrupt))
        return;
    edu_put(R_RAISE, 1);
    edu_put(R_RAISE, 2);
    expect_eq("with interrupts off", irq_count(VECTOR), 0);
    comes(1);
    irq_window();
    expect_eq("with interrupts on", irq_count(VECTOR), 1);
    expect_eq("its reasons", seen.status, 3);
    messages_end();
}

static void no_message(unsigned i)
{
    uint64_t start_tsc;

    if (!ready_for_messages(on_interrupt))
        return;
    if (i == 0)
        msi_off(&edu);
    else
        command_set(&edu, COMMAND_MASTER, false);
    edu_put(R_RAISE, 4);
    expect_eq("interrupt status", edu_get(R_IRQ), 4);
    for (start_tsc = rdtsc(); rdtsc() - start_tsc < SOON;)
        irq_window();
    expect_eq("messages", irq_count(VECTOR), 0);
    edu_put(R_ACK, 4);
    command_set(&edu, COMMAND_MASTER, true);
    if (i == 1) {
        edu_put(R_RAISE, 8);
        comes(1);
        expect_eq("its reason", seen.status, 8);
    }
    messages_end();
}

static void name_no_message(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "no message %s",
                i == 0 ? "with MSI off" : "without bus mastering, and one with it again");
}

static void factorial_message(unsigned i)
{
    (void)i;
    if (!ready_for_messages(on_interrupt))
        return;
    edu_put(R_STATUS, STATUS_IRQ);
    edu_put(R_FACTORIAL, 10);
    comes(1);
    expect_eq("its reason", seen.status, IRQ_FACTORIAL);
    expect_eq("factorial", edu_get(R_FACTORIAL), 3628800);
    edu_put(R_STATUS, 0);
    messages_end();
}

static void transfer_message(unsigned i)
{
    (void)i;
    if (!ready_for_messages(on_transfer))
        return;
    for (unsigned round = 1; round <= ROUNDS && !failed(); round++) {
        unsigned bytes = MOST_BYTES >> (round % 4 * 3);

        fill(sent, bytes, round);
        if (!to_device(sent, 0, bytes))
            break;
        fill(back, sizeof(back), round + 100);
        seen.seed = round;
        seen.bytes = bytes;
        edu_start(EDU_BUFFER, address(back + GUARD), bytes, DMA_TO_RAM | DMA_IRQ, 8);
        comes(round);
        expect_eq("bytes that were late", seen.late, 0);
        expect_eq("its reason", seen.status, IRQ_DMA);
        same("the bytes before", back, GUARD, 0, round + 100);
        same("the bytes behind", back + GUARD + bytes, GUARD, GUARD + bytes, round + 100);
    }
    messages_end();
}

static const struct check list[] = {
    {"edu", NULL, name_transfer, COUNT_OF(transfers), false, transfer},
    {"edu", "the whole buffer there and back", NULL, 0, false, whole_buffer},
    {"edu", "transfers beside the buffer copy nothing", NULL, 0, false, outside},
    {"edu", "a transfer by registers of four bytes", NULL, 0, false, narrow_start},
    {"edu", "a transfer raises its interrupt when asked to", NULL, 0, false, dma_interrupt},
    {"edu", "no transfer without bus mastering", NULL, 0, false, no_master},
    {"edu", "MSI: one vector, registers", NULL, 0, false, capability},
    {"edu", "each interrupt is a message", NULL, 0, false, raised},
    {"edu", "two interrupts nobody has taken are one message", NULL, 0, false, raised_twice},
    {"edu", NULL, name_no_message, 2, false, no_message},
    {"edu", "a factorial sends a message", NULL, 0, false, factorial_message},
    {"edu", "the message of a transfer never comes before its data", NULL, 0, false,
     transfer_message},
};
const struct check_list checks_transfer = {list, COUNT_OF(list)};
