/* PVH images: what is accepted, each reason for a refusal, truncations, extremes and mutants. */
#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#include "tests/unit/pvh_check.h"

static void good_images(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        struct file file = good_file(wide);

        image.module = NULL;
        expect_good(&file);
        assert_int_equal(entry.entry, ENTRY);
        assert_int_equal(entry.start_info, 0x6000);
        image.cmdline = "";
        expect_good(&file);
        image.cmdline = "a b=c # d";
        image.module = module_bytes;
        image.module_bytes = sizeof(module_bytes);
        expect_good(&file); /* a module of three pages no longer fits below the hole */
        image.module_bytes = 1;
        expect_good(&file);
        image.rsdp = 0;
        expect_good(&file);
    }
}

static void every_truncation(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        struct file file = good_file(wide);

        while (file.count-- > 0)
            assert_non_null(load(&file));
        expect_refused(&(struct file){.count = 0}, "The file is too short for an ELF header");
    }
}

/* What a header field's extreme values may lead to. */
enum verdict { REFUSED, IGNORED, EITHER };

static void check_extremes(const struct file *good, bool program, unsigned index, unsigned field,
                           enum verdict verdict)
{
    const struct field *f = program ? &phdr[field] : &ehdr[field];
    uint64_t top =
        f->bytes[good->wide] == 8 ? UINT64_MAX : (1ull << (f->bytes[good->wide] * 8)) - 1;
    size_t at = f->offset[good->wide] +
                (program ? ehdr_bytes(good->wide) + index * phdr_bytes(good->wide) : 0);
    uint64_t was = 0;
    memcpy(&was, good->bytes + at, f->bytes[good->wide]);
    const uint64_t values[] = {0,
                               1,
                               top,
                               top - 1,
                               top / 2,
                               top / 2 + 1,
                               top - was,
                               top - was + 1,
                               top - was + 2,
                               0x80000000u - was,
                               0xFFFFFFFFu - was,
                               0x100000000ull - was,
                               top - 4095,
                               top - 55,
                               was + 1,
                               was - 1};

    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        struct file file = *good;
        uint64_t value = values[i] & top;

        if (value == was)
            continue;
        memcpy(file.bytes + at, &value, f->bytes[good->wide]);
        const char *reason = load(&file);
        if (verdict == IGNORED && reason != NULL)
            fail_msg("%s %u = %#lx refused: %s", f->name, index, value, reason);
        if (verdict == REFUSED && reason == NULL)
            fail_msg("%s %u = %#lx accepted", f->name, index, value);
    }
}

static void every_field_to_its_extremes(void **state)
{
    static const enum verdict ehdr_verdict[E_FIELDS] = {
        [E_ENTRY] = IGNORED, [E_SHOFF] = IGNORED,    [E_FLAGS] = IGNORED, [E_SHENTSIZE] = IGNORED,
        [E_SHNUM] = IGNORED, [E_SHSTRNDX] = IGNORED, [E_PHNUM] = EITHER,  [E_PHOFF] = REFUSED};
    static const enum verdict phdr_verdict[HEADERS][P_FIELDS] = {[TEXT] = {[P_FLAGS] = EITHER,
                                                                           [P_OFFSET] = EITHER,
                                                                           [P_VADDR] = IGNORED,
                                                                           [P_PADDR] = EITHER,
                                                                           [P_FILESZ] = EITHER,
                                                                           [P_MEMSZ] = EITHER,
                                                                           [P_ALIGN] = IGNORED},
                                                                 [NOTE] = {[P_TYPE] = EITHER,
                                                                           [P_FLAGS] = IGNORED,
                                                                           [P_VADDR] = IGNORED,
                                                                           [P_PADDR] = IGNORED,
                                                                           [P_FILESZ] = EITHER,
                                                                           [P_MEMSZ] = IGNORED,
                                                                           [P_ALIGN] = IGNORED,
                                                                           [P_OFFSET] = EITHER},
                                                                 [DATA] = {[P_TYPE] = EITHER,
                                                                           [P_FLAGS] = IGNORED,
                                                                           [P_OFFSET] = EITHER,
                                                                           [P_VADDR] = IGNORED,
                                                                           [P_PADDR] = EITHER,
                                                                           [P_FILESZ] = EITHER,
                                                                           [P_MEMSZ] = EITHER,
                                                                           [P_ALIGN] = IGNORED}};

    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        struct file good = good_file(wide);

        for (unsigned field = 0; field < E_FIELDS; field++)
            check_extremes(&good, false, 0, field, ehdr_verdict[field]);
        for (unsigned index = 0; index < HEADERS; index++)
            for (unsigned field = 0; field < P_FIELDS; field++)
                check_extremes(&good, true, index, field, phdr_verdict[index][field]);
        for (unsigned at = 0; at < 7; at++) { /* e_ident; the rest of it does not matter */
            for (unsigned value = 0; value < 256; value++) {
                struct file file = good;

                file.bytes[at] = (uint8_t)value;
                if (value != good.bytes[at])
                    assert_non_null(load(&file));
            }
        }
    }
}

