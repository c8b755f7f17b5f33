/*
 * Read-only images: the ROM BAR with its own enable bit, and an option image in an ordinary BAR. The image is a boot
 * module, which for these checks is this very kernel's file: it can be compared with what runs, and jumped into.
 */
#include "tests/guest/guest.h"

#define ROM          6u
#define CFG_ROM      0x30u
#define ROM_ENABLE   1u
#define ROM_AT       0xe8000000ull
#define AT           (LAB_FREE_PAGE + 512u)
#define OPTION_PAGES 256u
#define PROBE_VALUE  0x524f4d21u

/* A function that runs wherever it lies. */
uint32_t rom_probe(void);
__asm__(".pushsection .text\n"
        ".global rom_probe\n"
        "rom_probe: movl $0x524f4d21, %eax\n"
        "ret\n"
        ".popsection");

/* ELF-64, as far as needed. */
#define ELF_MAGIC     0x464c457fu
#define ELF_PHOFF     0x20u
#define ELF_PHENTSIZE 0x36u
#define ELF_PHNUM     0x38u
#define PT_LOAD       1u

extern char guest_forms[]; /* the end of what never changes: code and constants */

static uint32_t module; /* the section; pages in module_pages */
static uint64_t module_pages;

static bool open_module(void)
{
    hv_status_t status = LAB(LAB_CMD_SECTION_CREATE, SA_READ | SA_EXECUTE | SA_QUERY, 0, PROT_RX,
                             S_COMMIT, B_MODULE, 0, 0);

    module = 0;
    if (status == HV_E_NOT_FOUND) {
        skip("no boot module");
        return false;
    }
    if (!expect_status("section of the module", status, HV_OK))
        return false;
    module = (uint32_t)lab_result(0);
    expect_status("query", LAB(LAB_CMD_SECTION_QUERY, module), HV_OK);
    module_pages = lab_result(0) / PAGE;
    return true;
}

static uint64_t image_checksum(void)
{
    expect_status("checksum", LAB(LAB_CMD_SECTION_CHECKSUM, module, 0, module_pages * PAGE), HV_OK);
    return lab_result(0);
}

/* Where in the file the byte at `address` of the running kernel lies; `image` is the start of the file. */
static uint64_t file_offset(uint64_t image, uint64_t address)
{
    uint64_t header = image + load(image + ELF_PHOFF, 8);
    uint64_t count = load(image + ELF_PHNUM, 2), bytes = load(image + ELF_PHENTSIZE, 2);

    for (uint64_t k = 0; k < count; k++, header += bytes) {
        uint64_t start = load(header + 0x10, 8), size = load(header + 0x20, 8);

        if (load(header, 4) == PT_LOAD && address - start < size)
            return load(header + 8, 8) + (address - start);
    }
    fail("the image has no byte for %lx", address);
    return 0;
}

/* The image at `image` is this kernel, to the end of its constants or of what is mapped. */
static void same_kernel(uint64_t image, uint64_t bytes)
{
    uint64_t start = 0x100000, end = (uint64_t)(uintptr_t)guest_forms & ~7ull;
    uint64_t at = file_offset(image, start);

    for (uint64_t o = 0; o < end - start && at + o + 8 <= bytes && !failed(); o += 8)
        if (load(image + at + o, 8) != load(start + o, 8))
            fail("the image differs at %lx", at + o);
}

static void set_rom(uint64_t base, bool on)
{
    pci_write(lab.slot, 0, CFG_ROM, 4, (uint32_t)base | (on ? ROM_ENABLE : 0u));
}

/* ---- the ROM BAR ---- */

static void expect_rom(bool there)
{
    expect_eq("first dword", load(GVA_TMP, 4), there ? ELF_MAGIC : 0xffffffffu);
    expect_eq("leaf", leaf_at(ROM_AT).present, there);
    expect_eq("decoded", bar_stats(ROM).decoded, there);
}

