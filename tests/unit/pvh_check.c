#include "tests/unit/pvh_check.h"

#include <stdlib.h>
#include <string.h>

#define FILL 0xA5

struct loader_ram ram[RUNS] = {
    {0x10000, 0x4000, NULL}, {0x4000, 0x4000, NULL}, {GIB(4), 0x1000, NULL}, {0, 0x4000, NULL}};
static const unsigned sorted[] = {3, 1, 0, 2};

struct loader_image image;
struct loader_entry entry;
uint8_t module_bytes[MODULE_ROOM];

/* ---- The naive loader ---- */

static uint8_t *at_gpa(struct loader_ram *runs, uint64_t gpa)
{
    for (unsigned i = 0; i < RUNS; i++)
        if (gpa >= runs[i].gpa && gpa < runs[i].gpa + runs[i].bytes)
            return runs[i].host + (gpa - runs[i].gpa);
    return NULL;
}

static void poke(struct loader_ram *runs, uint64_t gpa, const void *from, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++) {
        uint8_t *to = at_gpa(runs, gpa + i);

        assert_non_null(to);
        *to = from == NULL ? 0 : ((const uint8_t *)from)[i];
    }
}

static void peek(uint64_t gpa, void *to, uint64_t bytes)
{
    for (uint64_t i = 0; i < bytes; i++) {
        const uint8_t *from = at_gpa(ram, gpa + i);

        assert_non_null(from);
        ((uint8_t *)to)[i] = *from;
    }
}

static Elf64_Phdr phdr_of(const struct file *file, unsigned index)
{
    if (file->wide) {
        Elf64_Ehdr header;
        Elf64_Phdr program;

        memcpy(&header, file->bytes, sizeof(header));
        memcpy(&program, file->bytes + header.e_phoff + index * sizeof(program), sizeof(program));
        return program;
    }
    Elf32_Ehdr header;
    Elf32_Phdr p;

    memcpy(&header, file->bytes, sizeof(header));
    memcpy(&p, file->bytes + header.e_phoff + index * sizeof(p), sizeof(p));
    return (Elf64_Phdr){p.p_type,  p.p_flags,  p.p_offset, p.p_vaddr,
                        p.p_paddr, p.p_filesz, p.p_memsz,  p.p_align};
}

static unsigned phnum_of(const struct file *file)
{
    uint16_t count;

    memcpy(&count, file->bytes + ehdr[E_PHNUM].offset[file->wide], sizeof(count));
    return count;
}

/* Offsets by hand, from the Xen public header, not from the code under test. */
static uint64_t word(const uint8_t *block, size_t offset, size_t bytes)
{
    uint64_t value = 0;

    memcpy(&value, block + offset, bytes);
    return value;
}

/* Check start_info by its meaning and copy what it covers into the model. */
static void model_start_info(struct loader_ram *model, uint64_t top)
{
    uint8_t info[56], map[24], module[32];
    uint64_t at = entry.start_info;
    char cmdline[256];
    size_t length = strlen(image.cmdline) + 1;

    assert_true(at % 4096 == 0 && at >= top);
    peek(at, info, sizeof(info));
    poke(model, at, info, sizeof(info));
    assert_int_equal(word(info, 0, 4), 0x336ec578);
    assert_int_equal(word(info, 4, 4), 1);
    assert_int_equal(word(info, 8, 4), 0);
    assert_int_equal(word(info, 12, 4), image.module != NULL);
    assert_int_equal(word(info, 32, 8), image.rsdp);
    assert_int_equal(word(info, 48, 4), RUNS + (image.tables_bytes != 0));
    assert_int_equal(word(info, 52, 4), 0);

    assert_true(length <= sizeof(cmdline));
    peek(word(info, 24, 8), cmdline, length);
    assert_string_equal(cmdline, image.cmdline);
    poke(model, word(info, 24, 8), cmdline, length);

    bool told = image.tables_bytes == 0;
    for (unsigned i = 0; i < RUNS || !told; i++) {
        uint64_t place = word(info, 40, 8) + (i + (told && image.tables_bytes != 0)) * sizeof(map);
        bool here = !told && (i == RUNS || image.tables < ram[sorted[i]].gpa);

        peek(place, map, sizeof(map));
        poke(model, place, map, sizeof(map));
        assert_int_equal(word(map, 0, 8), here ? image.tables : ram[sorted[i]].gpa);
        assert_int_equal(word(map, 8, 8), here ? image.tables_bytes : ram[sorted[i]].bytes);
        assert_int_equal(word(map, 16, 4), here ? 3 : 1);
        assert_int_equal(word(map, 20, 4), 0);
        if (here) {
            told = true;
            i--;
        }
    }
    if (image.module == NULL) {
        assert_int_equal(word(info, 16, 8), 0);
        return;
    }
    peek(word(info, 16, 8), module, sizeof(module));
    poke(model, word(info, 16, 8), module, sizeof(module));
    uint64_t base = word(module, 0, 8);
    assert_true(base % 4096 == 0 && base >= at + sizeof(info));
    assert_true(base + image.module_bytes <= GIB(4));
    assert_int_equal(word(module, 8, 8), image.module_bytes);
    assert_int_equal(word(module, 16, 8), 0);
    assert_int_equal(word(module, 24, 8), 0);
    poke(model, base, image.module, image.module_bytes);
}

