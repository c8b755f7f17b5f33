#include "drivers/virtual/lab.h"

#include "hv/base/piece.h"
#include "hv/base/string.h"
#include "hv/pci/inspect.h"

#define LAB_REVISION   1u
#define LAB_BASE_CLASS 0xffu /* fits no defined class */

#define SECTION_BYTES  (LAB_BAR2_PAGES * PAGE_BYTES)
#define SECTION_ALL_RIGHTS \
    (HV_SECTION_QUERY | HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE | HV_SECTION_MAP_EXECUTE)

/* One lab per machine: its sections have names. */
static bool is_there;

/* ---- registers ---- */

/* The argument of which a byte lies at an offset; LAB_ARGS: none. */
static inline uint64_t argument_at(uint64_t offset)
{
    const uint64_t bytes = sizeof(uint64_t);
    uint64_t i = (offset - LAB_ARG(0)) / bytes;

    if (i < LAB_ARGS_LOW)
        return i;
    i = (offset - LAB_ARG(LAB_ARGS_LOW)) / bytes;
    return MIN(LAB_ARGS_LOW + i, (uint64_t)LAB_ARGS);
}

/* The 8-byte word of the register page at an 8-aligned offset. False: nothing is there. */
static bool read_word(struct lab *lab, uint64_t offset, uint64_t *word)
{
    uint64_t argument = argument_at(offset);

    if (argument < LAB_ARGS)
        *word = lab->arg[argument];
    else if (offset == LAB_MAGIC)
        *word = LAB_MAGIC_VALUE | (uint64_t)LAB_VERSION_VALUE << 32;
    else if (offset == LAB_STATUS)
        *word = (uint32_t)lab->status;
    else if (offset >= LAB_RESULT(0) && offset < LAB_RESULT(LAB_RESULTS))
        *word = lab->result[(offset - LAB_RESULT(0)) / sizeof(*word)];
    else if (offset == LAB_TRAPS)
        *word = lab->traps;
    else if (offset == LAB_DIGEST)
        *word = lab->digest;
    else
        return false;
    return true;
}

static void record(struct lab *lab, enum hv_bar bar, uint64_t offset, uint64_t length,
                   const uint8_t *buffer, bool write)
{
    struct lab_trap *trap = &lab->trap[lab->traps++ % LAB_TRAP_LOG];

    *trap = (struct lab_trap){
        .offset = offset, .bar = (uint8_t)bar, .width = (uint8_t)length, .write = write};
    piece_copy(&trap->value, buffer, MIN(length, sizeof(trap->value)));
    if (length > sizeof(trap->value))
        trap->checksum = lab_checksum(buffer, length);
    lab->digest = LAB_DIGEST_STEP(lab->digest, LAB_DIGEST_HEAD(bar, offset, length, write));
    lab->digest = LAB_DIGEST_STEP(lab->digest, trap->value);
}

static bool is_scratch(uint64_t offset)
{
    return offset >= LAB_SCRATCH && offset < LAB_SCRATCH + LAB_SCRATCH_BYTES;
}

static bool is_doorbell(uint64_t offset)
{
    return offset - LAB_DOORBELL < sizeof(((struct lab *)0)->doorbell);
}

static hv_status_t read_register(struct lab *lab, uint64_t offset, uint64_t length, uint8_t *buffer)
{
    uint64_t word;
    uint64_t lane = offset % sizeof(word);

    if (read_word(lab, offset - lane, &word)) {
        piece_copy(buffer, (const uint8_t *)&word + lane, length);
        return HV_OK;
    }
    if (is_doorbell(offset)) {
        piece_copy(buffer, (const uint8_t *)&lab->doorbell + lane, length);
        record(lab, HV_BAR0, offset, length, buffer, false);
        return HV_OK;
    }
    if (!is_scratch(offset))
        return HV_E_OUT_OF_RANGE;
    piece_copy(buffer, lab->scratch + (offset - LAB_SCRATCH), length);
    record(lab, HV_BAR0, offset, length, buffer, false);
    return HV_OK;
}