static void rom_store(void)
{
    uint64_t sequence = lab_traps(), checksum = image_checksum();
    struct trap_record t;

    store(GVA_TMP + 0x1234, 2, 0xbeef);
    expect_eq("traps", lab_traps(), sequence + 1);
    if (trap_record(sequence, &t)) {
        expect_eq("BAR", t.bar, ROM);
        expect_eq("offset", t.offset, 0x1234);
        expect_eq("width", t.bytes, 2);
        expect_eq("value", t.value, 0xbeef);
        expect_eq("direction", t.write, 1);
    }
    expect_eq("checksum", image_checksum(), checksum);
}

static void rom_enables(void)
{
    set_rom(ROM_AT, false);
    expect_rom(false);
    set_rom(ROM_AT, true);
    expect_rom(true);
    lab_decode(false);
    expect_eq("with decode off", load(GVA_TMP, 4), 0xffffffffu);
    lab_decode(true);
    expect_rom(true);
    lab_decode(false);
    set_rom(ROM_AT, false);
    lab_decode(true);
    expect_rom(false);
    set_rom(ROM_AT, true);
    expect_rom(true);
}

static void rom_bar(unsigned i)
{
    struct world before;
    uint64_t pages = LAB_ROM_BYTES / PAGE, traps;

    (void)i;
    world_note(&before);
    if (!open_module())
        return;
    map(GVA_TMP, ROM_AT, LAB_ROM_BYTES + PAGE, PAGE, 0);
    set_rom(ROM_AT, false);
    expect_status("writeable", bar_map(ROM, 0, pages, F_WRITE, module, 0),
                  HV_E_INVALID_PARAMETER_5);
    expect_status("one page too many", bar_map(ROM, 0, pages + 1, 0, module, 0), HV_E_OUT_OF_RANGE);
    expect_status("map", bar_map(ROM, 0, pages, 0, module, 0), HV_OK);
    expect_rom(false);
    set_rom(ROM_AT, true);
    traps = lab_traps();
    expect_rom(true);
    same_kernel(GVA_TMP, LAB_ROM_BYTES);
    expect_eq("traps", lab_traps(), traps);
    expect_eq("behind it", load(GVA_TMP + LAB_ROM_BYTES, 4), 0xffffffffu);
    rom_store();
    rom_enables();
    expect_status("destroy", bar_destroy(ROM, 0), HV_OK);
    page_traps(ROM, GVA_TMP, 0);
    set_rom(0, false);
    unmap(GVA_TMP, LAB_ROM_BYTES + PAGE, PAGE);
    handle_drop(module);
    world_same(&before, "after the ROM went");
}

/* The size of a ROM BAR: bits 10 to 1 are reserved, the enable bit stays as written. */
static void rom_size(unsigned i)
{
    (void)i;
    pci_write(lab.slot, 0, CFG_ROM, 4, 0xfffffffeu);
    expect_eq("mask", pci_read(lab.slot, 0, CFG_ROM, 4), 0u - LAB_ROM_BYTES);
    set_rom(0, false);
    expect_eq("put back", pci_read(lab.slot, 0, CFG_ROM, 4), 0);
    expect_eq("bytes", bar_stats(ROM).bytes, LAB_ROM_BYTES);
}

/* ---- an option image in BAR2 ---- */

static void option_image(unsigned i)
{
    bool executable = i == 1;
    uint64_t image = GVA_BAR2 + AT * PAGE, pages, checksum, traps;
    struct world before;

    world_note(&before);
    if (!open_module())
        return;
    pages = module_pages < OPTION_PAGES ? module_pages : OPTION_PAGES;
    checksum = image_checksum();
    expect_status("writeable", bar_map(2, AT, pages, F_WRITE, module, 0), HV_E_ACCESS_DENIED);
    expect_status("map", bar_map(2, AT, pages, executable ? F_EXEC : 0, module, 0), HV_OK);
    traps = lab_traps();
    same_kernel(image, pages * PAGE);
    if (executable) {
        uint64_t probe = image + file_offset(image, (uint64_t)(uintptr_t)rom_probe);

        expect_eq("its function", ((uint32_t(*)(void))(uintptr_t)probe)(), PROBE_VALUE);
        expect_eq("small executable leaves", leaf_at(lab.base[2] + AT * PAGE).rights, 5);
    }
    expect_eq("traps", lab_traps(), traps);
    store(image + 0x80, 8, 0);
    expect_eq("a store traps", lab_traps(), traps + 1);
    expect_eq("checksum", image_checksum(), checksum);
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    handle_drop(module);
    world_same(&before, "after the image went");
}

