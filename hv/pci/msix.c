/*
 * MSI-X (PCI Local Bus 3.0, 6.8.2): a table and pending bits in a BAR, for the rest of which the device answers.
 *
 * The core stands before the BAR's functions:
 *
 *     guest --> msix_read --+-- in the table, in the pending bits --> here
 *               msix_write  '-- elsewhere --> doorbells, the device's callbacks
 *
 * Both lie at multiples of 8, so a naturally aligned access of up to 8 bytes is inside or outside, never across.
 */
#include "hv/pci/msix.h"

#include "hv/base/direct.h"
#include "hv/base/string.h"
#include "hv/mem/frames.h"
#include "hv/pci/capability.h"
#include "hv/pci/doorbell.h"
#include "hv/pci/range.h"

/* The longest offset that the capability can tell. */
#define OFFSETS BIT(32)

static uint64_t table_bytes(uint32_t vectors)
{
    return (uint64_t)vectors * PCI_MSIX_ENTRY_BYTES;
}

static uint64_t pending_bytes(uint32_t vectors)
{
    return ALIGN_UP((uint64_t)vectors, 64) / 8;
}

static uint64_t table_pages(uint32_t vectors)
{
    return ALIGN_UP(table_bytes(vectors), PAGE_BYTES) >> PAGE_SHIFT;
}

/* ---- messages ---- */

bool msix_is_enabled(struct capabilities *caps)
{
    return caps->at[CAPABILITY_MSIX] != 0 &&
           (*capability_dword(caps, CAPABILITY_MSIX, 0) & PCI_MSIX_ENABLE);
}

static bool is_function_masked(struct capabilities *caps)
{
    return *capability_dword(caps, CAPABILITY_MSIX, 0) & PCI_MSIX_FUNCTION_MASK;
}

static void send(struct hv_device *device, uint32_t vector)
{
    const uint32_t *entry = device->capabilities->table[vector];

    interrupt_send(device, (uint64_t)entry[MSIX_UPPER] << 32 | entry[MSIX_ADDRESS],
                   entry[MSIX_DATA]);
}

hv_status_t msix_raise(struct hv_device *device, uint32_t vector)
{
    struct capabilities *caps = device->capabilities;

    if (vector >= caps->vectors)
        return HV_E_INVALID_PARAMETER_2;
    if (!interrupt_may_send(device))
        caps->dropped++;
    else if (is_function_masked(caps) || (caps->table[vector][MSIX_CONTROL] & PCI_MSIX_VECTOR_MASK))
        caps->pending[vector / 64] |= BIT(vector % 64);
    else
        send(device, vector);
    return HV_OK;
}

void msix_send_pending(struct hv_device *device)
{
    struct capabilities *caps = device->capabilities;

    if (is_function_masked(caps))
        return;
    for (uint32_t first = 0; first < caps->vectors; first += 64)
        for (uint64_t left = caps->pending[first / 64]; left; left &= left - 1) {
            uint32_t vector = first + (uint32_t)__builtin_ctzll(left);

            if (caps->table[vector][MSIX_CONTROL] & PCI_MSIX_VECTOR_MASK)
                continue;
            caps->pending[first / 64] &= ~BIT(vector % 64);
            send(device, vector);
        }
}

/* ---- accesses ---- */

/* Where the core keeps what lies at `offset`, or NULL: it is the device's. */
static uint8_t *find(const struct hv_bar_state *bar, uint64_t offset, bool *is_table)
{
    struct capabilities *caps = bar->device->capabilities;
    uint64_t in_table = offset - caps->table_offset, in_pending = offset - caps->pending_offset;

    *is_table = in_table < table_bytes(caps->vectors);
    if (*is_table)
        return (uint8_t *)caps->table + in_table;
    return in_pending < pending_bytes(caps->vectors) ? (uint8_t *)caps->pending + in_pending : NULL;
}

bool msix_owns(const struct hv_bar_state *bar, uint64_t offset)
{
    bool is_table;

    return find(bar, offset, &is_table) != NULL;
}