static void expect_loaded(const struct file *file)
{
    struct loader_ram model[RUNS];
    uint64_t top = 0;
    bool executable = false;

    for (unsigned i = 0; i < RUNS; i++) {
        model[i] = ram[i];
        model[i].host = malloc(ram[i].bytes);
        memset(model[i].host, FILL, ram[i].bytes);
    }
    for (unsigned i = 0; i < phnum_of(file); i++) {
        Elf64_Phdr p = phdr_of(file, i);

        if (p.p_type != PT_LOAD || p.p_memsz == 0)
            continue;
        assert_true(p.p_filesz <= p.p_memsz);
        poke(model, p.p_paddr, file->bytes + p.p_offset, p.p_filesz);
        poke(model, p.p_paddr + p.p_filesz, NULL, p.p_memsz - p.p_filesz);
        top = MAX(top, p.p_paddr + p.p_memsz);
        executable |= (p.p_flags & PF_X) && entry.entry - p.p_paddr < p.p_filesz;
    }
    assert_true(executable);
    model_start_info(model, top);
    for (unsigned i = 0; i < RUNS; i++) {
        assert_memory_equal(model[i].host, ram[i].host, ram[i].bytes);
        free(model[i].host);
    }
}

/* ---- Running the code under test ---- */

int fresh_ram(void **state)
{
    (void)state;
    for (unsigned i = 0; i < RUNS; i++)
        ram[i].host = malloc(ram[i].bytes);
    image = (struct loader_image){
        .cmdline = "console=ttyS0", .ram = ram, .ram_count = RUNS, .rsdp = 0xE0000};
    for (unsigned i = 0; i < sizeof(module_bytes); i++)
        module_bytes[i] = (uint8_t)(i * 31 + 3);
    return 0;
}

int drop_ram(void **state)
{
    (void)state;
    for (unsigned i = 0; i < RUNS; i++)
        free(ram[i].host);
    return 0;
}

const char *load(const struct file *file)
{
    uint8_t *exact = malloc(file->count ? file->count : 1);

    memcpy(exact, file->bytes, file->count);
    for (unsigned i = 0; i < RUNS; i++)
        memset(ram[i].host, FILL, ram[i].bytes);
    image.elf = exact;
    image.elf_bytes = file->count;
    entry = (struct loader_entry){0xDEAD, 0xBEEF};

    const char *reason = loader_load_pvh(&image, &entry);
    assert_memory_equal(exact, file->bytes, file->count);
    free(exact);
    if (reason == NULL) {
        expect_loaded(file);
        return NULL;
    }
    assert_true(strlen(reason) > 10 && reason[strlen(reason) - 1] != '.');
    assert_int_equal(entry.entry, 0xDEAD);
    assert_int_equal(entry.start_info, 0xBEEF);
    for (unsigned i = 0; i < RUNS; i++)
        for (uint64_t at = 0; at < ram[i].bytes; at++)
            if (ram[i].host[at] != FILL)
                fail_msg("refused (%s), yet wrote to %#lx", reason, ram[i].gpa + at);
    return reason;
}

void expect_good(const struct file *file)
{
    const char *reason = load(file);

    if (reason != NULL)
        fail_msg("refused: %s", reason);
}

void expect_refused(const struct file *file, const char *reason)
{
    const char *got = load(file);

    if (got == NULL)
        fail_msg("accepted, expected: %s", reason);
    assert_string_equal(got, reason);
}
