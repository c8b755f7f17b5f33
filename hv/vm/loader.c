#include "hv/vm/loader.h"

#include "hv/base/assert.h"
#include "hv/base/string.h"

/* System V gABI "Object Files": the constants and layouts that matter here. */
#define ELF_MAGIC       "\177ELF"
#define ELF_MAGIC_BYTES 4u
#define EI_CLASS        4u
#define EI_DATA         5u
#define EI_VERSION      6u
#define EI_NIDENT       16u
#define ELFCLASS32      1u
#define ELFCLASS64      2u
#define ELFDATA2LSB     1u
#define EV_CURRENT      1u
#define ET_EXEC         2u
#define ET_DYN          3u
#define EM_386          3u
#define EM_X86_64       62u
#define PT_LOAD         1u
#define PT_NOTE         4u
#define PF_X            1u
#define NOTE_ALIGN      4u
#define NOTE_ALIGN_WIDE 8u /* chosen by p_align, as for .note.gnu.property */

/* Xen public headers, elfnote.h and arch-x86/hvm/start_info.h. */
#define XEN_NOTE_NAME      "Xen"
#define XEN_NOTE_ENTRY     18u /* XEN_ELFNOTE_PHYS32_ENTRY */
#define START_INFO_VERSION 1u
#define MAP_TYPE_RAM       1u
#define MAP_TYPE_ACPI      3u /* RAM, once the tables have been read */

#define LOW_TOP            GIB(4) /* what 32-bit code reaches */