static void headers_refused_with_a_reason(void **state)
{
    static const struct {
        unsigned field;
        uint64_t value;
        const char *reason;
    } cases[] = {
        {E_TYPE, ET_DYN,
         "The ELF image is position-independent; it must be linked at a fixed address"},
        {E_TYPE, ET_REL, "The ELF image is not an executable"},
        {E_TYPE, ET_CORE, "The ELF image is not an executable"},
        {E_MACHINE, EM_AARCH64,
         "The ELF machine is not x86-64 for a 64-bit or i386 for a 32-bit image"},
        {E_VERSION, 2, "The ELF version is not 1"},
        {E_EHSIZE, 63, "The ELF header has the wrong length"},
        {E_PHENTSIZE, 40, "The ELF program headers have the wrong length"},
        {E_PHNUM, 0, "The ELF image has no program headers"},
        {E_PHNUM, 65, "The ELF image has more than 64 program headers"},
        {E_PHNUM, PN_XNUM, "The ELF image has more than 64 program headers"},
        {E_PHNUM, 64, "The ELF program headers reach past the end of the file"},
        {E_PHOFF, UINT64_MAX, "The ELF program headers reach past the end of the file"},
        {E_PHOFF, UINT64_MAX - 63, "The ELF program headers reach past the end of the file"},
    };

    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
            struct file file = good_file(wide);

            set_e(&file, cases[i].field, cases[i].value);
            expect_refused(&file, cases[i].reason);
        }
        struct file file = good_file(wide);
        file.bytes[0] = 'M';
        expect_refused(&file, "The file is not an ELF image");
        file = good_file(wide);
        file.bytes[EI_CLASS] = 0;
        expect_refused(&file, "The ELF class is neither 32-bit nor 64-bit");
        file = good_file(wide);
        file.bytes[EI_DATA] = ELFDATA2MSB;
        expect_refused(&file, "The ELF image is not little-endian");
    }
}

#define PAST_FILE "A segment reaches past the end of the file"
#define OUTSIDE   "A segment lies outside guest RAM or spans a hole in it"
#define PAST_4G   "A segment reaches past 4 GiB"
#define OVERLAP   "Two segments overlap in memory"
#define NO_CODE   "The PVH entry point lies outside the code of every executable segment"

