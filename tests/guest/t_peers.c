/*
 * ivshmem with a doorbell: two devices with one memory, which interrupt each other. Ours only: QEMU's needs a server, which
 * is a process of its own.
 */
#include "tests/guest/pci.h"

#define REGISTERS     0x100u
#define R_POSITION    0x08u
#define R_DOORBELL    0x0cu
#define ROOM          0x1000000ull /* for the memory of each */
#define VECTORS       4u           /* of each, at least */
#define FIRST_VECTOR  0x60u
#define PATIENCE      2000000000ull
#define MSIX_CONTROL  2u
#define MSIX_TABLE    4u
#define MSIX_PENDING  8u
#define MSIX_ENABLE   0x8000u
#define MSIX_MASK_ALL 0x4000u
#define MSIX_COUNT    0x7ffu
#define ENTRY_BYTES   16u
#define ENTRY_MASKED  1u

static struct peer {
    struct pci_function f;
    uint64_t regs, table, memory; /* where they are mapped */
    unsigned capability, pending;
    uint64_t position;
} peer[2];

static void look_at_peer(unsigned k)
{
    struct peer *p = &peer[k];

    if (!share_find(&p->f, true, k))
        return;
    p->capability = capability_find(&p->f, CAP_MSIX);
    p->regs = GVA_SHARE_REGS + (1 + 2 * k) * PAGE;
    p->table = p->regs + PAGE;
    p->memory = GVA_SHARE + (1 + k) * ROOM;
    bar_show(&p->f, 0, p->regs, PAGE, PAGE, PAT_UC);
    bar_show(&p->f, 1, p->table, PAGE, PAGE, PAT_UC);
    bar_show(&p->f, 2, p->memory, 4 * PAGE, PAGE, PAT_WB);
    p->regs += p->f.bar[0].base % PAGE;
    command_set(&p->f, COMMAND_MASTER, true);
    p->position = load(p->regs + R_POSITION, 4);
    if (p->capability != 0)
        p->pending = config_get(&p->f, p->capability + MSIX_PENDING, 4) & ~7u;
}

static bool two_peers(void)
{
    static bool looked;

    if (!looked) {
        looked = true;
        look_at_peer(0);
        look_at_peer(1);
    }
    if (!peer[1].f.present)
        skip("no two ivshmem-doorbell devices");
    return peer[1].f.present;
}

static unsigned vector_of(unsigned k, unsigned n)
{
    return FIRST_VECTOR + 16 * k + n;
}

static void entry_mask(unsigned k, unsigned n, bool masked)
{
    store(peer[k].table + n * ENTRY_BYTES + 12, 4, masked ? ENTRY_MASKED : 0);
}

static void msix_control(unsigned k, uint32_t bits)
{
    config_set(&peer[k].f, peer[k].capability + MSIX_CONTROL, 2, bits);
}

/* With all vectors of both set up, and interrupts off. */
static bool ready_to_ring(irq_handler *handler)
{
    if (!two_peers() || !irq_ready())
        return false;
    for (unsigned k = 0; k < 2; k++) {
        if (!expect(peer[k].capability != 0, "there is MSI-X"))
            return false;
        for (unsigned n = 0; n < VECTORS; n++) {
            store(peer[k].table + n * ENTRY_BYTES, 8, msi_address(apic_id()));
            store(peer[k].table + n * ENTRY_BYTES + 8, 4, msi_data(vector_of(k, n)));
            entry_mask(k, n, false);
            irq_on(vector_of(k, n), handler, &peer[k]);
        }
        msix_control(k, MSIX_ENABLE);
    }
    return true;
}

static void ring_end(void)
{
    for (unsigned k = 0; k < 2; k++) {
        msix_control(k, 0);
        for (unsigned n = 0; n < VECTORS; n++) {
            entry_mask(k, n, true);
            irq_on(vector_of(k, n), NULL, NULL);
        }
    }
    irq_window();
}

static void ring(unsigned from, uint64_t position, unsigned n)
{
    store(peer[from].regs + R_DOORBELL, 4, position << 16 | n);
}

static uint64_t pending(unsigned k)
{
    return load(peer[k].table + peer[k].pending, 8);
}

/* All that came since irq_forget(), but for one vector. */
static uint32_t others(unsigned vector)
{
    uint32_t sum = 0;

    for (unsigned k = 0; k < 2; k++)
        for (unsigned n = 0; n < VECTORS; n++)
            sum += vector_of(k, n) == vector ? 0 : irq_count(vector_of(k, n));
    return sum;
}

static void peers_identity(unsigned i)
{
    (void)i;
    if (!two_peers())
        return;
    for (unsigned k = 0; k < 2; k++) {
        const struct pci_function *f = &peer[k].f;

        expect_eq("revision and class", config_get(f, CFG_REVISION, 4), 0x05000001);
        expect_eq("bytes of BAR0", f->bar[0].bytes, REGISTERS);
        expect(!f->bar[1].io && !f->bar[1].wide && !f->bar[1].prefetchable, "kind of BAR1");
        expect(f->bar[2].wide && f->bar[2].prefetchable, "kind of BAR2");
        if (!expect(peer[k].capability != 0, "there is MSI-X"))
            return;
        expect((config_get(f, peer[k].capability + MSIX_CONTROL, 2) & MSIX_COUNT) + 1 >= VECTORS,
               "enough vectors");
        expect_eq("table", config_get(f, peer[k].capability + MSIX_TABLE, 4), 1);
        expect_eq("BAR of the pending bits",
                  config_get(f, peer[k].capability + MSIX_PENDING, 4) & 7, 1);
    }
    expect(peer[0].position != peer[1].position, "positions of their own");
    expect_eq("bytes of BAR2", peer[1].f.bar[2].bytes, peer[0].f.bar[2].bytes);
}

