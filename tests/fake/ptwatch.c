#include "tests/fake/ptwatch.h"

#include <stdlib.h>
#include <string.h>

#include "tests/fake/blocks.h"
#include "tests/fake/host.h"

#define TABLES (FAKE_BLOCKS_COUNT * PT_BLOCK_FRAMES)
#define FRAME  0x000ffffffffff000ull

/* A table that is or was in the tree. */
struct seen {
    hpa_t table;
    unsigned level;
    uint64_t base; /* input address of its first entry */
    bool dead;
    uint64_t shadow[512]; /* what pt_store has put there */
};

/* How entries are read: by the test's own rules, which share no number with the formats. */
enum reading { READ_EPT, READ_STAGE1, READ_NPT };

static struct {
    const struct pt_root *root;
    enum reading reading;
    uint64_t base, unit, units;
    uint64_t old[WATCH_UNITS], new[WATCH_UNITS];
    struct seen *by_frame[TABLES];
    struct seen *list[TABLES];
    unsigned count;
    bool duty;
    uint64_t stores;
    uint64_t stores_before; /* of the root, at watch_start */
    unsigned hardware;
    void (*check)(uint64_t from, uint64_t to); /* NULL: units */
} w;

static uint64_t random_state = 1;

uint64_t watch_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

void watch_seed(uint64_t seed)
{
    random_state = seed != 0 ? seed : 1;
}

/* ---- the independent reading of the three formats ---- */

static enum reading reading_of(const struct pt_root *root)
{
    if (root->fmt == &pt_format_ept)
        return READ_EPT;
    return root->fmt == &pt_format_npt ? READ_NPT : READ_STAGE1;
}

static uint64_t ad_bits(void)
{
    return w.reading == READ_EPT ? 0x300 : 0x60;
}

static bool is_present(enum reading reading, uint64_t e)
{
    return (e & (reading == READ_EPT ? 7 : 1)) != 0;
}

static bool is_leaf(uint64_t e, unsigned level)
{
    return level == 1 || (e & 0x80);
}

static void check_legal_ept(uint64_t e, unsigned level)
{
    unsigned type = (e >> 3) & 7;

    if ((e & 7) == 0) {
        assert_int_equal(e, 0);
        return;
    }
    if ((e & 3) == 2)
        fail_msg("write without read: %llx", (unsigned long long)e);
    if (!is_leaf(e, level)) {
        assert_int_equal(e & ~FRAME & ~0x100ull, 7);
        return;
    }
    assert_true(level < 4);
    if (type == 2 || type == 3 || type == 7)
        fail_msg("memory type %u", type);
    assert_int_equal(e >> 52, 0);
    assert_int_equal(e & 0xc00, 0);
    if (level == 1)
        assert_int_equal(e & 0x80, 0);
}

/* Stage 1 and NPT differ in one bit: U/S is clear in all entries of the one, set in all of the other. */
static void check_legal_host(uint64_t e, unsigned level)
{
    uint64_t user = w.reading == READ_NPT ? 4 : 0;

    if ((e & 1) == 0) {
        assert_int_equal(e, 0);
        return;
    }
    assert_int_equal(e & 0x0f04, user); /* US, G and the ignored bits */
    assert_int_equal((e >> 52) & 0x7ff, 0);
    if (!is_leaf(e, level))
        assert_int_equal(e & ~FRAME & ~0x20ull, 3 | user);
    else
        assert_true(level < 4);
}

static void check_legal(uint64_t e, unsigned level)
{
    if (w.reading == READ_EPT)
        check_legal_ept(e, level);
    else
        check_legal_host(e, level);
    if (e != 0 && level > 1 && is_leaf(e, level)) {
        uint64_t reserved = (1ull << (12 + 9 * (level - 1))) - 0x1000;

        assert_int_equal(e & reserved & (w.reading == READ_EPT ? ~0ull : ~0x1000ull), 0);
    }
}

static uint64_t key_of_host(uint64_t e, unsigned level)
{
    static const uint8_t pat[8] = {6, 1, 7, 0, 6, 5, 7, 4};
    unsigned index = (unsigned)((e >> 3) & 3) | (e & (level == 1 ? 0x80 : 0x1000) ? 4 : 0);

    return 0x80 | (uint64_t)pat[index] << 3 | (e >> 63 ? 0 : 4) | (e & 3);
}

uint64_t watch_walk(const struct pt_root *root, uint64_t addr)
{
    enum reading reading = reading_of(root);
    uint64_t table = root->root.v;

    for (unsigned level = 4; level >= 1; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        uint64_t e = ((const uint64_t *)direct(HPA(table)))[(addr >> shift) & 511];
        uint64_t inside = addr & ((1ull << shift) - 1) & ~0xfffull;

        if (!is_present(reading, e))
            return 0;
        if (is_leaf(e, level)) {
            uint64_t frame = ((e & FRAME) >> shift << shift) + inside;

            return frame | (reading == READ_EPT ? 0x80 | (e & 0x7f) : key_of_host(e, level));
        }
        table = e & FRAME;
    }
    return 0;
}