static void segments_refused_with_a_reason(void **state)
{
    static const struct {
        unsigned index, field;
        uint64_t value;
        const char *reason; /* NULL: accepted */
    } cases[] = {
        {DATA, P_OFFSET, 100000, PAST_FILE},
        {DATA, P_OFFSET, UINT64_MAX - DATA_BYTES + 1, PAST_FILE},
        {NOTE, P_OFFSET, UINT64_MAX, PAST_FILE},
        {NOTE, P_FILESZ, 5000, PAST_FILE},
        {DATA, P_FILESZ, 5000, PAST_FILE},
        {DATA, P_MEMSZ, DATA_BYTES - 1, "A segment is longer in the file than in memory"},
        {TEXT, P_MEMSZ, 0, "A segment is longer in the file than in memory"},
        {DATA, P_MEMSZ, DATA_BYTES, NULL},
        {DATA, P_MEMSZ, 0xC0000000, OUTSIDE},
        {DATA, P_MEMSZ, 0x8001 - DATA_AT, OUTSIDE},  /* into the hole by a byte */
        {DATA, P_MEMSZ, 0x10001 - DATA_AT, OUTSIDE}, /* across it */
        {DATA, P_MEMSZ, 0x8000 - DATA_AT, NULL},     /* start_info goes above the hole */
        {DATA, P_PADDR, 0x8000, OUTSIDE},
        {DATA, P_PADDR, 0xFFFF, OUTSIDE},
        {DATA, P_PADDR, 0x12D00,
         "There is no room above the image and below 4 GiB for the start "
         "information"},
        {DATA, P_PADDR, 0x12D01, OUTSIDE},
        {DATA, P_PADDR, 0xFFFFFFFF, PAST_4G},
        {DATA, P_PADDR, 0xFFFFFFFF - DATA_ALL + 2, PAST_4G},
        {DATA, P_PADDR, 0xFFFFFFFF - DATA_ALL + 1, OUTSIDE}, /* ends at 4 GiB: no RAM there */
        {DATA, P_PADDR, TEXT_AT, OVERLAP},
        {DATA, P_PADDR, TEXT_AT + TEXT_BYTES - 1, OVERLAP},
        {DATA, P_PADDR, TEXT_AT + TEXT_BYTES, NULL},
        {TEXT, P_PADDR, DATA_AT + DATA_ALL - 1, OVERLAP},
        {DATA, P_PADDR, 0, OVERLAP}, /* its bss reaches the text */
        {TEXT, P_FLAGS, PF_R | PF_W, NO_CODE},
        {TEXT, P_TYPE, PT_NULL, NO_CODE},
        {TEXT, P_FILESZ, ENTRY - TEXT_AT, NO_CODE}, /* the entry would lie in the bss */
        {TEXT, P_FILESZ, ENTRY - TEXT_AT + 1, NULL},
        {TEXT, P_PADDR, ENTRY, NULL},
        {TEXT, P_PADDR, ENTRY + 1, NO_CODE},
        {TEXT, P_PADDR, ENTRY - TEXT_BYTES + 1, NULL},
        {TEXT, P_PADDR, ENTRY - TEXT_BYTES, NO_CODE},
        {NOTE, P_TYPE, PT_NULL, "The ELF image has no PVH note (name \"Xen\", type 18)"},
    };

    (void)state;
    image.module = NULL;
    for (int wide = 0; wide < 2; wide++) {
        for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
            struct file file = good_file(wide);

            set_p(&file, cases[i].index, cases[i].field, cases[i].value);
            if (cases[i].reason == NULL)
                expect_good(&file);
            else
                expect_refused(&file, cases[i].reason);
        }
        struct file file = good_file(wide);
        set_p(&file, TEXT, P_TYPE, PT_NULL);
        set_p(&file, DATA, P_TYPE, PT_NULL);
        expect_refused(&file, "The ELF image has no segment to load");
    }
    struct file file = good_file(true);
    set_p(&file, DATA, P_PADDR, GIB(4));
    expect_refused(&file, PAST_4G);
    set_p(&file, DATA, P_PADDR, UINT64_MAX - DATA_ALL + 1);
    expect_refused(&file, PAST_4G);
    set_p(&file, DATA, P_PADDR, DATA_AT);
    set_p(&file, DATA, P_MEMSZ, UINT64_MAX - DATA_AT + 1);
    expect_refused(&file, PAST_4G);
}

