#include "tests/unit/pvh_file.h"

#include <string.h>

#define EHDR(f)                                                        \
    {                                                                  \
#f, {offsetof(Elf32_Ehdr, f), offsetof(Elf64_Ehdr, f) },       \
        {                                                              \
            sizeof(((Elf32_Ehdr *)0)->f), sizeof(((Elf64_Ehdr *)0)->f) \
        }                                                              \
    }
#define PHDR(f)                                                        \
    {                                                                  \
#f, {offsetof(Elf32_Phdr, f), offsetof(Elf64_Phdr, f) },       \
        {                                                              \
            sizeof(((Elf32_Phdr *)0)->f), sizeof(((Elf64_Phdr *)0)->f) \
        }                                                              \
    }

const struct field ehdr[E_FIELDS] = {
    EHDR(e_type),      EHDR(e_machine), EHDR(e_version), EHDR(e_entry),     EHDR(e_phoff),
    EHDR(e_shoff),     EHDR(e_flags),   EHDR(e_ehsize),  EHDR(e_phentsize), EHDR(e_phnum),
    EHDR(e_shentsize), EHDR(e_shnum),   EHDR(e_shstrndx)};
const struct field phdr[P_FIELDS] = {PHDR(p_type),  PHDR(p_flags),  PHDR(p_offset), PHDR(p_vaddr),
                                     PHDR(p_paddr), PHDR(p_filesz), PHDR(p_memsz),  PHDR(p_align)};

static void put(struct file *file, const void *from, size_t count)
{
    memcpy(file->bytes + file->count, from, count);
    file->count += count;
}

size_t ehdr_bytes(bool wide)
{
    return wide ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
}

size_t phdr_bytes(bool wide)
{
    return wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
}

void set_e(struct file *file, unsigned field, uint64_t value)
{
    memcpy(file->bytes + ehdr[field].offset[file->wide], &value, ehdr[field].bytes[file->wide]);
}

void set_p(struct file *file, unsigned index, unsigned field, uint64_t value)
{
    size_t at = ehdr_bytes(file->wide) + index * phdr_bytes(file->wide);

    memcpy(file->bytes + at + phdr[field].offset[file->wide], &value,
           phdr[field].bytes[file->wide]);
}

static void set_segment(struct file *file, unsigned index, const uint64_t values[P_FIELDS])
{
    for (unsigned field = 0; field < P_FIELDS; field++)
        set_p(file, index, field, values[field]);
}

void add_note(struct file *file, const char *name, uint32_t name_bytes, uint32_t type,
              const void *value, uint32_t value_bytes, size_t align)
{
    uint32_t head[3] = {name_bytes, value_bytes, type};

    put(file, head, sizeof(head));
    put(file, name, name_bytes);
    while ((file->count - file->notes) % align != 0)
        file->bytes[file->count++] = 0;
    put(file, value, value_bytes);
    while ((file->count - file->notes) % align != 0)
        file->bytes[file->count++] = 0;
    set_p(file, NOTE, P_FILESZ, file->count - file->notes);
    set_p(file, NOTE, P_MEMSZ, file->count - file->notes);
}

void add_entry_note(struct file *file, uint64_t value, uint32_t value_bytes)
{
    add_note(file, "Xen", 4, 18, &value, value_bytes, 4);
}

struct file bare_file(bool wide)
{
    struct file file = {.wide = wide};
    uint8_t text[TEXT_BYTES], data[DATA_BYTES];

    for (unsigned i = 0; i < TEXT_BYTES; i++)
        text[i] = (uint8_t)(i * 7 + 1);
    for (unsigned i = 0; i < DATA_BYTES; i++)
        data[i] = (uint8_t)(i * 13 + 5);
    memcpy(file.bytes, "\177ELF", 4);
    file.bytes[EI_CLASS] = wide ? ELFCLASS64 : ELFCLASS32;
    file.bytes[EI_DATA] = ELFDATA2LSB;
    file.bytes[EI_VERSION] = EV_CURRENT;
    set_e(&file, E_TYPE, ET_EXEC);
    set_e(&file, E_MACHINE, wide ? EM_X86_64 : EM_386);
    set_e(&file, E_VERSION, EV_CURRENT);
    set_e(&file, E_PHOFF, ehdr_bytes(wide));
    set_e(&file, E_EHSIZE, ehdr_bytes(wide));
    set_e(&file, E_PHENTSIZE, phdr_bytes(wide));
    set_e(&file, E_PHNUM, HEADERS);

    file.count = ehdr_bytes(wide) + HEADERS * phdr_bytes(wide);
    set_segment(&file, TEXT,
                (uint64_t[]){PT_LOAD, PF_R | PF_X, file.count, 0xC0001000, TEXT_AT, TEXT_BYTES,
                             TEXT_BYTES, 0x1000});
    put(&file, text, sizeof(text));
    set_segment(&file, DATA,
                (uint64_t[]){PT_LOAD, PF_R | PF_W, file.count, 0xC0003F00, DATA_AT, DATA_BYTES,
                             DATA_ALL, 0x1000});
    put(&file, data, sizeof(data));
    set_segment(&file, NOTE, (uint64_t[]){PT_NOTE, PF_R, file.count, 0, 0, 0, 0, 4});
    file.notes = file.count;
    return file;
}

struct file good_file(bool wide)
{
    struct file file = bare_file(wide);

    add_note(&file, "GNU", 4, 3, "12345678901234567890", 20, 4);
    add_entry_note(&file, ENTRY, wide ? 8 : 4);
    return file;
}
