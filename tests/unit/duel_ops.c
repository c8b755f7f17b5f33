/* Operations of a duel out of bytes, and as text. */
#include "tests/unit/duel.h"

#include <stdio.h>

/* Which BAR: mostly those with room for something. */
static const struct {
    uint8_t device, bar;
} targets
    [16] =
        {
            {0, HV_BAR2},     {0, HV_BAR2}, {0, HV_BAR2}, {0, HV_BAR2},    {0, HV_BAR2},
            {0, HV_BAR4},     {0, HV_BAR4}, {0, HV_BAR0}, {0, HV_BAR_ROM}, {1, HV_BAR0},
            {1, HV_BAR2},     {1, HV_BAR2}, {1, HV_BAR2}, {1, HV_BAR2},    {0, HV_BAR2},
            {0, HV_BAR_COUNT} /* one that is wrong, see wrong[] */
};
static const struct {
    uint8_t device;
    uint32_t bar;
} wrong[8] = {
    {0, HV_BAR1},      {0, HV_BAR3},  {1, HV_BAR5},
    {0, HV_BAR_COUNT}, {1, 1u << 30}, {MODEL_NO_DEVICE, HV_BAR2},
    {1, HV_BAR_ROM},   {1, HV_BAR4},
};

static const uint64_t fine_bases[16] = {
    GIB(16),
    GIB(16) + MIB(4),
    GIB(16) + MIB(8),
    GIB(16) + MIB(12),
    GIB(4),
    GIB(4) + MIB(16),
    0xc0000000,
    0xc0800000,
    0xc0400000,
    0,
    GIB(512) - MIB(8),
    GIB(512),
    MIB(16),
    MIB(8),
    GIB(16) + MIB(2),
    0xfffffffff0000000,
};
static const uint64_t coarse_bases[16] = {
    GIB(16), GIB(18), GIB(20), GIB(24), GIB(4), GIB(8), GIB(512) - GIB(4), GIB(512),
    GIB(16), GIB(18), GIB(20), GIB(22), 0,      GIB(2), GIB(32),           0xc0000000,
};

static uint64_t word(const uint8_t *at)
{
    return at[0] | (uint64_t)at[1] << 8;
}

/* A quantity of pages: what matters is where the borders of large leaves and of earlier ranges are. */
static uint64_t page_of(const uint8_t *at, uint64_t pages)
{
    unsigned shift = duel.config.shift;
    uint64_t value = word(at + 1) << shift, large = LARGE_PAGES << shift;

    if (pages == 0)
        pages = 1ull << shift;
    if (at[0] < 96)
        return value % pages;
    if (at[0] < 160)
        return value % MIN(pages, 32ull << shift);
    if (at[0] < 224)
        return (value >> shift) * large % pages;
    if (at[0] < 250)
        return ((value >> shift) * large + ((uint64_t)at[0] % 5 << shift)) % pages;
    if (at[0] < 254)
        return pages - ((uint64_t)(at[0] - 250) << shift); /* the end: just legal, or just not */
    return at[0] == 254 ? ~0ull << shift : 1ull << 52;
}

static uint64_t count_of(const uint8_t *at, uint64_t page, uint64_t pages)
{
    unsigned shift = duel.config.shift;
    uint64_t value = word(at + 1) << shift, large = LARGE_PAGES << shift;

    if (at[0] < 64)
        return 1ull << shift;
    if (at[0] < 144)
        return ((value >> shift) % 24 + 1) << shift;
    if (at[0] < 176)
        return large;
    if (at[0] < 224)
        return value % (large + large / 4) + (1ull << shift);
    if (at[0] < 248)
        return page < pages ? pages - page : 1ull << shift;
    if (at[0] < 252)
        return value % (4 * large);
    return at[0] == 252 ? 0 : at[0] == 253 ? ~0ull << shift : 0 - page;
}

/* In step with the BAR page, so that large leaves are possible, or anywhere. */
static uint64_t section_page_of(const uint8_t *at, uint64_t page, uint64_t pages)
{
    uint64_t large = LARGE_PAGES << duel.config.shift;

    if (at[0] < 128)
        return (page % large + word(at + 1) * large) % (pages == 0 ? 1 : pages);
    return page_of(at, pages);
}

