/*
 * Owns:     a small PVH image of either ELF class, built field by field with the host's <elf.h>.
 * Promises: text, a data segment with bss, and a PT_NOTE segment whose notes end the file.
 * Needs:    nothing of the code under test.
 * Never:    linked into the image.
 */
#ifndef TESTS_UNIT_PVH_FILE_H
#define TESTS_UNIT_PVH_FILE_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_AT    0x1000u /* guest-physical */
#define TEXT_BYTES 0x180u
#define DATA_AT    0x3F00u /* crosses from one run to the next */
#define DATA_BYTES 0x240u
#define DATA_ALL   0x1300u
#define ENTRY      (TEXT_AT + 0x10)
#define HEADERS    3u

struct file {
    uint8_t bytes[2048];
    size_t count;
    bool wide;
    size_t notes; /* file offset */
};

/* A field of a structure that the two classes lay out differently. */
struct field {
    const char *name;
    size_t offset[2], bytes[2]; /* [wide] */
};

enum {
    E_TYPE,
    E_MACHINE,
    E_VERSION,
    E_ENTRY,
    E_PHOFF,
    E_SHOFF,
    E_FLAGS,
    E_EHSIZE,
    E_PHENTSIZE,
    E_PHNUM,
    E_SHENTSIZE,
    E_SHNUM,
    E_SHSTRNDX,
    E_FIELDS
};

enum { P_TYPE, P_FLAGS, P_OFFSET, P_VADDR, P_PADDR, P_FILESZ, P_MEMSZ, P_ALIGN, P_FIELDS };

enum { TEXT, NOTE, DATA }; /* program headers in order */

extern const struct field ehdr[E_FIELDS];
extern const struct field phdr[P_FIELDS];

size_t ehdr_bytes(bool wide);
size_t phdr_bytes(bool wide);

/* One field of the ELF header, or of program header `index`; the value is cut to the field. */
void set_e(struct file *file, unsigned field, uint64_t value);
void set_p(struct file *file, unsigned index, unsigned field, uint64_t value);

/* Append a note and let the PT_NOTE segment reach its end. */
void add_note(struct file *file, const char *name, uint32_t name_bytes, uint32_t type,
              const void *value, uint32_t value_bytes, size_t align);
void add_entry_note(struct file *file, uint64_t value, uint32_t value_bytes);

struct file bare_file(bool wide); /* without notes */
struct file good_file(bool wide); /* with another note before the PVH note */

#endif