/* Narrow reads are answered too, as most hardware does. */
static uint64_t msix_read(void *owner, uint64_t offset, unsigned bytes)
{
    struct hv_bar_state *bar = owner;
    struct capabilities *caps = bar->device->capabilities;
    uint64_t value = 0;
    bool is_table;
    const uint8_t *at = find(bar, offset, &is_table);

    if (!at)
        return bar_read(owner, offset, bytes);
    __atomic_fetch_add(&bar->trapped_reads, 1, __ATOMIC_RELAXED);
    device_enter(bar->device);
    lock_acquire(&caps->lock);
    memcpy(&value, at, bytes);
    lock_release(&caps->lock);
    device_leave(bar->device);
    return value;
}

/* False: it is the device's. Narrow writes and those to pending bits go nowhere. */
static bool write_core(struct hv_bar_state *bar, uint64_t offset, unsigned bytes, uint64_t value)
{
    struct hv_device *device = bar->device;
    struct capabilities *caps = device->capabilities;
    bool is_table;
    uint8_t *at = find(bar, offset, &is_table);

    if (!at)
        return false;
    __atomic_fetch_add(&bar->trapped_writes, 1, __ATOMIC_RELAXED);
    if (!is_table || bytes < sizeof(uint32_t))
        return true;
    device_enter(device);
    lock_acquire(&caps->lock);
    memcpy(at, &value, bytes);
    caps->table[(offset - caps->table_offset) / PCI_MSIX_ENTRY_BYTES][MSIX_CONTROL] &=
        PCI_MSIX_VECTOR_MASK;
    if (msix_is_enabled(caps) && interrupt_may_send(device))
        msix_send_pending(device);
    lock_release(&caps->lock);
    device_leave(device);
    return true;
}

static void msix_write(void *owner, uint64_t offset, unsigned bytes, uint64_t value)
{
    if (!write_core(owner, offset, bytes, value))
        bar_write(owner, offset, bytes, value);
}

static void msix_write_whole(void *owner, uint64_t offset, unsigned bytes, uint64_t value)
{
    if (!write_core(owner, offset, bytes, value))
        doorbell_write(owner, offset, bytes, value);
}

/* Does a longer access touch any of it? Then it comes in pieces. */
static bool is_across(const struct hv_bar_state *bar, uint64_t offset, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i += sizeof(uint64_t))
        if (msix_owns(bar, offset + i))
            return true;
    return false;
}

static void msix_read_wide(void *owner, uint64_t offset, unsigned bytes, void *value)
{
    if (!is_across(owner, offset, bytes)) {
        bar_read_wide(owner, offset, bytes, value);
        return;
    }
    for (unsigned i = 0; i < bytes; i += sizeof(uint64_t)) {
        uint64_t piece = msix_read(owner, offset + i, sizeof(piece));

        memcpy((uint8_t *)value + i, &piece, sizeof(piece));
    }
}

static void msix_write_wide(void *owner, uint64_t offset, unsigned bytes, const void *value)
{
    if (!is_across(owner, offset, bytes)) {
        bar_write_wide(owner, offset, bytes, value);
        return;
    }
    for (unsigned i = 0; i < bytes; i += sizeof(uint64_t)) {
        uint64_t piece;

        memcpy(&piece, (const uint8_t *)value + i, sizeof(piece));
        msix_write(owner, offset + i, sizeof(piece), piece);
    }
}

void msix_stand_before(const struct hv_bar_state *bar, struct mmio_handler *handler)
{
    handler->read = msix_read;
    handler->write = msix_write;
    handler->write_whole = bar->doorbells != 0 ? msix_write_whole : msix_write;
    if (bar->access_bytes != 0) {
        handler->read_wide = msix_read_wide;
        handler->write_wide = msix_write_wide;
    }
}

/* ---- pages ---- */

/* Do pages [first, first + pages) hold one of `bytes` from `offset`? */
static bool is_in(uint64_t first, uint64_t pages, uint64_t offset, uint64_t bytes)
{
    return first <= (offset + bytes - 1) >> PAGE_SHIFT && offset >> PAGE_SHIFT < first + pages;
}

bool msix_in_pages(const struct hv_bar_state *bar, uint64_t first, uint64_t pages)
{
    const struct capabilities *caps = bar->device->capabilities;

    return is_in(first, pages, caps->table_offset, table_bytes(caps->vectors)) ||
           is_in(first, pages, caps->pending_offset, pending_bytes(caps->vectors));
}