static void empty_segments_do_not_matter(void **state)
{
    struct file file = good_file(true);

    (void)state;
    set_p(&file, DATA, P_FILESZ, 0);
    set_p(&file, DATA, P_MEMSZ, 0);
    set_p(&file, DATA, P_PADDR, UINT64_MAX);
    expect_good(&file);
    assert_int_equal(entry.start_info, 0x2000);
    set_p(&file, DATA, P_PADDR, ENTRY); /* inside the text, yet nothing to overlap */
    expect_good(&file);
}

#define NOTE_PAST "A note reaches past the end of its segment"

static void notes(void **state)
{
    const char *wrong_length = "The PVH note is neither 4 nor 8 bytes long";
    const char *none = "The ELF image has no PVH note (name \"Xen\", type 18)";
    uint64_t value = ENTRY;

    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        struct file file = bare_file(wide);
        expect_refused(&file, none);
        for (uint32_t bytes = 0; bytes < 20; bytes++) {
            file = bare_file(wide);
            add_note(&file, "Xen", 4, 18, "\x10\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", bytes, 4);
            if (bytes == 4 || bytes == 8)
                expect_good(&file);
            else
                expect_refused(&file, wrong_length);
        }
        file = bare_file(wide);
        add_note(&file, "Xen", 4, 17, &value, 4, 4);
        add_note(&file, "Xen", 3, 18, &value, 4, 4);
        add_note(&file, "Xenn", 4, 18, &value, 4, 4);
        add_note(&file, "xen", 4, 18, &value, 4, 4);
        expect_refused(&file, none);
        add_entry_note(&file, ENTRY, 4);
        expect_good(&file);
        add_entry_note(&file, ENTRY, 8);
        expect_good(&file); /* said twice, to the same effect */
        add_entry_note(&file, ENTRY + 1, 4);
        expect_refused(&file, "Two PVH notes name different entry points");

        file = bare_file(wide);
        add_entry_note(&file, 0x100000000ull + ENTRY, 8);
        expect_refused(&file, NO_CODE);
        file = bare_file(wide);
        add_entry_note(&file, UINT64_MAX, 8);
        expect_refused(&file, NO_CODE);

        file = bare_file(wide);
        set_p(&file, NOTE, P_ALIGN, 8);
        add_note(&file, "GNU", 4, 5, "1234", 4, 8);
        add_note(&file, "longer name", 12, 5, "123456789", 9, 8);
        add_note(&file, "Xen", 4, 18, &value, 8, 8);
        expect_good(&file);
    }
}

static void malformed_notes(void **state)
{
    static const uint32_t sizes[] = {17,         100,        0x7FFFFFFF, 0x80000000,
                                     0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFC, 0xFFFFFFF4};

    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        for (size_t i = 0; i < ARRAY_COUNT(sizes); i++) {
            struct file file = bare_file(wide);
            add_entry_note(&file, ENTRY, 4);
            memcpy(file.bytes + file.notes, &sizes[i], 4); /* namesz */
            expect_refused(&file, NOTE_PAST);
            file = bare_file(wide);
            add_entry_note(&file, ENTRY, 4);
            memcpy(file.bytes + file.notes + 4, &sizes[i], 4); /* descsz */
            expect_refused(&file, NOTE_PAST);
        }
        /* a tail too short for a note is padding; the last value need not be padded */
        struct file file = bare_file(wide);
        add_entry_note(&file, ENTRY, 4);
        for (unsigned tail = 1; tail < 12; tail++) {
            file.bytes[file.count++] = 0xFF;
            set_p(&file, NOTE, P_FILESZ, file.count - file.notes);
            expect_good(&file);
        }
    }
}

