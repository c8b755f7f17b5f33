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
    hpa_t frame = section_frame(section, offset >> PAGE_SHIFT, &run);

    piece.at = HPA(frame.v + in_page);
    lock_acquire(&section_lock);
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

static void check_bytes(const struct section *section, uint64_t offset, uint64_t bytes)
{
    uint64_t all = section_pages(section) << PAGE_SHIFT;

    ASSERT(offset <= all && bytes <= all - offset);
}

void section_read(struct section *section, uint64_t offset, void *out, uint64_t bytes)
{
    uint8_t *to = out;

    check_bytes(section, offset, bytes);
    while (bytes != 0) {
        struct piece piece = piece_open(section, offset, bytes);

        window_read(piece.at, piece.memtype, to, piece.bytes);
        piece_close();
        to += piece.bytes;
        offset += piece.bytes;
        bytes -= piece.bytes;
    }
}

void section_write(struct section *section, uint64_t offset, const void *in, uint64_t bytes)
{
    const uint8_t *from = in;

    check_bytes(section, offset, bytes);
    while (bytes != 0) {
        struct piece piece = piece_open(section, offset, bytes);

        window_write(piece.at, piece.memtype, from, piece.bytes);
        piece_close();
        from += piece.bytes;
        offset += piece.bytes;
        bytes -= piece.bytes;
    }
}

uint64_t section_checksum(struct section *section, uint64_t offset, uint64_t bytes)
{
    uint64_t hash = FNV_BASIS;
    uint8_t chunk[CHUNK_BYTES];

    check_bytes(section, offset, bytes);
    while (bytes != 0) {
        uint64_t count = MIN(bytes, CHUNK_BYTES);

        section_read(section, offset, chunk, count);
        hash = fnv1a(hash, chunk, count);
        offset += count;
        bytes -= count;
    }
    return hash;
}