static uint32_t flags_of(const uint8_t *at)
{
    static const uint16_t types[8] = {0, 0, 0, 0, 0, HV_MMIO_MT_WB, HV_MMIO_MT_UC, HV_MMIO_MT_WC};
    uint32_t flags = (at[0] & 3u) | types[at[0] >> 2 & 7];

    if (at[1] & 1)
        flags |= HV_MMIO_REPLACE;
    if ((at[1] & 6) == 6)
        flags |= HV_MMIO_NO_LARGE;
    if ((at[1] & 0x18) == 0x18)
        flags |= HV_MMIO_IGNORE_GUEST_PAT;
    if ((at[0] & 0xe0) == 0xe0)
        flags = (flags & ~(uint32_t)HV_MMIO_MT_MASK) | HV_MMIO_MT_WT;
    if ((at[0] & 0xe0) == 0xc0 && (at[1] & 0x20))
        flags = (flags & ~(uint32_t)HV_MMIO_MT_MASK) | HV_MMIO_MT_WP;
    if (at[1] == 0xff || at[1] == 0xfe) /* flags that are none, and one that is not built */
        flags ^= at[0] & 0x80 ? 0x60u : at[0] & 0x40 ? 0x1000u : at[0] & 0x20 ? 4u : 0x800u;
    return flags;
}

static uint8_t handle_of(uint8_t byte)
{
    return byte < 240 ? byte % MODEL_HANDLES : (uint8_t)(MODEL_HANDLE_ZERO + byte % 3);
}

/* A handle that is open, when there is one: most calls mean something. */
static uint8_t open_handle_of(uint8_t byte)
{
    uint8_t handle = handle_of(byte);

    for (unsigned i = 0; i < MODEL_HANDLES && handle < MODEL_HANDLES && byte < 232; i++) {
        if (duel.model.handle[handle].live)
            break;
        handle = (uint8_t)((handle + 1) % MODEL_HANDLES);
    }
    return handle;
}

static void decode_target(const uint8_t *at, uint8_t *device, enum hv_bar *bar)
{
    unsigned target = at[1] & 15, spoilt = at[1] >> 4 & 7;

    if (targets[target].bar == HV_BAR_COUNT && at[15] < 128) {
        *device = wrong[spoilt].device;
        *bar = (enum hv_bar)wrong[spoilt].bar;
    } else {
        *device = targets[target % 15].device;
        *bar = (enum hv_bar)targets[target % 15].bar;
    }
}

/* The first page of a range at or below, so that destroy calls mean something. */
static uint64_t range_below(unsigned device, enum hv_bar bar, uint64_t page)
{
    const struct model_bar *b;
    uint64_t unit = page >> duel.config.shift;

    if (device >= MODEL_DEVICES || (unsigned)bar >= HV_BAR_COUNT)
        return page;
    b = &duel.model.device[device].bar[bar];
    if (unit >= b->units)
        return page;
    for (uint64_t i = unit + 1; i-- > 0;)
        if (b->page[i].object != 0)
            return (uint64_t)b->page[i].key << duel.config.shift;
    return page;
}

/* A handle that is open for the section. */
static bool handle_to(unsigned object, uint8_t *handle)
{
    for (uint8_t i = 0; i < MODEL_HANDLES; i++)
        if (duel.model.handle[i].live && duel.model.handle[i].object == object) {
            *handle = i;
            return true;
        }
    return false;
}

/* Fill the hole behind the range below just as the range would go on: a larger leaf may come of it. */
static void heal(unsigned device, struct model_call *call)
{
    const struct model_bar *b = &duel.model.device[device].bar[call->bar];
    uint64_t unit = call->page >> duel.config.shift, end;
    const struct model_page *left;

    if (unit >= b->units)
        return;
    while (unit > 0 && b->page[unit].object == 0)
        unit--;
    while (unit < b->units && b->page[unit].object != 0)
        unit++;
    if (unit == 0 || unit >= b->units)
        return;
    left = &b->page[unit - 1];
    if (!handle_to(left->object - 1u, &call->handle))
        return;
    for (end = unit; end < b->units && b->page[end].object == 0;)
        end++;
    end = MIN(end, unit + duel.model.object[left->object - 1].units - left->section_unit - 1);
    if (end <= unit)
        return;
    call->page = unit << duel.config.shift;
    call->count = (end - unit) << duel.config.shift;
    call->section_page = (left->section_unit + 1ull) << duel.config.shift;
    call->flags = left->flags;
}