static void one_memory_body(void)
{
    for (unsigned p = 0; p < 4; p++) {
        store(peer[0].memory + p * PAGE, 8, share_word(p, 7));
        store(peer[1].memory + p * PAGE + 8, 8, share_word(p, 8));
    }
    for (unsigned p = 0; p < 4; p++) {
        expect_eq("seen by the other", load(peer[1].memory + p * PAGE, 8), share_word(p, 7));
        expect_eq("seen by the one", load(peer[0].memory + p * PAGE + 8, 8), share_word(p, 8));
    }
}

/* The plain device's, which has another name; 0: there is none. */
static uint64_t other_share(void)
{
    struct pci_function plain;

    if (!share_find(&plain, false, 0))
        return 0;
    bar_show(&plain, 2, GVA_MOVED, PAGE, PAGE, PAT_WB);
    return load(GVA_MOVED, 8);
}

static void one_memory(unsigned i)
{
    uint64_t own;

    (void)i;
    if (!two_peers())
        return;
    own = other_share();
    without_traps(one_memory_body);
    expect_eq("the memory of another name", other_share(), own);
}

/* Every vector of either, rung by either. */
static void every_vector(unsigned i)
{
    unsigned from = i % 2, to = i / 2;

    if (!ready_to_ring(NULL))
        return;
    for (unsigned n = 0; n < VECTORS && !failed(); n++) {
        irq_forget();
        ring(from, peer[to].position, n);
        expect(irq_wait_count(vector_of(to, n), 1, PATIENCE), "the interrupt comes");
        irq_window();
        expect_eq("how often", irq_count(vector_of(to, n)), 1);
        expect_eq("others", others(vector_of(to, n)), 0);
    }
    ring_end();
}

static void name_every(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "doorbell: peer %u rings every vector of peer %u", i % 2, i / 2);
}

static void rings_no_one(unsigned i)
{
    (void)i;
    if (!ready_to_ring(NULL))
        return;
    ring(0, 7, 0);
    ring(0, 0xffff, 0);
    ring(0, peer[1].position, 0xff);
    ring(0, peer[1].position, 0xffff);
    ring(1, peer[0].position, MSIX_COUNT);
    irq_window();
    expect_eq("interrupts", others(0), 0);
    expect_eq("pending bits", pending(0) | pending(1), 0);
    ring_end();
}

/* A masked vector waits, with its bit set, whether it is masked alone or with all. */
static void masked(unsigned i)
{
    unsigned vector = vector_of(1, 2);

    if (!ready_to_ring(NULL))
        return;
    if (i == 0)
        entry_mask(1, 2, true);
    else
        msix_control(1, MSIX_ENABLE | MSIX_MASK_ALL);
    ring(0, peer[1].position, 2);
    ring(0, peer[1].position, 2);
    irq_window();
    expect_eq("interrupts while masked", irq_total, 0);
    expect_eq("pending bits", pending(1), 1u << 2);
    if (i == 0)
        entry_mask(1, 2, false);
    else
        msix_control(1, MSIX_ENABLE);
    expect(irq_wait_count(vector, 1, PATIENCE), "it comes when unmasked");
    irq_window();
    expect_eq("how often", irq_count(vector), 1);
    expect_eq("pending bits afterwards", pending(1), 0);
    ring_end();
}

static void name_masked(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "doorbell: a vector that %s waits",
                i == 0 ? "is masked" : "is masked with all others");
}

/* Ping-pong: each answers the other out of its handler, until the number in the memory is reached. */
#define TURNS 40u

static uint64_t torn, strangers;

static void on_turn(struct trap_frame *frame, void *arg)
{
    const struct peer *self = arg;
    unsigned k = self == &peer[0] ? 0 : 1;
    uint64_t turn = load(self->memory, 8);

    (void)frame;
    torn += load(self->memory + 3 * PAGE + 8, 8) != ~turn;
    strangers += k == turn % 2; /* the even ones are the second's */
    if (turn >= TURNS)
        return;
    store(self->memory + 3 * PAGE + 8, 8, ~(turn + 1));
    store(self->memory, 8, turn + 1);
    ring(k, peer[!k].position, (unsigned)(turn + 1) % VECTORS);
}

static void ping_pong(unsigned i)
{
    uint64_t start = rdtsc();

    (void)i;
    if (!ready_to_ring(on_turn))
        return;
    torn = strangers = 0;
    store(peer[0].memory + 3 * PAGE + 8, 8, ~0ull);
    store(peer[0].memory, 8, 0);
    ring(0, peer[1].position, 0);
    while (irq_total < TURNS + 1 && rdtsc() - start < PATIENCE)
        irq_window();
    expect_eq("turns", load(peer[0].memory, 8), TURNS);
    expect_eq("interrupts", irq_total, TURNS + 1);
    expect_eq("interrupts that came before their data", torn, 0);
    expect_eq("interrupts of the wrong one", strangers, 0);
    ring_end();
}

static const struct check list[] = {
    {"ivshmem", "doorbell: ids, BARs, positions of two", NULL, 0, false, peers_identity},
    {"ivshmem", "doorbell: two devices with one memory", NULL, 0, false, one_memory},
    {"ivshmem", NULL, name_every, 4, false, every_vector},
    {"ivshmem", "doorbell: nobody and no vector", NULL, 0, false, rings_no_one},
    {"ivshmem", NULL, name_masked, 2, false, masked},
    {"ivshmem", "doorbell: each answers the other, and data comes before interrupts", NULL, 0,
     false, ping_pong},
};
const struct check_list checks_peers = {list, COUNT_OF(list)};