struct elf32_header {
    uint8_t ident[EI_NIDENT];
    uint16_t type, machine;
    uint32_t version, entry, phoff, shoff, flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf64_header {
    uint8_t ident[EI_NIDENT];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf32_program {
    uint32_t type, offset, vaddr, paddr, filesz, memsz, flags, align;
};

struct elf64_program {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

struct elf_note {
    uint32_t namesz, descsz, type;
};

struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline, rsdp, map;
    uint32_t map_entries, reserved;
};

struct start_map_entry {
    uint64_t base, bytes;
    uint32_t type, reserved;
};

struct start_module {
    uint64_t base, bytes, cmdline, reserved;
};

_Static_assert(sizeof(struct elf32_header) == 52 && sizeof(struct elf64_header) == 64, "gABI");
_Static_assert(sizeof(struct elf32_program) == 32 && sizeof(struct elf64_program) == 56, "gABI");
_Static_assert(sizeof(struct start_info) == 56 && sizeof(struct start_map_entry) == 24, "Xen");
_Static_assert(sizeof(struct start_module) == 32, "Xen");

/* What both classes say about the program headers. */
struct elf {
    const uint8_t *bytes;
    uint64_t total_bytes;
    uint64_t phoff;
    unsigned phnum;
    bool wide;
};

struct segment {
    uint32_t type;
    uint32_t flags;
    uint64_t offset;
    uint64_t paddr;
    uint64_t file_bytes;
    uint64_t memory_bytes;
    uint64_t align;
};

/* Where everything beside the segments goes, in guest-physical addresses. */
struct layout {
    uint64_t info;
    uint64_t map;
    uint64_t modules;
    uint64_t cmdline;
    uint64_t cmdline_bytes; /* with the NUL */
    uint64_t module;
    uint32_t map_entries;
};

static bool range_fits(uint64_t offset, uint64_t bytes, uint64_t limit)
{
    return offset <= limit && bytes <= limit - offset;
}

/* ---- Guest RAM ---- */

static const struct loader_ram *run_at(const struct loader_image *image, uint64_t gpa)
{
    for (unsigned i = 0; i < image->ram_count; i++) {
        const struct loader_ram *run = &image->ram[i];

        if (gpa >= run->gpa && gpa - run->gpa < run->bytes)
            return run;
    }
    return NULL;
}

static uint64_t bytes_from(const struct loader_ram *run, uint64_t gpa)
{
    return run->bytes - (gpa - run->gpa);
}

static bool ram_holds(const struct loader_image *image, uint64_t gpa, uint64_t bytes)
{
    while (bytes > 0) {
        const struct loader_ram *run = run_at(image, gpa);
        if (run == NULL)
            return false;

        uint64_t piece = MIN(bytes, bytes_from(run, gpa));
        gpa += piece;
        bytes -= piece;
    }
    return true;
}

/* The range was found to be RAM. `from` NULL writes zeros. */
static void ram_put(const struct loader_image *image, uint64_t gpa, const void *from,
                    uint64_t bytes)
{
    const uint8_t *source = from;

    while (bytes > 0) {
        const struct loader_ram *run = run_at(image, gpa);
        ASSERT(run != NULL);

        uint64_t piece = MIN(bytes, bytes_from(run, gpa));
        if (source != NULL) {
            memcpy(run->host + (gpa - run->gpa), source, piece);
            source += piece;
        } else {
            memset(run->host + (gpa - run->gpa), 0, piece);
        }
        gpa += piece;
        bytes -= piece;
    }
}

static bool hits_tables(const struct loader_image *image, uint64_t gpa, uint64_t bytes)
{
    return image->tables_bytes != 0 && gpa < image->tables + image->tables_bytes &&
           image->tables < gpa + bytes;
}

static const char *ram_check(const struct loader_image *image)
{
    if (!range_fits(image->tables, image->tables_bytes, LOW_TOP))
        return "The ACPI tables reach past 4 GiB";
    for (unsigned i = 0; i < image->ram_count; i++) {
        const struct loader_ram *run = &image->ram[i];

        if (run->bytes == 0)
            continue;
        if (run->host == NULL || !range_fits(run->gpa, run->bytes, UINT64_MAX))
            return "A run of guest RAM has no memory behind it or wraps around";
        if (hits_tables(image, run->gpa, run->bytes))
            return "A run of guest RAM holds the ACPI tables";
        for (unsigned j = 0; j < i; j++) {
            const struct loader_ram *other = &image->ram[j];

            if (other->bytes != 0 && run->gpa < other->gpa + other->bytes &&
                other->gpa < run->gpa + run->bytes)
                return "Two runs of guest RAM overlap";
        }
    }
    return NULL;
}

/* ---- ELF header and program headers ---- */

static const char *ident_check(const struct loader_image *image)
{
    const uint8_t *ident = image->elf;

    if (image->elf_bytes < EI_NIDENT)
        return "The file is too short for an ELF header";
    if (memcmp(ident, ELF_MAGIC, ELF_MAGIC_BYTES) != 0)
        return "The file is not an ELF image";
    if (ident[EI_CLASS] != ELFCLASS32 && ident[EI_CLASS] != ELFCLASS64)
        return "The ELF class is neither 32-bit nor 64-bit";
    if (ident[EI_DATA] != ELFDATA2LSB)
        return "The ELF image is not little-endian";
    if (ident[EI_VERSION] != EV_CURRENT)
        return "The ELF version is not 1";
    return NULL;
}

/* The header of either class as the 64-bit one. */
static const char *header_read(const struct loader_image *image, struct elf64_header *header)
{
    if (image->elf[EI_CLASS] == ELFCLASS64) {
        if (image->elf_bytes < sizeof(*header))
            return "The file is too short for an ELF header";
        memcpy(header, image->elf, sizeof(*header));
        return NULL;
    }

    struct elf32_header narrow;
    if (image->elf_bytes < sizeof(narrow))
        return "The file is too short for an ELF header";
    memcpy(&narrow, image->elf, sizeof(narrow));
    *header = (struct elf64_header){
        .type = narrow.type,
        .machine = narrow.machine,
        .version = narrow.version,
        .phoff = narrow.phoff,
        .ehsize = narrow.ehsize,
        .phentsize = narrow.phentsize,
        .phnum = narrow.phnum,
    };
    return NULL;
}

static const char *header_check(const struct elf64_header *header, bool wide, uint64_t elf_bytes)
{
    uint64_t header_bytes = wide ? sizeof(struct elf64_header) : sizeof(struct elf32_header);
    uint64_t entry_bytes = wide ? sizeof(struct elf64_program) : sizeof(struct elf32_program);

    if (header->machine != (wide ? EM_X86_64 : EM_386))
        return "The ELF machine is not x86-64 for a 64-bit or i386 for a 32-bit image";
    if (header->version != EV_CURRENT)
        return "The ELF version is not 1";
    if (header->type == ET_DYN)
        return "The ELF image is position-independent; it must be linked at a fixed address";
    if (header->type != ET_EXEC)
        return "The ELF image is not an executable";
    if (header->ehsize != header_bytes)
        return "The ELF header has the wrong length";
    if (header->phnum == 0)
        return "The ELF image has no program headers";
    if (header->phnum > LOADER_MAX_HEADERS)
        return "The ELF image has more than 64 program headers";
    if (header->phentsize != entry_bytes)
        return "The ELF program headers have the wrong length";
    if (!range_fits(header->phoff, header->phnum * entry_bytes, elf_bytes))
        return "The ELF program headers reach past the end of the file";
    return NULL;
}

static const char *elf_open(const struct loader_image *image, struct elf *elf)
{
    struct elf64_header header;
    const char *reason = ident_check(image);

    if (reason == NULL)
        reason = header_read(image, &header);
    if (reason != NULL)
        return reason;

    *elf = (struct elf){
        .bytes = image->elf,
        .total_bytes = image->elf_bytes,
        .phoff = header.phoff,
        .phnum = header.phnum,
        .wide = image->elf[EI_CLASS] == ELFCLASS64,
    };
    return header_check(&header, elf->wide, elf->total_bytes);
}

static struct segment segment_read(const struct elf *elf, unsigned index)
{
    struct elf64_program wide;

    if (elf->wide) {
        memcpy(&wide, elf->bytes + elf->phoff + index * sizeof(wide), sizeof(wide));
    } else {
        struct elf32_program narrow;

        memcpy(&narrow, elf->bytes + elf->phoff + index * sizeof(narrow), sizeof(narrow));
        wide = (struct elf64_program){narrow.type,  narrow.flags,  narrow.offset, narrow.vaddr,
                                      narrow.paddr, narrow.filesz, narrow.memsz,  narrow.align};
    }
    return (struct segment){wide.type,   wide.flags, wide.offset, wide.paddr,
                            wide.filesz, wide.memsz, wide.align};
}

static bool is_loaded(const struct segment *segment)
{
    return segment->type == PT_LOAD && segment->memory_bytes > 0;
}

/* ---- Segments ---- */

static const char *segment_check(const struct loader_image *image, const struct segment *segment)
{
    if (segment->type != PT_LOAD && segment->type != PT_NOTE)
        return NULL;
    if (!range_fits(segment->offset, segment->file_bytes, image->elf_bytes))
        return "A segment reaches past the end of the file";
    if (segment->type != PT_LOAD)
        return NULL;
    if (segment->file_bytes > segment->memory_bytes)
        return "A segment is longer in the file than in memory";
    if (segment->memory_bytes == 0)
        return NULL;
    if (!range_fits(segment->paddr, segment->memory_bytes, LOW_TOP))
        return "A segment reaches past 4 GiB";
    if (hits_tables(image, segment->paddr, segment->memory_bytes))
        return "A segment lies over the ACPI tables";
    if (!ram_holds(image, segment->paddr, segment->memory_bytes))
        return "A segment lies outside guest RAM or spans a hole in it";
    return NULL;
}

/* *top: the end of the highest segment. */
static const char *segments_check(const struct loader_image *image, const struct elf *elf,
                                  uint64_t *top)
{
    *top = 0;
    for (unsigned i = 0; i < elf->phnum; i++) {
        struct segment segment = segment_read(elf, i);
        const char *reason = segment_check(image, &segment);

        if (reason != NULL)
            return reason;
        if (!is_loaded(&segment))
            continue;
        for (unsigned j = 0; j < i; j++) {
            struct segment other = segment_read(elf, j);

            if (is_loaded(&other) && segment.paddr < other.paddr + other.memory_bytes &&
                other.paddr < segment.paddr + segment.memory_bytes)
                return "Two segments overlap in memory";
        }
        *top = MAX(*top, segment.paddr + segment.memory_bytes);
    }
    return *top == 0 ? "The ELF image has no segment to load" : NULL;
}

static void segments_load(const struct loader_image *image, const struct elf *elf)
{
    for (unsigned i = 0; i < elf->phnum; i++) {
        struct segment segment = segment_read(elf, i);

        if (!is_loaded(&segment))
            continue;
        ram_put(image, segment.paddr, elf->bytes + segment.offset, segment.file_bytes);
        ram_put(image, segment.paddr + segment.file_bytes, NULL,
                segment.memory_bytes - segment.file_bytes);
    }
}

/* ---- The entry point ---- */

struct pvh_note {
    bool found;
    uint64_t entry;
};

static const char *note_take(struct pvh_note *pvh, const uint8_t *value, uint32_t bytes)
{
    uint64_t entry = 0;

    if (bytes != sizeof(uint32_t) && bytes != sizeof(uint64_t))
        return "The PVH note is neither 4 nor 8 bytes long";
    memcpy(&entry, value, bytes);
    if (pvh->found && pvh->entry != entry)
        return "Two PVH notes name different entry points";
    *pvh = (struct pvh_note){true, entry};
    return NULL;
}

/* One PT_NOTE segment, whose bytes were found to lie in the file. */
static const char *notes_scan(const struct elf *elf, const struct segment *segment,
                              struct pvh_note *pvh)
{
    const uint8_t *notes = elf->bytes + segment->offset;
    uint64_t align = segment->align == NOTE_ALIGN_WIDE ? NOTE_ALIGN_WIDE : NOTE_ALIGN;
    struct elf_note note;

    for (uint64_t at = 0; range_fits(at, sizeof(note), segment->file_bytes);) {
        memcpy(&note, notes + at, sizeof(note));

        uint64_t name = at + sizeof(note);
        uint64_t value = ALIGN_UP(name + note.namesz, align);
        if (!range_fits(value, note.descsz, segment->file_bytes)) /* the name lies before */
            return "A note reaches past the end of its segment";
        if (note.type == XEN_NOTE_ENTRY && note.namesz == sizeof(XEN_NOTE_NAME) &&
            memcmp(notes + name, XEN_NOTE_NAME, sizeof(XEN_NOTE_NAME)) == 0) {
            const char *reason = note_take(pvh, notes + value, note.descsz);

            if (reason != NULL)
                return reason;
        }
        at = ALIGN_UP(value + note.descsz, align);
    }
    return NULL;
}

/* Code must come from the file: a jump into zeros runs, but nowhere useful. */
static bool entry_fits(const struct elf *elf, uint64_t entry)
{
    for (unsigned i = 0; i < elf->phnum; i++) {
        struct segment segment = segment_read(elf, i);

        if (is_loaded(&segment) && (segment.flags & PF_X) != 0 && entry >= segment.paddr &&
            entry - segment.paddr < segment.file_bytes)
            return true;
    }
    return false;
}

static const char *entry_find(const struct elf *elf, uint32_t *entry)
{
    struct pvh_note pvh = {0};

    for (unsigned i = 0; i < elf->phnum; i++) {
        struct segment segment = segment_read(elf, i);
        if (segment.type != PT_NOTE)
            continue;

        const char *reason = notes_scan(elf, &segment, &pvh);
        if (reason != NULL)
            return reason;
    }
    if (!pvh.found)
        return "The ELF image has no PVH note (name \"Xen\", type 18)";
    if (!entry_fits(elf, pvh.entry))
        return "The PVH entry point lies outside the code of every executable segment";
    *entry = (uint32_t)pvh.entry; /* segments end below 4 GiB */
    return NULL;
}

/* ---- start_info, its memory map, the command line, the module ---- */

/* The lowest page-aligned place at or above *cursor, which then moves behind it. */
static bool place(const struct loader_image *image, uint64_t *cursor, uint64_t bytes, uint64_t *gpa)
{
    uint64_t from = ALIGN_UP(*cursor, PAGE_BYTES);
    uint64_t best = LOW_TOP;

    if (range_fits(from, bytes, LOW_TOP) && ram_holds(image, from, bytes))
        best = from;
    for (unsigned i = 0; i < image->ram_count; i++) {
        if (image->ram[i].gpa >= best)
            continue;

        uint64_t start = ALIGN_UP(image->ram[i].gpa, PAGE_BYTES);
        if (start >= from && range_fits(start, bytes, LOW_TOP) && ram_holds(image, start, bytes))
            best = start;
    }
    if (best == LOW_TOP)
        return false;
    *gpa = best;
    *cursor = best + bytes;
    return true;
}

static const char *layout_plan(const struct loader_image *image, uint64_t top,
                               struct layout *layout)
{
    uint64_t entries = 0;
    uint64_t bytes;

    *layout = (struct layout){.cmdline_bytes = strlen(image->cmdline) + 1};
    for (unsigned i = 0; i < image->ram_count; i++)
        entries += image->ram[i].bytes != 0;
    entries += image->tables_bytes != 0;
    layout->map_entries = (uint32_t)entries;

    bytes = sizeof(struct start_info) + entries * sizeof(struct start_map_entry);
    if (image->module != NULL)
        bytes += sizeof(struct start_module);
    bytes += layout->cmdline_bytes;

    if (image->module != NULL && image->module_bytes == 0)
        return "The module is empty";
    if (!place(image, &top, bytes, &layout->info))
        return "There is no room above the image and below 4 GiB for the start information";
    if (image->module != NULL && !place(image, &top, image->module_bytes, &layout->module))
        return "There is no room above the image and below 4 GiB for the module";

    layout->map = layout->info + sizeof(struct start_info);
    layout->modules = layout->map + entries * sizeof(struct start_map_entry);
    layout->cmdline = layout->modules;
    if (image->module != NULL)
        layout->cmdline += sizeof(struct start_module);
    return NULL;
}

/* The lowest run that starts at or above `from`; runs do not overlap, so none is met twice. */
static const struct loader_ram *run_next(const struct loader_image *image, uint64_t from)
{
    const struct loader_ram *next = NULL;

    for (unsigned i = 0; i < image->ram_count; i++) {
        const struct loader_ram *run = &image->ram[i];

        if (run->bytes != 0 && run->gpa >= from && (next == NULL || run->gpa < next->gpa))
            next = run;
    }
    return next;
}

static void map_put(const struct loader_image *image, uint64_t *gpa, uint64_t base, uint64_t bytes,
                    uint32_t type)
{
    struct start_map_entry entry = {base, bytes, type, 0};

    ram_put(image, *gpa, &entry, sizeof(entry));
    *gpa += sizeof(entry);
}

static void map_write(const struct loader_image *image, uint64_t gpa)
{
    const struct loader_ram *run = run_next(image, 0);
    bool tables = image->tables_bytes != 0; /* still to come */

    while (run != NULL || tables) {
        if (tables && (run == NULL || image->tables < run->gpa)) {
            map_put(image, &gpa, image->tables, image->tables_bytes, MAP_TYPE_ACPI);
            tables = false;
        } else {
            map_put(image, &gpa, run->gpa, run->bytes, MAP_TYPE_RAM);
            run = run_next(image, run->gpa + run->bytes);
        }
    }
}

static void layout_write(const struct loader_image *image, const struct layout *layout)
{
    struct start_info info = {
        .magic = PVH_START_MAGIC,
        .version = START_INFO_VERSION,
        .cmdline = layout->cmdline,
        .rsdp = image->rsdp,
        .map = layout->map,
        .map_entries = layout->map_entries,
    };

    if (image->module != NULL) {
        struct start_module module = {.base = layout->module, .bytes = image->module_bytes};

        info.module_count = 1;
        info.modules = layout->modules;
        ram_put(image, layout->modules, &module, sizeof(module));
        ram_put(image, layout->module, image->module, image->module_bytes);
    }
    ram_put(image, layout->info, &info, sizeof(info));
    map_write(image, layout->map);
    ram_put(image, layout->cmdline, image->cmdline, layout->cmdline_bytes);
}

/* Everything that can fail comes before the first write. */
const char *loader_load_pvh(const struct loader_image *image, struct loader_entry *entry)
{
    struct elf elf;
    struct layout layout;
    uint64_t top = 0;
    uint32_t start = 0;
    const char *reason = ram_check(image);

    if (reason == NULL)
        reason = elf_open(image, &elf);
    if (reason == NULL)
        reason = segments_check(image, &elf, &top);
    if (reason == NULL)
        reason = entry_find(&elf, &start);
    if (reason == NULL)
        reason = layout_plan(image, top, &layout);
    if (reason != NULL)
        return reason;

    segments_load(image, &elf);
    layout_write(image, &layout);
    *entry = (struct loader_entry){.entry = start, .start_info = (uint32_t)layout.info};
    return NULL;
}