static hv_status_t write_register(struct lab *lab, uint64_t offset, uint64_t length,
                                  const uint8_t *buffer)
{
    uint64_t argument = argument_at(offset);
    uint32_t command;

    if (argument < LAB_ARGS) {
        piece_copy((uint8_t *)&lab->arg[argument] + offset % sizeof(lab->arg[0]), buffer, length);
        return HV_OK;
    }
    if (is_scratch(offset)) {
        piece_copy(lab->scratch + (offset - LAB_SCRATCH), buffer, length);
        record(lab, HV_BAR0, offset, length, buffer, true);
        return HV_OK;
    }
    if (is_doorbell(offset)) {
        piece_copy((uint8_t *)&lab->doorbell + (offset - LAB_DOORBELL), buffer, length);
        record(lab, HV_BAR0, offset, length, buffer, true);
        return HV_OK;
    }
    if (offset == LAB_DIGEST && length == sizeof(lab->digest)) {
        memcpy(&lab->digest, buffer, sizeof(lab->digest));
        return HV_OK;
    }
    if (offset == LAB_COMMAND && length == sizeof(command)) {
        memcpy(&command, buffer, sizeof(command));
        lab_command(lab, command);
        return HV_OK;
    }
    return HV_E_OUT_OF_RANGE;
}

/* ---- trapped accesses ---- */

static bool is_memory(enum hv_bar bar, uint64_t offset)
{
    return bar == HV_BAR2 && (offset >> PAGE_SHIFT) - LAB_MEMORY_PAGE < LAB_MEMORY_PAGES;
}

/* What differs from a hole's byte there. */
static uint8_t *memory_at(struct lab *lab, uint64_t offset)
{
    return &lab->memory[offset - ((uint64_t)LAB_MEMORY_PAGE << PAGE_SHIFT)];
}

static hv_status_t lab_read(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                            uint8_t *buffer)
{
    struct lab *lab = context;
    const bool memory = is_memory(bar, offset);

    if (bar == HV_BAR0)
        return read_register(lab, offset, length, buffer);
    for (uint64_t i = 0; i < length; i++)
        buffer[i] =
            (uint8_t)(LAB_HOLE_BYTE(offset + i) ^ (memory ? *memory_at(lab, offset + i) : 0));
    record(lab, bar, offset, length, buffer, false);
    return HV_OK;
}

static hv_status_t lab_write(void *context, enum hv_bar bar, uint64_t offset, uint64_t length,
                             const uint8_t *buffer)
{
    struct lab *lab = context;

    if (bar == HV_BAR0)
        return write_register(lab, offset, length, buffer);
    record(lab, bar, offset, length, buffer, true);
    for (uint64_t i = 0; i < length && is_memory(bar, offset); i++)
        *memory_at(lab, offset + i) = (uint8_t)(buffer[i] ^ LAB_HOLE_BYTE(offset + i));
    return HV_OK;
}

/* ---- the initial ranges ---- */

/* One of them, as lab_regs.h lays them out. */
struct layout {
    uint64_t page, pages;
    uint32_t flags;
};

#define LAYOUT_COUNT (LAB_SMALL_SLOTS + LAB_LARGE_SLOTS + 3u)

static struct layout layout_at(unsigned i)
{
    static const struct layout others[] = {
        {LAB_LARGER_PAGE, LAB_LARGER_PAGES, HV_MMIO_WRITEABLE | HV_MMIO_MT_WB},
        {LAB_APART_PAGE, LAB_APART_PAGES, HV_MMIO_WRITEABLE | HV_MMIO_MT_WB},
        {LAB_LAST_PAGE, 1, HV_MMIO_WRITEABLE | HV_MMIO_MT_WB},
    };
    static const uint32_t types[] = {HV_MMIO_MT_UC, HV_MMIO_MT_WC, HV_MMIO_MT_WT, HV_MMIO_MT_WP,
                                     HV_MMIO_MT_WB};
    struct layout layout;
    unsigned n = i;

    if (n < LAB_SMALL_SLOTS) {
        layout = (struct layout){LAB_SMALL_PAGE(n), LAB_SMALL_PAGES, types[n / 8] | (n / 2) % 4};
    } else if (n < LAB_SMALL_SLOTS + LAB_LARGE_SLOTS) {
        n -= LAB_SMALL_SLOTS;
        layout =
            (struct layout){LAB_LARGE_PAGE(n), LAB_LARGE_PAGES, types[n / 2] | HV_MMIO_WRITEABLE};
    } else {
        return others[n - LAB_SMALL_SLOTS - LAB_LARGE_SLOTS];
    }
    if (n % 2)
        layout.flags |= HV_MMIO_IGNORE_GUEST_PAT;
    return layout;
}