static void name_option(char *out, unsigned i)
{
    format_text(out, NAME_ROOM, "an option image in BAR2, read-only%s",
                i == 1 ? " and executable: the guest jumps into it" : "");
}

static void rom_code(unsigned i)
{
    uint64_t header = GVA_BAR2 + AT * PAGE, probe, page;

    (void)i;
    if (!open_module())
        return;
    expect_status("map", bar_map(2, AT, 1, 0, module, 0), HV_OK);
    probe = file_offset(header, (uint64_t)(uintptr_t)rom_probe);
    expect_status("destroy", bar_destroy(2, AT), HV_OK);
    page = probe / PAGE;
    map(GVA_TMP, ROM_AT, PAGE, PAGE, 0);
    expect_status("map", bar_map(ROM, 0, 1, F_EXEC, module, page), HV_OK);
    set_rom(ROM_AT, true);
    if (!failed())
        expect_eq("its function", ((uint32_t(*)(void))(uintptr_t)(GVA_TMP + probe % PAGE))(),
                  PROBE_VALUE);
    expect_status("destroy", bar_destroy(ROM, 0), HV_OK);
    set_rom(0, false);
    unmap(GVA_TMP, PAGE, PAGE);
    handle_drop(module);
}

/* ---- the lab takes accesses of up to 16 bytes of this BAR whole ---- */

static void load_16(uint64_t gva, uint64_t value[2])
{
    __asm__ volatile("movups (%1), %%xmm0\n\tmovups %%xmm0, (%0)" ::"r"(value), "r"(gva)
                     : "memory");
}

/* One piece where it is aligned to 16, else naturally aligned ones of 8 and less, in ascending order. */
static void rom_wide(unsigned i)
{
    static const unsigned shift[] = {0, 8, 4};
    static const unsigned pieces[][4] = {{16}, {8, 8}, {4, 8, 4}};
    const uint64_t at = 0x240 + shift[i];
    uint64_t value[2], sequence, offset = at;
    struct trap_record t;

    set_rom(ROM_AT, true);
    map(GVA_TMP, ROM_AT, PAGE, PAGE, 0);
    vectors_on();
    sequence = lab_traps();
    load_16(GVA_TMP + at, value);
    vectors_off();
    for (unsigned k = 0; k < 2; k++)
        expect_eq("what was read", value[k], hole_value(at + 8 * k, 8));
    for (unsigned k = 0; k < 4 && pieces[i][k] != 0; k++, sequence++) {
        if (!trap_record(sequence, &t))
            break;
        expect_eq("BAR", t.bar, ROM);
        expect_eq("offset", t.offset, offset);
        expect_eq("width", t.bytes, pieces[i][k]);
        offset += pieces[i][k];
    }
    expect_eq("traps", lab_traps(), sequence);
    unmap(GVA_TMP, PAGE, PAGE);
    set_rom(0, false);
}

static void name_wide(char *out, unsigned i)
{
    static const char *const name[] = {"whole", "in two", "in three"};

    format_text(out, NAME_ROOM, "an access of 16 bytes arrives %s", name[i]);
}

static const struct check list[] = {
    {"rom", "size of the ROM BAR", NULL, 0, true, rom_size},
    {"rom", "a boot module in the ROM BAR: enable bit, decode, writes, never writeable", NULL, 0,
     true, rom_bar},
    {"rom", NULL, name_option, 2, true, option_image},
    {"rom", "the guest runs code in the ROM BAR", NULL, 0, true, rom_code},
    {"rom", NULL, name_wide, 3, true, rom_wide},
};
const struct check_list checks_rom = {list, COUNT_OF(list)};