static void room_beside_the_image(void **state)
{
    static uint8_t big[0x4001];
    char cmdline[0x2001];
    struct file file = good_file(true);

    (void)state;
    image.module = big;
    image.module_bytes = 0;
    expect_refused(&file, "The module is empty");
    image.module_bytes = 0x1000; /* behind start_info, below the hole */
    expect_good(&file);
    assert_int_equal(entry.start_info, 0x6000);
    image.module_bytes = 0x1001; /* above the hole */
    expect_good(&file);
    image.module_bytes = 0x4000; /* all of it */
    expect_good(&file);
    image.module_bytes = 0x4001;
    expect_refused(&file, "There is no room above the image and below 4 GiB for the module");
    image.module_bytes = UINT64_MAX;
    expect_refused(&file, "There is no room above the image and below 4 GiB for the module");

    image.module = NULL;
    image.cmdline = cmdline;
    memset(cmdline, 'x', sizeof(cmdline));
    cmdline[255] = '\0';
    expect_good(&file);
    set_p(&file, DATA, P_MEMSZ, 0x7001 - DATA_AT); /* nothing whole left below the hole */
    expect_good(&file);
    assert_int_equal(entry.start_info, 0x10000);
    image.cmdline = "";
    set_p(&file, DATA, P_PADDR, 0x10000);
    set_p(&file, DATA, P_MEMSZ, 0x3000);
    expect_good(&file);
    assert_int_equal(entry.start_info, 0x13000);
    set_p(&file, DATA, P_MEMSZ, 0x3001);
    expect_refused(&file,
                   "There is no room above the image and below 4 GiB for the start information");
}

static void the_last_segment_is_not_the_highest(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        struct file file = good_file(wide);

        set_p(&file, DATA, P_PADDR, 0x20);
        set_p(&file, DATA, P_MEMSZ, DATA_BYTES);
        expect_good(&file);
        assert_int_equal(entry.start_info, 0x2000);
    }
}

static void ram_off_the_page_grid(void **state)
{
    struct file file = good_file(true);
    struct loader_ram was = ram[0];

    (void)state;
    ram[0].gpa += 0x800;
    set_p(&file, DATA, P_MEMSZ, 0x7001 - DATA_AT); /* no whole page left below the hole */
    expect_good(&file);
    assert_int_equal(entry.start_info, 0x11000);
    ram[0] = was;
}

/* RAM goes on beyond 4 GiB without a gap, but what 32-bit code must reach may not. */
static void nothing_crosses_4_gib(void **state)
{
    const char *no_room =
        "There is no room above the image and below 4 GiB for the start information";
    char cmdline[0x1001];
    struct loader_ram was = ram[2];

    (void)state;
    memset(cmdline, 'x', sizeof(cmdline));
    cmdline[0x1000] = '\0';
    image.module = NULL;
    for (unsigned pages = 1; pages <= 2; pages++) { /* 2: the data segment takes the first */
        struct file file = good_file(true);

        ram[2].gpa = GIB(4) - pages * 0x1000;
        ram[2].bytes = 0x4000;
        ram[2].host = realloc(ram[2].host, ram[2].bytes);
        set_p(&file, DATA, P_PADDR, pages == 1 ? 0x10000 : ram[2].gpa);
        set_p(&file, DATA, P_MEMSZ, pages == 1 ? 0x4000 : 0x1000);
        image.cmdline = cmdline;
        expect_refused(&file, no_room);
        image.cmdline = "";
        expect_good(&file);
        assert_int_equal(entry.start_info, 0xFFFFF000);
        image.module = module_bytes;
        image.module_bytes = 1;
        expect_refused(&file, "There is no room above the image and below 4 GiB for the module");
        image.module = NULL;
    }
    was.host = ram[2].host;
    ram[2] = was;
}

static void ram_that_makes_no_sense(void **state)
{
    struct file file = good_file(true);
    struct loader_ram was = ram[2];

    (void)state;
    ram[2].gpa = 0x7FFF;
    expect_refused(&file, "Two runs of guest RAM overlap");
    ram[2] = was;
    ram[2].gpa = UINT64_MAX - 0xFFE;
    expect_refused(&file, "A run of guest RAM has no memory behind it or wraps around");
    ram[2] = was;
    image.ram_count = 0;
    expect_refused(&file, OUTSIDE);
    image.ram_count = RUNS;
    expect_good(&file);
}

/* ---- Mutants ---- */

static uint64_t seed = 0xA0761D6478BD642Full;

static uint64_t random_below(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % n;
}

