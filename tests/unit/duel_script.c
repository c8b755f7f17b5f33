/* Operations of a duel by hand. */
#include "tests/unit/duel.h"

static struct duel_op call_op(unsigned device, const struct model_call *call)
{
    struct duel_op op = {.kind = DUEL_CALL, .device = (uint8_t)device, .calls = 1};

    op.call[0] = *call;
    return op;
}

struct duel_op duel_create(unsigned device, enum hv_bar bar, uint64_t page, uint64_t count,
                           uint32_t flags, unsigned handle, uint64_t section_page)
{
    struct model_call call = {.kind = HV_MMIO_OP_CREATE,
                              .bar = bar,
                              .page = page,
                              .count = count,
                              .section_page = section_page,
                              .flags = flags,
                              .handle = (uint8_t)handle};

    return call_op(device, &call);
}

struct duel_op duel_unmap(unsigned device, enum hv_bar bar, uint64_t page, uint64_t count)
{
    struct model_call call = {.kind = HV_MMIO_OP_UNMAP, .bar = bar, .page = page, .count = count};

    return call_op(device, &call);
}

struct duel_op duel_destroy(unsigned device, enum hv_bar bar, uint64_t page)
{
    struct model_call call = {.kind = HV_MMIO_OP_DESTROY, .bar = bar, .page = page};

    return call_op(device, &call);
}

struct duel_op duel_batch(uint32_t flags)
{
    return (struct duel_op){.kind = DUEL_BATCH, .flags = flags};
}

void duel_batch_add(struct duel_op *batch, const struct duel_op *op)
{
    assert_true(batch->calls < MODEL_CALLS);
    batch->device = op->device;
    batch->call[batch->calls++] = op->call[0];
}

struct duel_op duel_section(unsigned template, unsigned handle)
{
    return (struct duel_op){
        .kind = DUEL_SECTION, .object = (uint8_t) template, .handle = (uint8_t)handle};
}

struct duel_op duel_commit(unsigned handle, uint64_t page, uint64_t count)
{
    struct duel_op op = {.kind = DUEL_COMMIT, .handle = (uint8_t)handle};

    op.call[0].section_page = page;
    op.call[0].count = count;
    return op;
}

struct duel_op duel_decode_bars(unsigned device, bool on)
{
    return (struct duel_op){.kind = DUEL_COMMAND, .device = (uint8_t)device, .value = on};
}

struct duel_op duel_move(unsigned device, enum hv_bar bar, uint64_t base)
{
    return (struct duel_op){
        .kind = DUEL_MOVE, .device = (uint8_t)device, .bar = bar, .value = base};
}

struct duel_op duel_resize(unsigned n)
{
    return (struct duel_op){.kind = DUEL_RESIZE, .bar = HV_BAR2, .value = n};
}

struct duel_op duel_view(unsigned handle, unsigned view, uint64_t page, uint64_t count,
                         uint32_t protect)
{
    struct duel_op op = {.kind = DUEL_VIEW,
                         .handle = (uint8_t)handle,
                         .object = (uint8_t)view,
                         .flags = HV_VIEW_PAGE_GRANULAR,
                         .access = protect};

    op.call[0].section_page = page;
    op.call[0].count = count;
    return op;
}

struct duel_op duel_io(unsigned view, uint64_t cell, uint64_t pages, uint32_t protect)
{
    return (struct duel_op){.kind = DUEL_IO,
                            .object = (uint8_t)view,
                            .value = DUEL_DEVICE_BASE + cell * PAGE_BYTES,
                            .bytes = pages * PAGE_BYTES,
                            .access = protect};
}

void duel_set_stage(bool with_memory)
{
    static const uint8_t cheap[] = {DUEL_WINDOW, DUEL_WINDOW_WC, DUEL_MODULE, DUEL_RESERVE,
                                    DUEL_WC,     DUEL_READONLY,  DUEL_CODE};

    for (unsigned i = 0; i < ARRAY_COUNT(cheap) && duel.config.shift == 0; i++)
        duel_do(duel_section(cheap[i], i));
    if (with_memory || duel.config.shift != 0)
        duel_do(duel_section(DUEL_LARGE, MODEL_HANDLES - 1));
    duel_do(duel_decode_bars(0, true));
    duel_do(duel_decode_bars(1, true));
}