static void decode_call(const uint8_t *at, unsigned device, enum hv_bar bar,
                        enum hv_mmio_op_kind kind, struct model_call *call)
{
    uint64_t pages = 0, section_pages = 1ull << duel.config.shift;

    if (device < MODEL_DEVICES && (unsigned)bar < HV_BAR_COUNT)
        pages = (uint64_t)duel.model.device[device].bar[bar].units << duel.config.shift;
    call->kind = kind;
    call->bar = bar;
    call->page = page_of(at + 2, pages);
    call->count = count_of(at + 5, call->page, pages);
    call->handle = open_handle_of(at[11]);
    if (call->handle < MODEL_HANDLES && duel.model.handle[call->handle].live)
        section_pages = (uint64_t)duel.model.object[duel.model.handle[call->handle].object].units
                        << duel.config.shift;
    call->section_page = section_page_of(at + 8, call->page, section_pages);
    call->flags = flags_of(at + 12);
    if (kind == HV_MMIO_OP_DESTROY && at[14] < 192)
        call->page = range_below(device, bar, call->page);
    if (kind == HV_MMIO_OP_CREATE && at[14] < 192 && call->section_page < section_pages)
        call->count = MIN(call->count, section_pages - call->section_page);
    if (kind == HV_MMIO_OP_CREATE && at[14] >= 216 && pages != 0)
        heal(device, call);
    /* 4 KiB leaves by the million would only take time. */
    if (duel.config.shift != 0 && (call->flags & (HV_MMIO_NO_LARGE | HV_MMIO_EXECUTABLE)) &&
        call->count < ~0ull >> 1)
        call->count = MIN(call->count, 4ull << duel.config.shift);
}

/* What is mapped at the page and behind it, mapped once more, up to `most` units of the same range. */
static void repeat(unsigned device, struct model_call *call, uint64_t most)
{
    const struct model_bar *b = &duel.model.device[device].bar[call->bar];
    uint64_t unit = call->page >> duel.config.shift, end = unit;
    const struct model_page *page = &b->page[unit];

    if (page->object == 0 || !handle_to(page->object - 1u, &call->handle))
        return;
    while (end < b->units && end - unit < most && b->page[end].object != 0 &&
           b->page[end].key == page->key)
        end++;
    call->count = (end - unit) << duel.config.shift;
    call->section_page = (uint64_t)page->section_unit << duel.config.shift;
    call->flags = page->flags | (uint32_t)HV_MMIO_REPLACE;
}

/*
 * Calm worlds: large areas are mapped, small holes come and go, and what is there is said again. So larger leaves form
 * over several ranges, and are cut again.
 */
static void decode_calm(const uint8_t *at, struct duel_op *op)
{
    unsigned shift = duel.config.shift;
    uint64_t large = LARGE_PAGES << shift;
    struct model_call *call = &op->call[0];
    uint64_t units;

    op->device = at[1] & 1;
    op->bar = HV_BAR2;
    units = duel.model.device[op->device].bar[HV_BAR2].units;
    call->bar = HV_BAR2;
    call->kind = HV_MMIO_OP_CREATE;
    call->page = word(at + 3) % units << shift;
    call->count = (1ull + at[5] % 32) << shift;
    call->handle = open_handle_of(at[11]);
    call->flags = HV_MMIO_WRITEABLE;
    if (at[15] < 60) {
        call->kind = HV_MMIO_OP_UNMAP;
        call->count = MIN(call->count, (units << shift) - call->page);
    } else if (at[15] < 150) {
        heal(op->device, call);
    } else if (at[15] < 175) {
        call->kind = HV_MMIO_OP_DESTROY;
        call->page = range_below(op->device, HV_BAR2, call->page);
    } else if (at[15] < 225) {
        repeat(op->device, call, 1 + at[5] % 64);
        if (at[15] >= 215)
            call->flags ^= HV_MMIO_NO_LARGE;
    } else {
        call->page = call->page / large * large;
        call->section_page = at[4] % 2 * large;
        call->count = large;
        call->flags |= HV_MMIO_REPLACE;
    }
}