/* ---- life ---- */

void msix_reset(struct capabilities *caps)
{
    memset(caps->pending, 0, sizeof(caps->pending));
    for (uint32_t i = 0; i < caps->vectors; i++) {
        memset(caps->table[i], 0, sizeof(caps->table[i]));
        caps->table[i][MSIX_CONTROL] = PCI_MSIX_VECTOR_MASK;
    }
}

void msix_destroy(struct capabilities *caps)
{
    if (caps->vectors != 0)
        frames_free(&hv_frames, direct_to_hpa(caps->table), table_pages(caps->vectors));
}

/* ---- the device's call ---- */

static bool fits(const struct hv_bar_state *bar, uint64_t offset, uint64_t bytes)
{
    return IS_ALIGNED(offset, sizeof(uint64_t)) && offset < MIN(bar->bytes, OFFSETS) &&
           bytes <= bar->bytes - offset;
}

/* Is a range there already, or a doorbell on the very bytes? */
static bool is_taken(struct hv_bar_state *bar, uint64_t offset, uint64_t bytes)
{
    uint64_t page = offset >> PAGE_SHIFT, last = (offset + bytes - 1) >> PAGE_SHIFT;

    return records_overlap(bar, page, last - page + 1) || doorbell_in(bar, offset, bytes);
}

static hv_status_t check(struct hv_device *device, enum hv_bar index, uint64_t table,
                         uint64_t pending, uint32_t vectors)
{
    uint64_t bytes = table_bytes(vectors), bits = pending_bytes(vectors);
    struct hv_bar_state *bar;
    hv_status_t status = device_memory_bar(device, index, &bar);

    if (status != HV_OK)
        return status;
    if (index == HV_BAR_ROM)
        return HV_E_NO_SUCH_BAR;
    if (vectors == 0 || vectors > PCI_MSIX_VECTORS)
        return HV_E_INVALID_PARAMETER_5;
    if (!fits(bar, table, bytes))
        return HV_E_INVALID_PARAMETER_3;
    if (!fits(bar, pending, bits) || (pending < table + bytes && table < pending + bits))
        return HV_E_INVALID_PARAMETER_4;
    if (is_taken(bar, table, bytes) || is_taken(bar, pending, bits))
        return HV_E_CONFLICTING_ADDRESSES;
    return bar->live ? HV_E_INVALID_STATE : HV_OK;
}

static hv_status_t offer(struct hv_device *device, enum hv_bar bar, uint64_t table_offset,
                         uint64_t pending_offset, uint32_t vectors)
{
    const struct capability_dword dwords[] = {
        {(uint32_t)(PCI_MSIX_ID | FIELD_PREP(PCI_MSIX_LAST, vectors - 1)),
         PCI_MSIX_FUNCTION_MASK | PCI_MSIX_ENABLE},
        {(uint32_t)table_offset | (uint32_t)bar, 0},
        {(uint32_t)pending_offset | (uint32_t)bar, 0},
    };
    struct capabilities *caps;
    hpa_t frames;
    hv_status_t status = frames_alloc(&hv_frames, table_pages(vectors), 1, &frames);

    if (status != HV_OK)
        return status;
    status = capability_add(device, CAPABILITY_MSIX, dwords, ARRAY_COUNT(dwords));
    if (status != HV_OK) {
        frames_free(&hv_frames, frames, table_pages(vectors));
        return status;
    }
    caps = device->capabilities;
    caps->table = direct(frames);
    caps->table_offset = table_offset;
    caps->pending_offset = pending_offset;
    caps->vectors = vectors;
    msix_reset(caps);
    device->bar[bar].has_msix = true;
    return HV_OK;
}

hv_status_t hv_msix_offer(struct hv_device *device, enum hv_bar bar, uint64_t table_offset,
                          uint64_t pending_offset, uint32_t vectors)
{
    hv_status_t status = capability_begin(device, CAPABILITY_MSIX);

    if (status != HV_OK)
        return status;
    status = check(device, bar, table_offset, pending_offset, vectors);
    if (status == HV_OK)
        status = offer(device, bar, table_offset, pending_offset, vectors);
    capability_end(device);
    return status;
}
