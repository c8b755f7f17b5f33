#include "hv/vm/aml.h"

#include "hv/base/assert.h"
#include "hv/base/bits.h"
#include "hv/base/string.h"

#define OP_ZERO         0x00u
#define OP_ONE          0x01u
#define OP_NAME         0x08u
#define OP_BYTE         0x0au
#define OP_WORD         0x0bu
#define OP_DWORD        0x0cu
#define OP_QWORD        0x0eu
#define PREFIX_EXTENDED 0x5bu

/* PkgLength: the first byte's upper two bits say how many follow; of several bytes the first has four bits of length. */
#define LENGTH_SHORT_END    64u
#define LENGTH_FOLLOW_SHIFT 6u
#define LENGTH_FIRST        BITS(3, 0)
#define LENGTH_FIRST_BITS   4u
#define LENGTH_MAX_BYTES    4u

/* Resource descriptors: tags of small ones with their length in it, of large ones without. */
#define TAG_IO               0x47u
#define TAG_END              0x79u
#define TAG_MEMORY32_FIXED   0x86u
#define TAG_WORD_WINDOW      0x88u
#define TAG_DWORD_WINDOW     0x87u
#define TAG_QWORD_WINDOW     0x8au
#define IO_DECODE_16         1u
#define MEMORY_WRITEABLE     1u
#define WINDOW_HEAD_BYTES    3u    /* type, general flags, flags of the type */
#define WINDOW_FIELDS        5u    /* granularity, first, last, offset, length */
#define WINDOW_FIXED         0x0cu /* both ends; produced, decoded positively */
#define WINDOW_IO_ALL        3u    /* no ISA aliases left out */
#define MEMORY32_FIXED_BYTES 9u

/* True, with the place made, when `bytes` more fit. */
static bool claim(struct aml *aml, size_t bytes)
{
    if (aml->full || bytes > aml->room - aml->count) {
        aml->full = true;
        return false;
    }
    aml->count += bytes;
    return true;
}

void aml_copy(struct aml *aml, const void *from, size_t bytes)
{
    if (claim(aml, bytes))
        memcpy(aml->bytes + aml->count - bytes, from, bytes);
}

COLD void aml_put(struct aml *aml, uint64_t value, unsigned bytes)
{
    aml_copy(aml, &value, bytes);
}

/* The bytes at `at` and behind move up. */
static void insert(struct aml *aml, size_t at, const void *from, size_t bytes)
{
    size_t behind = aml->count - at;

    if (!claim(aml, bytes))
        return;
    memmove(aml->bytes + at + bytes, aml->bytes + at, behind);
    memcpy(aml->bytes + at, from, bytes);
}

/* ---- objects ---- */

/* Returns how many bytes the integer takes. */
static unsigned integer_encode(uint64_t value, uint8_t to[9])
{
    static const uint8_t prefix[] = {OP_BYTE, OP_WORD, OP_DWORD, OP_QWORD};
    unsigned width = 0;

    if (value <= 1) {
        to[0] = (uint8_t)(value == 0 ? OP_ZERO : OP_ONE);
        return 1;
    }
    while (value > ones_of(1u << width))
        width++;
    to[0] = prefix[width];
    memcpy(to + 1, &value, (size_t)1 << width);
    return 1 + (1u << width);
}

void aml_integer(struct aml *aml, uint64_t value)
{
    uint8_t code[9];

    aml_copy(aml, code, integer_encode(value, code));
}

void aml_name(struct aml *aml, const char *name)
{
    aml_put(aml, OP_NAME, 1);
    aml_copy(aml, name, AML_NAME_BYTES);
}

/* ---- blocks ---- */

size_t aml_open(struct aml *aml, unsigned opcode, const char *name)
{
    size_t at;

    aml_put(aml, opcode, (opcode & 0xff) == PREFIX_EXTENDED ? 2 : 1);
    at = aml->count;
    if (name)
        aml_copy(aml, name, AML_NAME_BYTES);
    return at;
}

/* The length counts itself. */
void aml_close(struct aml *aml, size_t at)
{
    size_t inside = aml->count - at, bytes = 1;
    uint8_t code[LENGTH_MAX_BYTES];

    if (inside + bytes >= LENGTH_SHORT_END)
        do
            bytes++;
        while ((inside + bytes) >> (LENGTH_FIRST_BITS + 8 * (bytes - 1)) != 0);
    ASSERT(bytes <= LENGTH_MAX_BYTES);
    inside += bytes;
    code[0] = (uint8_t)inside;
    if (bytes > 1) {
        code[0] = (uint8_t)((inside & LENGTH_FIRST) | (bytes - 1) << LENGTH_FOLLOW_SHIFT);
        inside >>= LENGTH_FIRST_BITS;
        memcpy(code + 1, &inside, bytes - 1);
    }
    insert(aml, at, code, bytes);
}

/* ---- resources ---- */

void aml_end_tag(struct aml *aml, size_t at)
{
    uint8_t sum = TAG_END, code[9];

    for (size_t i = at; i < aml->count; i++)
        sum = (uint8_t)(sum + aml->bytes[i]);
    aml_put(aml, TAG_END, 1);
    aml_put(aml, (uint8_t)-sum, 1);
    insert(aml, at, code, integer_encode(aml->count - at, code));
    aml_close(aml, at);
}

/* Both descriptors at one go. Of ports: where the first may be at least and at most, the alignment, how many. */
void aml_io_ports(struct aml *aml, uint16_t first, uint8_t count)
{
    aml_put(aml,
            TAG_IO | IO_DECODE_16 << 8 | (uint64_t)first << 16 | (uint64_t)first << 32 |
                1ull << 48 | (uint64_t)count << 56,
            8);
}

void aml_memory32(struct aml *aml, uint32_t base, uint32_t bytes)
{
    aml_put(aml,
            TAG_MEMORY32_FIXED | MEMORY32_FIXED_BYTES << 8 | MEMORY_WRITEABLE << 24 |
                (uint64_t)base << 32,
            8);
    aml_put(aml, bytes, 4);
}

void aml_window(struct aml *aml, enum aml_window_type type, unsigned field_bytes, uint64_t first,
                uint64_t last)
{
    /* By type: writeable memory; ports without holes for ISA aliases; nothing for buses. */
    static const uint8_t of_type[] = {MEMORY_WRITEABLE, WINDOW_IO_ALL, 0};
    static const uint8_t tag[] = {TAG_WORD_WINDOW, TAG_DWORD_WINDOW, TAG_QWORD_WINDOW};
    const uint64_t fields[WINDOW_FIELDS] = {0, first, last, 0, last - first + 1};

    aml_put(aml,
            tag[field_bytes >> 2] | (WINDOW_HEAD_BYTES + WINDOW_FIELDS * field_bytes) << 8 |
                (uint64_t)type << 24 | (uint64_t)WINDOW_FIXED << 32 | (uint64_t)of_type[type] << 40,
            6);
    for (unsigned i = 0; i < WINDOW_FIELDS; i++)
        aml_put(aml, fields[i], field_bytes);
}