static enum hv_mmio_op_kind kind_of(uint8_t byte)
{
    return byte < 150 ? HV_MMIO_OP_CREATE : byte < 200 ? HV_MMIO_OP_UNMAP : HV_MMIO_OP_DESTROY;
}

/* Page after page, each with an operation of its own: what a guest's page cache does to its window. */
static void decode_series(const uint8_t *at, struct duel_op *op)
{
    unsigned shift = duel.config.shift, odd = at[10] % (MODEL_CALLS * 3);
    struct model_call *call = op->call;
    uint64_t section_pages = 1ull << shift;

    op->calls = 1 + at[2] % MODEL_CALLS;
    decode_call(at, op->device, op->bar, HV_MMIO_OP_CREATE, call);
    if (call->handle < MODEL_HANDLES && duel.model.handle[call->handle].live)
        section_pages = (uint64_t)duel.model.object[duel.model.handle[call->handle].object].units
                        << shift;
    call->page = at[3] % 32ull << shift;
    call->section_page = (at[4] % 64ull << shift) % section_pages;
    call->count = 1ull << shift;
    call->flags = (at[12] & 3u) | (at[13] & 4 ? 0u : (uint32_t)HV_MMIO_REPLACE);
    for (unsigned i = 1; i < op->calls; i++) {
        call[i] = call[0];
        call[i].page += (uint64_t)i << shift;
        call[i].section_page = (call[0].section_page + ((uint64_t)i << shift)) % section_pages;
    }
    /* One that is not like the others. */
    if (odd < op->calls) {
        call[odd].handle = at[9] & 1 ? call[odd].handle : open_handle_of(at[8]);
        call[odd].flags ^= at[9] & 2 ? 1u : 0u;
        call[odd].kind = at[9] & 4 ? HV_MMIO_OP_DESTROY : HV_MMIO_OP_CREATE;
        call[odd].count <<= at[9] & 8 ? 1 : 0;
        call[odd].page += at[9] & 16 ? 1ull << shift : 0;
        call[odd].bar = at[9] & 32 ? HV_BAR0 : call[odd].bar;
    }
}

static size_t decode_batch(const uint8_t *at, size_t count, struct duel_op *op)
{
    size_t used = DUEL_RECORD_BYTES;

    op->kind = DUEL_BATCH;
    op->flags = at[14] < 250 ? at[14] & 1 : 3;
    if (at[15] & 1) {
        decode_series(at, op);
        return used;
    }
    op->calls = 0;
    while (op->calls < at[2] % (MODEL_CALLS + 1) && count - used >= DUEL_RECORD_BYTES) {
        uint8_t device;
        enum hv_bar bar;

        decode_target(at + used, &device, &bar);
        /* A batch is one device's: take the BAR only. */
        decode_call(at + used, op->device, bar, kind_of(at[used]), &op->call[op->calls++]);
        used += DUEL_RECORD_BYTES;
    }
    if (op->calls != 0 && at[13] >= 250)
        op->call[op->calls - 1].kind = (enum hv_mmio_op_kind)at[13];
    return used;
}

static uint32_t protection_of(uint8_t byte)
{
    static const uint16_t common[4] = {HV_PAGE_READONLY, HV_PAGE_READWRITE, HV_PAGE_READWRITE,
                                       HV_PAGE_EXECUTE_READ};
    uint32_t protect = byte < 200 ? common[byte & 3] : 1u << (byte & 7);

    if (byte & 0x10)
        protect |= byte & 0x20 ? HV_PAGE_WRITECOMBINE : HV_PAGE_NOCACHE;
    return byte == 255 ? protect | HV_PAGE_NOCACHE | HV_PAGE_WRITECOMBINE : protect;
}