static void tables_in_the_map(void **state)
{
    static const struct {
        uint64_t at, bytes;
    } places[] = {{0xA000, 0x1000}, {0x8000, 0x8000},  {0x8000, 1},
                  {0xFFFF, 1},      {0x14000, 0x1000}, {GIB(4) - 0x1000, 0x1000}};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(places); i++)
        for (int wide = 0; wide < 2; wide++) {
            struct file file = good_file(wide);

            image.tables = places[i].at;
            image.tables_bytes = places[i].bytes;
            expect_good(&file);
        }
}

static void tables_refused_with_a_reason(void **state)
{
    const char *over = "A segment lies over the ACPI tables";
    const char *in_ram = "A run of guest RAM holds the ACPI tables";
    const char *too_high = "The ACPI tables reach past 4 GiB";
    struct file file = good_file(true);

    (void)state;
    image.tables = 0x8000;
    image.tables_bytes = 0x8000;
    set_p(&file, DATA, P_PADDR, 0x7000);
    set_p(&file, DATA, P_MEMSZ, 0x1000);
    expect_good(&file);
    set_p(&file, DATA, P_MEMSZ, 0x1001);
    expect_refused(&file, over);
    set_p(&file, DATA, P_PADDR, 0xFFFF);
    expect_refused(&file, over);
    set_p(&file, DATA, P_PADDR, 0x10000);
    expect_good(&file);

    image.tables = 0x7FFF;
    expect_refused(&file, in_ram);
    image.tables = 0x8001; /* its end is in RAM */
    expect_refused(&file, in_ram);
    image.tables = GIB(4) - 0x7FFF;
    expect_refused(&file, too_high);
    image.tables = UINT64_MAX;
    expect_refused(&file, too_high);
    image.tables = 0x20000;
    image.tables_bytes = UINT64_MAX;
    expect_refused(&file, too_high);
}

static void mutate(struct file *file)
{
    uint64_t pages = random_below(0x14) << 12;
    const uint64_t values[] = {0,
                               1,
                               4,
                               18,
                               pages,
                               pages + 8,
                               ~pages,
                               random_below(file->count),
                               0 - random_below(5000),
                               0xFFFFFFFF,
                               UINT64_MAX,
                               1ull << 63};
    uint64_t value = values[random_below(ARRAY_COUNT(values))];

    switch (random_below(4)) {
    case 0: /* any byte of the headers */
        file->bytes[random_below(ehdr_bytes(file->wide) + HEADERS * phdr_bytes(file->wide))] =
            (uint8_t)random_below(256);
        break;
    case 1: /* any word of the notes */
        memcpy(file->bytes + file->notes + random_below(file->count - file->notes - 4), &value, 4);
        break;
    default:
        set_p(file, (unsigned)random_below(HEADERS), (unsigned)random_below(P_FIELDS), value);
        break;
    }
}

static void mutants(void **state)
{
    unsigned accepted = 0;

    (void)state;
    image.module = module_bytes;
    for (unsigned round = 0; round < 20000; round++) {
        struct file file = good_file(round & 1);

        image.module_bytes = 1 + random_below(sizeof(module_bytes));
        for (uint64_t n = random_below(3) + 1; n > 0; n--)
            mutate(&file);
        if (random_below(16) == 0)
            file.count = random_below(file.count);
        accepted += load(&file) == NULL;
    }
    assert_true(accepted > 1000 && accepted < 19000); /* else they teach nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(good_images, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(every_truncation, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(every_field_to_its_extremes, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(headers_refused_with_a_reason, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(segments_refused_with_a_reason, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(empty_segments_do_not_matter, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(notes, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(malformed_notes, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(room_beside_the_image, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(the_last_segment_is_not_the_highest, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(ram_off_the_page_grid, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(nothing_crosses_4_gib, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(ram_that_makes_no_sense, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(tables_in_the_map, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(tables_refused_with_a_reason, fresh_ram, drop_ram),
        cmocka_unit_test_setup_teardown(mutants, fresh_ram, drop_ram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