/* ---- the tables seen ---- */

static struct seen **slot_of(hpa_t table)
{
    uint64_t index = (table.v - FAKE_BLOCKS_BASE) / PAGE_BYTES;

    assert_true(table.v >= FAKE_BLOCKS_BASE && index < TABLES);
    return &w.by_frame[index];
}

static void see(hpa_t table, unsigned level, uint64_t base)
{
    const uint64_t *entry = direct(table);
    struct seen **slot = slot_of(table);

    assert_true(fake_blocks_owns(table));
    assert_int_equal(table.v % PAGE_BYTES, 0);
    if (*slot != NULL)
        fail_msg("table %llx linked twice, or while it is dead", (unsigned long long)table.v);
    *slot = malloc(sizeof(**slot));
    (*slot)->table = table;
    (*slot)->level = level;
    (*slot)->base = base;
    (*slot)->dead = false;
    memcpy((*slot)->shadow, entry, PAGE_BYTES);
    w.list[w.count++] = *slot;
    for (unsigned i = 0; i < 512; i++) {
        check_legal(entry[i], level);
        if (entry[i] != 0 && !is_leaf(entry[i], level))
            see(HPA(entry[i] & FRAME), level - 1, base + ((uint64_t)i << (12 + 9 * (level - 1))));
    }
}

static void see_dead(hpa_t table)
{
    struct seen *seen = *slot_of(table);

    assert_non_null(seen);
    assert_false(seen->dead);
    seen->dead = true;
    for (unsigned i = 0; i < 512; i++) {
        if (seen->shadow[i] != 0 && !is_leaf(seen->shadow[i], seen->level))
            see_dead(HPA(seen->shadow[i] & FRAME));
    }
}

/* ---- comparing ---- */

static uint64_t key_inside(uint64_t key, uint64_t addr)
{
    return key == 0 ? 0 : key + ((addr - w.base) % w.unit & ~0xfffull);
}

static void check_page(uint64_t addr, bool final)
{
    uint64_t unit = (addr - w.base) / w.unit;
    uint64_t is = watch_walk(w.root, addr);

    if (is == key_inside(w.new[unit], addr))
        return;
    if (!final && is == key_inside(w.old[unit], addr))
        return;
    fail_msg("%llx translates to %llx: old %llx, new %llx", (unsigned long long)addr,
             (unsigned long long)is, (unsigned long long)key_inside(w.old[unit], addr),
             (unsigned long long)key_inside(w.new[unit], addr));
}

/* First, last and some page of each unit in the range; all pages where units are pages. */
static void check_range(uint64_t from, uint64_t to, bool final)
{
    uint64_t top = w.base + w.units * w.unit;

    if (w.check) {
        w.check(from, to);
        return;
    }
    from = from < w.base ? w.base : from;
    to = to > top ? top : to;
    while (from < to) {
        uint64_t next = w.base + ((from - w.base) / w.unit + 1) * w.unit;

        next = next > to ? to : next;
        check_page(from, final);
        if (next - from > PAGE_BYTES) {
            check_page(next - PAGE_BYTES, final);
            check_page(from + watch_random() % (next - from) / PAGE_BYTES * PAGE_BYTES, final);
        }
        from = next;
    }
}

static bool asks_flush(uint64_t old, uint64_t new, unsigned level)
{
    if (old == 0)
        return false;
    if (!is_leaf(old, level) || new == 0 || !is_leaf(new, level))
        return true;
    if (old & ~new &ad_bits())
        return true;
    if (w.reading == READ_EPT)
        return ((old ^ new) & ~7ull & ~ad_bits()) != 0 || (old & ~new & 7) != 0;
    return ((old ^ new) & ~ad_bits()) != 0;
}

static bool hardware_acts(void)
{
    return w.hardware != 0 && watch_random() % w.hardware == 0;
}

static void watched(uint64_t *entry, uint64_t old, uint64_t value)
{
    hpa_t table = HPA(direct_to_hpa(entry).v & ~0xfffull);
    struct seen *seen = *slot_of(table);
    unsigned index = (unsigned)((uintptr_t)entry % PAGE_BYTES / 8);
    uint64_t span, addr;

    w.stores++;
    if (seen == NULL)
        return;
    assert_false(seen->dead);
    span = 1ull << (12 + 9 * (seen->level - 1));
    addr = seen->base + index * span;
    assert_int_equal(old & ~ad_bits(), seen->shadow[index] & ~ad_bits());
    assert_true(old != value);
    seen->shadow[index] = value;
    check_legal(value, seen->level);
    w.duty |= asks_flush(old, value, seen->level);
    if (old != 0 && !is_leaf(old, seen->level))
        see_dead(HPA(old & FRAME));
    if (value != 0 && !is_leaf(value, seen->level))
        see(HPA(value & FRAME), seen->level - 1, addr);
    check_range(addr, addr + span, false);
}