/* Views and I/O space. What is not a multiple of the granularity is rare. */
static void decode_view(const uint8_t *at, struct duel_op *op)
{
    decode_call(at, 0, HV_BAR2, HV_MMIO_OP_CREATE, &op->call[0]);
    op->handle = op->call[0].handle;
    op->object = at[14] % MODEL_VIEWS;
    op->access = protection_of(at[12]);
    op->value = 0;
    op->flags = 0;
    if (op->kind == DUEL_VIEW) {
        op->flags = at[13] & 1 ? HV_VIEW_PAGE_GRANULAR : 0;
        op->flags |= at[13] & 2 ? (uint32_t)HV_VIEW_TOP_DOWN : 0;
        op->flags |= (at[13] & 12) == 12 ? (uint32_t)HV_VIEW_LARGE_PAGES : 0;
        op->flags |= at[13] >= 250 ? 0x1000u << (at[13] & 1) : 0;
        if (at[1] < 64)
            op->value =
                0xffffc00000000000ull + (uint64_t)at[3] * (at[13] & 1 ? PAGE_BYTES * 3 : KIB(64));
        if (!(at[13] & 1) && at[1] % 16 != 0)
            op->call[0].section_page &= ~15ull;
        if ((at[13] & 0x30) == 0x30)
            op->bytes = at[15] * PAGE_BYTES / 2;
        if (at[5] % 8 == 0)
            op->call[0].count = 0;
        /* In bytes they still are numbers. */
        op->call[0].count &= 0xfffffff;
        op->call[0].section_page &= 0xfffffff;
    } else if (op->kind == DUEL_IO) {
        op->value = GIB(32ull) + word(at + 2) % 2048 * PAGE_BYTES + at[4] * 8;
        op->bytes = at[5] == 0 ? 0 : word(at + 6) % (at[5] < 128 ? 64 : KIB(64)) + 1;
        if (at[1] == 0)
            op->value = MIB(64);
    } else {
        op->value = at[1] < 16 || op->kind == DUEL_UNVIEW ? word(at + 2) : 0;
        op->bytes = at[1] >= 240 ? word(at + 6) : 0;
    }
}

size_t duel_decode(const uint8_t *bytes, size_t count, struct duel_op *op)
{
    const uint64_t *bases = duel.config.shift == 0 ? fine_bases : coarse_bases;

    if (count < DUEL_RECORD_BYTES)
        return 0;
    *op = (struct duel_op){.kind = DUEL_CALL, .calls = 1};
    if (duel.config.is_calm && bytes[0] < 245) {
        decode_calm(bytes, op);
        return DUEL_RECORD_BYTES;
    }
    decode_target(bytes, &op->device, &op->bar);
    if (bytes[0] < 130) {
        decode_call(bytes, op->device, op->bar, kind_of(bytes[15]), &op->call[0]);
        return DUEL_RECORD_BYTES;
    }
    if (bytes[0] < 155)
        return decode_batch(bytes, count, op);
    op->handle = handle_of(bytes[11]);
    op->device %= MODEL_DEVICES;
    op->bar = (enum hv_bar)((unsigned)op->bar % HV_BAR_COUNT);
    op->value = bases[bytes[3] & 15];
    if (bytes[0] < 165 || (duel.config.is_calm && bytes[0] < 252)) {
        op->kind = DUEL_COMMAND;
        op->value = bytes[2] % 4 != 0;
    } else if (bytes[0] < 169 || duel.config.is_calm) {
        op->kind = DUEL_RESIZE;
        op->value = bytes[2] % 4 + (duel.config.shift == 0 ? 1u : 9u);
    } else if (bytes[0] < 175) {
        op->kind = DUEL_MOVE;
        op->value |= op->bar == HV_BAR_ROM ? bytes[2] % 4 != 0 : 0;
    } else if (bytes[0] < 180) {
        op->kind = DUEL_BAR_WRITE;
        op->bar = (enum hv_bar)(bytes[2] % HV_BAR_COUNT);
        op->value = (uint32_t)(op->value >> (bytes[4] & 1 ? 32 : 0));
    } else if (bytes[0] < 192) {
        op->kind = DUEL_SECTION;
        op->object = (uint8_t)(bytes[2] % duel_template_count());
        op->handle = bytes[11] % MODEL_HANDLES;
    } else if (bytes[0] < 200) {
        op->kind = DUEL_OPEN;
        op->object = bytes[2] % MODEL_OBJECTS;
        op->handle = bytes[11] % MODEL_HANDLES;
        op->access = bytes[12] & 15;
    } else if (bytes[0] < 210) {
        op->kind = DUEL_CLOSE;
    } else if (bytes[0] < 225) {
        op->kind = DUEL_COMMIT;
        decode_call(bytes, 0, HV_BAR2, HV_MMIO_OP_CREATE, &op->call[0]);
        op->handle = op->call[0].handle;
    } else if (bytes[0] < 235) {
        op->kind = DUEL_VIEW;
    } else if (bytes[0] < 239) {
        op->kind = DUEL_UNVIEW;
    } else if (bytes[0] < 243) {
        op->kind = DUEL_IO;
    } else if (bytes[0] < 246) {
        op->kind = DUEL_UNIO;
    } else if (bytes[0] >= 253) {
        op->kind = DUEL_BELL;
        op->value = bytes[14] % 4 != 0;
        op->call[0].page = (uint64_t)(bytes[2] % 128) << duel.config.shift;
    } else {
        op->kind = DUEL_ACCESS;
        op->value = bytes[14] & 1;
        op->call[0].page = page_of(bytes + 2, 2048);
    }
    if (op->kind >= DUEL_VIEW)
        decode_view(bytes, op);
    return DUEL_RECORD_BYTES;
}