static void remove_ranges(struct lab *lab)
{
    for (unsigned i = 0; i < LAYOUT_COUNT; i++) {
        /* NOT_MAPPED: the guest took it away, or this CPU could not have it. */
        hv_status_t ignored = hv_mmio_range_destroy(lab->device, HV_BAR2, layout_at(i).page);

        (void)ignored;
    }
    lab->has_ranges = false;
}

static hv_status_t make_ranges(struct lab *lab)
{
    for (unsigned i = 0; i < LAYOUT_COUNT; i++) {
        struct layout layout = layout_at(i);
        hv_status_t status;

        if ((layout.flags & HV_MMIO_IGNORE_GUEST_PAT) && !hv_caps.ignore_pat)
            continue;
        status = hv_mmio_range_create(lab->device, HV_BAR2, layout.page, layout.pages, layout.flags,
                                      lab->section[LAB_SECTION_MAIN], layout.page);
        if (status != HV_OK) {
            log_line("lab", "initial range at page 0x%llx: %s", (unsigned long long)layout.page,
                     hv_status_name(status));
            remove_ranges(lab);
            return status;
        }
    }
    lab->has_ranges = true;
    return HV_OK;
}

static hv_status_t lab_start(void *context)
{
    struct lab *lab = context;
    hv_status_t status = hv_bar_set_access_bytes(lab->device, HV_BAR_ROM, LAB_ROM_ACCESS_BYTES);

    if (status == HV_OK && lab->bar4_bytes != 0)
        status = hv_bar_set_access_bytes(lab->device, HV_BAR4, LAB_BAR4_ACCESS_BYTES);
    if (status == HV_OK &&
        lab->bar4_bytes != 0) /* every power of two from 1 MiB to the configured one */
        status = hv_bar_make_resizable(lab->device, HV_BAR4, (lab->bar4_bytes / MIB(1) << 1) - 1);
    if (status == HV_OK && !lab->has_ranges) /* ranges outlive a stop */
        status = make_ranges(lab);
    return status;
}

/* ---- power-on and tear-down ---- */

hv_status_t lab_fill(struct section *section, uint64_t offset, uint64_t bytes, uint64_t seed)
{
    uint64_t words[LAB_MARKED_BYTES / sizeof(uint64_t)];
    hv_status_t status = HV_OK;

    if (!section_is_committed(section, offset >> PAGE_SHIFT,
                              pages_of((offset & PAGE_MASK) + bytes)))
        return HV_E_NOT_MAPPED;
    while (status == HV_OK && bytes != 0) {
        uint64_t now = MIN(bytes, sizeof(words));

        for (uint64_t i = 0; i < now / sizeof(words[0]); i++)
            words[i] = LAB_PATTERN(seed, offset + i * sizeof(words[0]));
        status = section_write(section, offset, words, now);
        offset += now;
        bytes -= now;
    }
    return status;
}

/* A section whose pages carry the pattern at both ends: enough to tell every page from every other. */
static hv_status_t make_section(hv_handle_t *handle, const char *name, uint64_t seed)
{
    struct section *section;
    hv_status_t status =
        hv_section_create(handle, SECTION_ALL_RIGHTS, name, SECTION_BYTES,
                          HV_PAGE_EXECUTE_READWRITE, HV_SEC_COMMIT | HV_SEC_LARGE_PAGES, NULL);

    if (status == HV_OK)
        status = section_ref(*handle, HV_SECTION_MAP_WRITE, SECTION_USER_VIEW, &section);
    if (status != HV_OK)
        return status;
    for (uint64_t page = 0; status == HV_OK && page < SECTION_BYTES; page += PAGE_BYTES) {
        status = lab_fill(section, page, LAB_MARKED_BYTES, seed);
        if (status == HV_OK)
            status =
                lab_fill(section, page + PAGE_BYTES - LAB_MARKED_BYTES, LAB_MARKED_BYTES, seed);
    }
    section_unref(section, SECTION_USER_VIEW);
    return status;
}

static void close_handles(struct lab *lab)
{
    for (unsigned i = 0; i < LAB_SECTIONS; i++)
        if (lab->section[i] != 0)
            (void)hv_handle_close(lab->section[i]);
    for (unsigned i = 0; i < LAB_HANDLES; i++)
        if (lab->handle[i] != 0)
            (void)hv_handle_close(lab->handle[i]);
}