uint64_t pt_store(uint64_t *entry, uint64_t value, bool live)
{
    uint64_t old = *entry;

    assert_int_equal((uintptr_t)entry % 8, 0);
    assert_int_equal(live, old != 0);
    if (w.root != NULL && live && (old & ad_bits()) != ad_bits() && hardware_acts()) {
        struct seen *seen = *slot_of(HPA(direct_to_hpa(entry).v & ~0xfffull));

        if (seen != NULL && is_leaf(old, seen->level))
            old |= ad_bits();
    }
    *entry = value;
    if (w.root != NULL)
        watched(entry, old, value);
    return live ? old : 0;
}

/* ---- what tests call ---- */

void watch_start(const struct pt_root *root, uint64_t base, uint64_t unit_bytes, unsigned units)
{
    watch_stop();
    assert_true(units <= WATCH_UNITS);
    w.root = root;
    w.stores_before = root->stores;
    w.reading = reading_of(root);
    w.base = base;
    w.unit = unit_bytes;
    w.units = units;
    see(root->root, 4, 0);
    for (unsigned i = 0; i < units; i++)
        w.old[i] = w.new[i] = watch_walk(root, base + i * unit_bytes);
}

void watch_start_pages(const struct pt_root *root, void (*check)(uint64_t from, uint64_t to))
{
    watch_start(root, 0, PAGE_BYTES, 0);
    w.check = check;
}

bool watch_duty(void)
{
    return w.duty;
}

void watch_stop(void)
{
    while (w.count > 0) {
        struct seen *seen = w.list[--w.count];

        *slot_of(seen->table) = NULL;
        free(seen);
    }
    memset(w.old, 0, sizeof(w.old));
    memset(w.new, 0, sizeof(w.new));
    w.root = NULL;
    w.check = NULL;
    w.duty = false;
    w.stores = 0;
    w.hardware = 0;
}

static void expect(uint64_t addr, uint64_t pages, uint64_t key, uint64_t step)
{
    uint64_t first = (addr - w.base) / w.unit;
    uint64_t units = pages * PAGE_BYTES / w.unit;

    assert_int_equal((addr - w.base) % w.unit, 0);
    assert_int_equal(pages * PAGE_BYTES % w.unit, 0);
    assert_true(addr >= w.base && first + units <= w.units);
    for (uint64_t i = 0; i < units; i++, key += step)
        w.new[first + i] = key;
}

void watch_map(uint64_t addr, hpa_t frame, uint64_t pages, const struct pt_attr *attr)
{
    uint64_t key = frame.v | 0x80 | (attr->ignore_pat ? 0x40u : 0u) | (uint64_t)attr->memtype << 3 |
                   attr->rights;

    expect(addr, pages, key, w.unit);
}

void watch_unmap(uint64_t addr, uint64_t pages)
{
    expect(addr, pages, 0, 0);
}

void watch_done(const struct pt_flush *flush)
{
    if (!w.check)
        check_range(w.base, w.base + w.units * w.unit, true);
    memcpy(w.old, w.new, sizeof(w.old));
    assert_int_equal(flush->needed, w.duty);
    assert_int_equal(w.root->stores - w.stores_before, w.stores);
    for (unsigned i = 0; i < w.count; i++) {
        if (memcmp(direct(w.list[i]->table), w.list[i]->shadow, PAGE_BYTES) != 0)
            fail_msg("a %s table was changed behind pt_store", w.list[i]->dead ? "dead" : "live");
    }
}

void watch_flushed(void)
{
    static const uint64_t zero[512];
    unsigned kept = 0;

    w.duty = false;
    for (unsigned i = 0; i < w.count; i++) {
        struct seen *seen = w.list[i];

        if (!seen->dead) {
            w.list[kept++] = seen;
            continue;
        }
        if (fake_blocks_owns(seen->table))
            assert_memory_equal(direct(seen->table), zero, PAGE_BYTES);
        *slot_of(seen->table) = NULL;
        free(seen);
    }
    w.count = kept;
}

void watch_hardware(unsigned one_in)
{
    w.hardware = one_in;
    for (unsigned i = 0; i < w.count && one_in != 0; i++) {
        struct seen *seen = w.list[i];
        uint64_t *entry = direct(seen->table);

        for (unsigned j = 0; j < 512; j++) {
            if (entry[j] != 0 && is_leaf(entry[j], seen->level) && hardware_acts()) {
                entry[j] |= watch_random() & ad_bits();
                seen->shadow[j] = entry[j];
            }
        }
    }
}

void watch_dirty(uint64_t addr)
{
    for (unsigned i = 0; i < w.count; i++) {
        struct seen *seen = w.list[i];
        unsigned shift = 12 + 9 * (seen->level - 1);
        uint64_t *entry = direct(seen->table);
        uint64_t index = (addr - seen->base) >> shift;

        if (seen->dead || addr < seen->base || index >= 512 || entry[index] == 0)
            continue;
        if (is_leaf(entry[index], seen->level))
            seen->shadow[index] = entry[index] |= ad_bits();
    }
}

uint64_t watch_stores(void)
{
    return w.stores;
}