void duel_run(const uint8_t *bytes, size_t count)
{
    struct duel_op op;

    for (size_t used; (used = duel_decode(bytes, count, &op)) != 0; count -= used, bytes += used)
        duel_step(&op);
}

/* ---- as text ---- */

#define SAY(...) \
    (used += (size_t)snprintf(text + used, bytes > used ? bytes - used : 0, __VA_ARGS__))

static void describe_call(char *text, size_t bytes, const struct model_call *call)
{
    static const char *const names[] = {"?", "create", "unmap", "destroy"};
    size_t used = 0;

    SAY("%s BAR%u 0x%llx", names[(unsigned)call->kind < 4 ? call->kind : 0], (unsigned)call->bar,
        (unsigned long long)call->page);
    if (call->kind != HV_MMIO_OP_DESTROY)
        SAY(" count 0x%llx", (unsigned long long)call->count);
    if (call->kind == HV_MMIO_OP_CREATE)
        SAY(" flags 0x%x handle %u (section %u) page 0x%llx", call->flags, call->handle,
            call->handle < MODEL_HANDLES ? duel.model.handle[call->handle].object : 99u,
            (unsigned long long)call->section_page);
}

void duel_describe(char *text, size_t bytes, const struct duel_op *op)
{
    static const char *const names[] = {
        "call",  "batch",  "command", "bar write", "move", "resize", "section", "open",
        "close", "commit", "access",  "doorbell",  "view", "unview", "io",      "unio"};
    char part[160];
    size_t used = 0;

    SAY("%s dev%u ", names[op->kind], op->device);
    switch (op->kind) {
    case DUEL_CALL:
    case DUEL_BATCH:
        if (op->kind == DUEL_BATCH)
            SAY("flags %u", op->flags);
        for (unsigned i = 0; i < op->calls; i++) {
            describe_call(part, sizeof(part), &op->call[i]);
            SAY("%s%s", op->kind == DUEL_BATCH ? "\n        " : "", part);
        }
        break;
    case DUEL_ACCESS:
    case DUEL_BELL:
        SAY("BAR%u page 0x%llx %s", (unsigned)op->bar, (unsigned long long)op->call[0].page,
            op->kind == DUEL_BELL ? op->value ? "comes" : "goes"
            : op->value           ? "write"
                                  : "read");
        break;
    case DUEL_COMMIT:
        SAY("handle %u page 0x%llx count 0x%llx", op->handle,
            (unsigned long long)op->call[0].section_page, (unsigned long long)op->call[0].count);
        break;
    case DUEL_VIEW:
    case DUEL_UNVIEW:
    case DUEL_IO:
    case DUEL_UNIO:
        SAY("%u value 0x%llx handle %u page 0x%llx count 0x%llx bytes 0x%llx flags 0x%x protect "
            "0x%x",
            op->object, (unsigned long long)op->value, op->handle,
            (unsigned long long)op->call[0].section_page, (unsigned long long)op->call[0].count,
            (unsigned long long)op->bytes, op->flags, op->access);
        break;
    case DUEL_SECTION:
    case DUEL_OPEN:
    case DUEL_CLOSE:
        SAY("handle %u object/template %u access 0x%x", op->handle, op->object, op->access);
        break;
    case DUEL_COMMAND:
    case DUEL_BAR_WRITE:
    case DUEL_MOVE:
    case DUEL_RESIZE:
    default:
        SAY("BAR%u value 0x%llx", (unsigned)op->bar, (unsigned long long)op->value);
    }
}
