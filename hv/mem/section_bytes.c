/* The bytes of a section, through windows. */
#include "hv/mem/section.h"

#include "hv/base/assert.h"
#include "hv/base/lock.h"
#include "hv/mem/mapping.h"
#include "hv/mem/window.h"

#define FNV_BASIS   0xcbf29ce484222325ull
#define FNV_PRIME   0x100000001b3ull
#define CHUNK_BYTES 512u /* of a checksum, on the stack */

static uint64_t fnv1a(uint64_t hash, const uint8_t *bytes, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        hash = (hash ^ bytes[i]) * FNV_PRIME;
    return hash;
}

/* One piece of a walk over bytes: inside one page, through its type in force. */
struct piece {
    hpa_t at;
    enum memtype memtype;
    unsigned bytes;
};

/*
 * The first piece of [offset, offset + bytes), with section_lock held until piece_close(), so that no
 * mapping of another type comes in between.
 */
static struct piece piece_open(struct section *section, uint64_t offset, uint64_t bytes)
{
    uint64_t in_page = offset & PAGE_MASK;
    struct piece piece = {.bytes = (unsigned)MIN(bytes, PAGE_BYTES - in_page)};
    uint64_t run;
    hpa_t frame;

    lock_acquire(&section_lock);
    frame = section_frame(section, offset >> PAGE_SHIFT, &run);
    piece.at = HPA(frame.v + in_page);
    if (!mapping_type(section, offset >> PAGE_SHIFT, &piece.memtype)) {
        piece.memtype = section_default_type(section);
        /* The first mapping of this type since a write-back one, perhaps: see ledger.h. */
        if (piece.memtype != MEMTYPE_WB && section_is_ram(section))
            window_flush_lines(frame, 1);
    }
    return piece;
}

static void piece_close(void)
{
    lock_release(&section_lock);
}

/* Frames that are there stay, so one look before the first piece is enough. */
static hv_status_t check_bytes(const struct section *section, uint64_t offset, uint64_t bytes)
{
    uint64_t all = section_pages(section) << PAGE_SHIFT;
    uint64_t first = offset >> PAGE_SHIFT;

    ASSERT(offset <= all && bytes <= all - offset);
    if (bytes == 0)
        return HV_OK;
    return section_is_committed(section, first, ((offset + bytes - 1) >> PAGE_SHIFT) - first + 1)
               ? HV_OK
               : HV_E_NOT_MAPPED;
}

static void read_pieces(struct section *section, uint64_t offset, uint8_t *out, uint64_t bytes)
{
    while (bytes != 0) {
        struct piece piece = piece_open(section, offset, bytes);

        window_read(piece.at, piece.memtype, out, piece.bytes);
        piece_close();
        out += piece.bytes;
        offset += piece.bytes;
        bytes -= piece.bytes;
    }
}

hv_status_t section_read(struct section *section, uint64_t offset, void *out, uint64_t bytes)
{
    hv_status_t status = check_bytes(section, offset, bytes);

    if (status == HV_OK)
        read_pieces(section, offset, out, bytes);
    return status;
}

hv_status_t section_write(struct section *section, uint64_t offset, const void *in, uint64_t bytes)
{
    const uint8_t *from = in;
    hv_status_t status = check_bytes(section, offset, bytes);

    while (status == HV_OK && bytes != 0) {
        struct piece piece = piece_open(section, offset, bytes);

        window_write(piece.at, piece.memtype, from, piece.bytes);
        piece_close();
        from += piece.bytes;
        offset += piece.bytes;
        bytes -= piece.bytes;
    }
    return status;
}

hv_status_t section_checksum(struct section *section, uint64_t offset, uint64_t bytes,
                             uint64_t *checksum)
{
    uint64_t hash = FNV_BASIS;
    uint8_t chunk[CHUNK_BYTES];
    hv_status_t status = check_bytes(section, offset, bytes);

    if (status != HV_OK)
        return status;
    while (bytes != 0) {
        uint64_t count = MIN(bytes, CHUNK_BYTES);

        read_pieces(section, offset, chunk, count);
        hash = fnv1a(hash, chunk, count);
        offset += count;
        bytes -= count;
    }
    *checksum = hash;
    return HV_OK;
}
