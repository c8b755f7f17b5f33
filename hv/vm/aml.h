/*
 * Owns:     writing ACPI Machine Language: names, integers, blocks, resource templates; and plain little-endian fields.
 * Promises: pure; the shortest encoding of everything, as a compiler chooses it; never a byte behind the room: what does
 *           not fit sets `full`, and from then on nothing is written.
 * Needs:    hv/base.
 * Never:    checks that the names make sense together.
 *
 * ACPI 6.5 chapter 20 "ACPI Machine Language (AML) Specification" and 6.4 "Resource Data Types for ACPI".
 */
#ifndef HV_VM_AML_H
#define HV_VM_AML_H

#include "hv/base/types.h"

struct aml {
    uint8_t *bytes;
    size_t room;
    size_t count;
    bool full;
};

/* As they are: a number of 1 to 8 bytes; bytes. */
void aml_put(struct aml *aml, uint64_t value, unsigned bytes);
void aml_copy(struct aml *aml, const void *from, size_t bytes);

#define AML_NAME_BYTES 4u /* of every name, which needs no NUL: "_HID", "_SB_" */

/* Objects; Name (name, ...), whose object follows. An EISA id is an integer: three letters and a number. */
void aml_integer(struct aml *aml, uint64_t value);
void aml_name(struct aml *aml, const char *name);
#define AML_PNP_ID(number) (0xd041u | ((number) >> 8 & 0xffu) << 16 | ((number)&0xffu) << 24)

/*
 * What has a length in front. Open gives the place where the length goes, which close inserts. The name comes behind the
 * length, NULL for what has none; a package's number of elements is the caller's to put.
 */
#define AML_SCOPE   0x10u
#define AML_BUFFER  0x11u
#define AML_PACKAGE 0x12u
#define AML_DEVICE  0x825bu /* as it lies in memory: the prefix first */
size_t aml_open(struct aml *aml, unsigned opcode, const char *name);
void aml_close(struct aml *aml, size_t at);

/* Instead of close, for a buffer that holds resource descriptors: their end tag with a checksum comes first. */
void aml_end_tag(struct aml *aml, size_t at);

void aml_io_ports(struct aml *aml, uint16_t first, uint8_t count); /* fixed, consumed */
void aml_memory32(struct aml *aml, uint32_t base, uint32_t bytes); /* fixed, consumed, writeable */

/* What a bridge passes on, [first, last], in fields of 2, 4 or 8 bytes; memory is not cached. */
enum aml_window_type { AML_WINDOW_MEMORY, AML_WINDOW_IO, AML_WINDOW_BUSES };
void aml_window(struct aml *aml, enum aml_window_type type, unsigned field_bytes, uint64_t first,
                uint64_t last);

#endif