static hv_status_t lab_initialize(void *context)
{
    struct lab *lab = context;
    hv_status_t status;

    if (is_there)
        return HV_E_BUSY;
    status = make_section(&lab->section[LAB_SECTION_MAIN], "lab.main", 1);
    if (status == HV_OK)
        status = make_section(&lab->section[LAB_SECTION_ALT], "lab.alt", 2);
    if (status != HV_OK)
        close_handles(lab); /* a failed power-on is not torn down */
    is_there = status == HV_OK;
    return status;
}

static hv_status_t lab_set_configuration(void *context, uint32_t count, const char *const *strings)
{
    struct lab *lab = context;
    struct hv_section_backing backing = {.kind = HV_BACKING_PHYSICAL};
    hv_status_t status = hv_msi_offer(lab->device, LAB_MSI_VECTORS);
    const char *problem = NULL;

    if (status == HV_OK)
        status = hv_express_offer(lab->device);
    if (status != HV_OK)
        return status;
    for (uint32_t i = 0; i < count; i++)
        if (!lab_parse_option(lab, strings[i])) {
            log_line("lab", "option \"%s\" is not understood", strings[i]);
            return HV_E_INVALID_PARAMETER;
        }
    if (lab->window_bytes == 0)
        lab->window_bytes = lab->bar4_bytes;
    else if (!lab->has_window)
        problem = "option window_bytes needs window";
    if (lab->has_window && lab->window_bytes == 0)
        problem = "option window needs bar4 or window_bytes";
    if (problem) {
        log_line("lab", "%s", problem);
        return HV_E_INVALID_PARAMETER;
    }
    if (!lab->has_window)
        return HV_OK;
    backing.base = HPA(lab->window);
    backing.bytes = lab->window_bytes;
    return hv_section_create(&lab->section[LAB_SECTION_BAR4],
                             HV_SECTION_QUERY | HV_SECTION_MAP_READ | HV_SECTION_MAP_WRITE,
                             "lab.window", 0, HV_PAGE_READWRITE, HV_SEC_COMMIT, &backing);
}

static hv_status_t lab_get_details(void *context, struct hv_pnp_id *id, uint32_t bar_count,
                                   uint32_t *probed_bars)
{
    const struct lab *lab = context;

    *id = (struct hv_pnp_id){.vendor = LAB_VENDOR_ID,
                             .device = LAB_DEVICE_ID,
                             .revision = LAB_REVISION,
                             .base_class = LAB_BASE_CLASS,
                             .subsystem_vendor = LAB_VENDOR_ID,
                             .subsystem = LAB_DEVICE_ID};
    memset(probed_bars, 0, bar_count * sizeof(*probed_bars));
    hv_bar_describe(probed_bars, HV_BAR0, PAGE_BYTES, HV_BAR_64BIT);
    hv_bar_describe(probed_bars, HV_BAR2, SECTION_BYTES, HV_BAR_64BIT | HV_BAR_PREFETCHABLE);
    if (lab->bar4_bytes != 0)
        hv_bar_describe(probed_bars, HV_BAR4, lab->bar4_bytes, HV_BAR_64BIT | HV_BAR_PREFETCHABLE);
    hv_bar_describe(probed_bars, HV_BAR_ROM, LAB_ROM_BYTES, HV_BAR_MEMORY);
    return HV_OK;
}

static void lab_teardown(void *context)
{
    struct lab *lab = context;

    remove_ranges(
        lab); /* what the guest made is left to the hypervisor, which says so in its log */
    lab_unmap_all(lab);
    close_handles(lab);
    is_there = false;
}

static const struct hv_device_ops lab_ops = {
    .version = HV_DEVICE_OPS_VERSION,
    .initialize = lab_initialize,
    .set_configuration = lab_set_configuration,
    .get_details = lab_get_details,
    .start = lab_start,
    .stop = hv_device_no_action,
    .teardown = lab_teardown,
    .read_config_space = hv_device_config_zero,
    .write_config_space = hv_device_config_ignore,
    .read_intercepted_memory = lab_read,
    .write_intercepted_memory = lab_write,
};

HV_DEVICE_MODEL(lab_model, .name = "lab", .ops = &lab_ops, .context_bytes = sizeof(struct lab));
