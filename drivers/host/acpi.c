#include "drivers/host/acpi.h"

#include "hv/base/bits.h"
#include "hv/base/log.h"
#include "hv/base/status.h"
#include "hv/base/string.h"
#include "hv/mem/view.h"

/* Offsets and values by the specification's names. */
#define RSDP_SIGNATURE          "RSD PTR "
#define RSDP_REVISION           15u
#define RSDP_RSDT_ADDRESS       16u
#define RSDP_LENGTH             20u
#define RSDP_XSDT_ADDRESS       24u
#define RSDP_REVISION_WITH_XSDT 2u
#define RSDP_V0_BYTES           20u

#define SIGNATURE_BYTES         4u
#define HEADER_LENGTH           4u

#define MADT_LOCAL_APIC         36u
#define MADT_STRUCTURES         44u
#define MADT_PROCESSOR          0u /* "Processor Local APIC Structure" */
#define MADT_PROCESSOR_BYTES    8u
#define MADT_PROCESSOR_FLAGS    4u
#define MADT_OVERRIDE           5u /* "Local APIC Address Override Structure" */
#define MADT_OVERRIDE_BYTES     12u
#define MADT_OVERRIDE_ADDRESS   4u
#define MADT_X2APIC             9u /* "Processor Local x2APIC Structure" */
#define MADT_X2APIC_BYTES       16u
#define MADT_X2APIC_ID          4u
#define MADT_X2APIC_FLAGS       8u
#define MADT_ENABLED            BIT(0)
#define MADT_ONLINE_CAPABLE     BIT(1)
#define FIRST_X2APIC_ONLY_ID    255u

#define MCFG_ALLOCATIONS        44u
#define MCFG_ALLOCATION_BYTES   16u
#define MCFG_BASE               0u
#define MCFG_SEGMENT            8u
#define MCFG_FIRST_BUS          10u
#define MCFG_LAST_BUS           11u
#define ECAM_BUS_BYTES          MIB(1)

/* Nothing in these tables is aligned. */
static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, at, bytes);
    return value;
}

static uint16_t get16(const uint8_t *at)
{
    return (uint16_t)get(at, sizeof(uint16_t));
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)get(at, sizeof(uint32_t));
}

static uint64_t get64(const uint8_t *at)
{
    return get(at, sizeof(uint64_t));
}

bool acpi_sum_is_zero(const uint8_t *bytes, size_t count)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return sum == 0;
}

bool acpi_parse_rsdp(const uint8_t *bytes, size_t count, struct acpi_root *root)
{
    if (count < RSDP_V0_BYTES || memcmp(bytes, RSDP_SIGNATURE, strlen(RSDP_SIGNATURE)) != 0 ||
        !acpi_sum_is_zero(bytes, RSDP_V0_BYTES))
        return false;
    if (bytes[RSDP_REVISION] >= RSDP_REVISION_WITH_XSDT && count >= ACPI_RSDP_BYTES) {
        /* Revision 2 is the newest, and this is how long it is. */
        if (get32(bytes + RSDP_LENGTH) != ACPI_RSDP_BYTES ||
            !acpi_sum_is_zero(bytes, ACPI_RSDP_BYTES))
            return false;
        if (get64(bytes + RSDP_XSDT_ADDRESS) != 0) {
            *root = (struct acpi_root){get64(bytes + RSDP_XSDT_ADDRESS), sizeof(uint64_t)};
            return true;
        }
    }
    *root = (struct acpi_root){get32(bytes + RSDP_RSDT_ADDRESS), sizeof(uint32_t)};
    return root->base != 0;
}

uint32_t acpi_parse_header(const uint8_t *bytes, size_t count, char signature[5])
{
    uint32_t length;

    if (count < ACPI_HEADER_BYTES)
        return 0;
    memcpy(signature, bytes, SIGNATURE_BYTES);
    signature[SIGNATURE_BYTES] = '\0';
    for (unsigned i = 0; i < SIGNATURE_BYTES; i++)
        if (signature[i] <= ' ' || signature[i] > '~')
            signature[i] = '?';
    length = get32(bytes + HEADER_LENGTH);
    return length >= ACPI_HEADER_BYTES && length <= ACPI_MAX_TABLE_BYTES ? length : 0;
}

bool acpi_root_entry(const uint8_t *table, size_t count, unsigned entry_bytes, unsigned index,
                     uint64_t *base)
{
    if (count < ACPI_HEADER_BYTES || index >= (count - ACPI_HEADER_BYTES) / entry_bytes)
        return false;
    *base = get(table + ACPI_HEADER_BYTES + (size_t)index * entry_bytes, entry_bytes);
    return true;
}

/* A table of `signature` whose header claims exactly the bytes that are here, with the right sum. */
static bool is_table(const uint8_t *table, size_t count, const char *signature)
{
    char found[SIGNATURE_BYTES + 1];

    return acpi_parse_header(table, count, found) == count && strcmp(found, signature) == 0 &&
           acpi_sum_is_zero(table, count);
}

/* What the processor structures of a MADT add up to, x2APIC ones with a small id apart. */
struct cpu_count {
    unsigned usable, absent;
    unsigned small_usable, small_absent;
};

static void count_cpu(uint32_t flags, unsigned *usable, unsigned *absent)
{
    if (flags & MADT_ENABLED)
        ++*usable;
    else if (flags & MADT_ONLINE_CAPABLE)
        ++*absent;
}

/* One structure; false: too short for its type. */
static bool take_structure(const uint8_t *at, size_t bytes, struct cpu_count *count,
                           uint64_t *local_apic)
{
    switch (at[0]) {
    case MADT_PROCESSOR:
        if (bytes < MADT_PROCESSOR_BYTES)
            return false;
        count_cpu(get32(at + MADT_PROCESSOR_FLAGS), &count->usable, &count->absent);
        return true;
    case MADT_OVERRIDE:
        if (bytes < MADT_OVERRIDE_BYTES)
            return false;
        *local_apic = get64(at + MADT_OVERRIDE_ADDRESS);
        return true;
    case MADT_X2APIC:
        if (bytes < MADT_X2APIC_BYTES)
            return false;
        if (get32(at + MADT_X2APIC_ID) >= FIRST_X2APIC_ONLY_ID)
            count_cpu(get32(at + MADT_X2APIC_FLAGS), &count->usable, &count->absent);
        else
            count_cpu(get32(at + MADT_X2APIC_FLAGS), &count->small_usable, &count->small_absent);
        return true;
    default:
        return true;
    }
}

bool acpi_parse_madt(const uint8_t *table, size_t count, struct acpi_info *info)
{
    struct cpu_count cpus = {0};
    uint64_t local_apic;

    if (count < MADT_STRUCTURES || !is_table(table, count, "APIC"))
        return false;
    local_apic = get32(table + MADT_LOCAL_APIC);
    for (size_t at = MADT_STRUCTURES, bytes; at < count; at += bytes) {
        /* Type and length; a length below 2 would never end, one past the end is somebody else's memory. */
        bytes = count - at >= 2 ? table[at + 1] : 0;
        if (bytes < 2 || bytes > count - at ||
            !take_structure(table + at, bytes, &cpus, &local_apic))
            return false;
    }
    /* CPUs with small ids appear as the old kind of structure; where there is none, as the new kind. */
    if (cpus.usable == 0) {
        cpus.usable = cpus.small_usable;
        cpus.absent += cpus.small_absent;
    }
    info->has_madt = true;
    info->local_apic = local_apic;
    info->cpus = cpus.usable;
    info->cpus_absent = cpus.absent;
    return true;
}

bool acpi_parse_mcfg(const uint8_t *table, size_t count, struct acpi_info *info)
{
    if (count < MCFG_ALLOCATIONS || !is_table(table, count, "MCFG"))
        return false;
    for (size_t at = MCFG_ALLOCATIONS; count - at >= MCFG_ALLOCATION_BYTES;
         at += MCFG_ALLOCATION_BYTES) {
        const uint8_t *one = table + at;
        uint64_t base = get64(one + MCFG_BASE);

        if (get16(one + MCFG_SEGMENT) != 0)
            continue;
        if (base == 0 || !IS_ALIGNED(base, ECAM_BUS_BYTES) ||
            one[MCFG_FIRST_BUS] > one[MCFG_LAST_BUS] ||
            base > UINT64_MAX - ((uint64_t)one[MCFG_LAST_BUS] + 1) * ECAM_BUS_BYTES)
            return false;
        info->has_mcfg = true;
        info->ecam_base = base;
        info->ecam_first_bus = one[MCFG_FIRST_BUS];
        info->ecam_last_bus = one[MCFG_LAST_BUS];
        return true;
    }
    return false;
}

/* ---- the machine's tables ---- */

#define ULL(x) ((unsigned long long)(x))

/* NULL: cannot be mapped. Physical addresses come out of tables: the mapping decides what is allowed. */
static const uint8_t *map(uint64_t base, uint64_t bytes)
{
    void *va;
    hv_status_t status = hv_io_space_map(HPA(base), bytes, HV_PAGE_READONLY, &va);

    if (status == HV_OK)
        return va;
    log_line("acpi", "table at %#llx, %llu bytes: %s", ULL(base), ULL(bytes),
             hv_status_name(status));
    return NULL;
}

static void unmap(const uint8_t *va, uint64_t bytes)
{
    hv_status_t status = hv_io_space_unmap((void *)(uintptr_t)va, bytes);

    (void)status; /* it is one of ours */
}

/* A whole table, mapped; its header is looked at first, for the length. NULL: not usable. */
static const uint8_t *map_table(uint64_t base, char signature[5], uint32_t *length)
{
    const uint8_t *table = map(base, ACPI_HEADER_BYTES);

    if (!table)
        return NULL;
    *length = acpi_parse_header(table, ACPI_HEADER_BYTES, signature);
    unmap(table, ACPI_HEADER_BYTES);
    if (*length == 0) {
        log_line("acpi", "table at %#llx: its length makes no sense", ULL(base));
        return NULL;
    }
    table = map(base, *length);
    if (table && !acpi_sum_is_zero(table, *length)) {
        log_line("acpi", "table %s at %#llx: wrong checksum", signature, ULL(base));
        unmap(table, *length);
        return NULL;
    }
    return table;
}

/* One table that the root names. A line of the log collects the names. */
static void read_table(uint64_t base, struct acpi_info *info, char *names, size_t names_bytes)
{
    char signature[SIGNATURE_BYTES + 1];
    size_t used = strlen(names);
    uint32_t length;
    const uint8_t *table = map_table(base, signature, &length);
    bool good = true;

    if (!table)
        return;
    format(names + used, names_bytes - used, " %s", signature);
    if (strcmp(signature, "APIC") == 0 && !info->has_madt)
        good = acpi_parse_madt(table, length, info);
    else if (strcmp(signature, "MCFG") == 0 && !info->has_mcfg)
        good = acpi_parse_mcfg(table, length, info);
    if (!good)
        log_line("acpi", "table %s at %#llx: its contents make no sense", signature, ULL(base));
    unmap(table, length);
}

static void read_root(const struct acpi_root *root, bool quiet, struct acpi_info *info)
{
    char signature[SIGNATURE_BYTES + 1], names[LOG_LINE_BYTES] = "";
    const char *wanted = root->entry_bytes == sizeof(uint64_t) ? "XSDT" : "RSDT";
    uint32_t length;
    const uint8_t *table = map_table(root->base, signature, &length);
    uint64_t base;

    if (!table)
        return;
    info->found = strcmp(signature, wanted) == 0;
    if (!info->found)
        log_line("acpi", "table at %#llx is no %s", ULL(root->base), wanted);
    for (unsigned i = 0; info->found && i < ACPI_MAX_TABLES &&
                         acpi_root_entry(table, length, root->entry_bytes, i, &base);
         i++)
        if (base != 0)
            read_table(base, info, names, sizeof(names));
    unmap(table, length);
    if (info->found && !quiet)
        log_line("acpi", "%s at %#llx:%s", wanted, ULL(root->base), names);
}

void acpi_read(uint64_t rsdp, bool quiet, struct acpi_info *info)
{
    struct acpi_root root;
    size_t count = RSDP_V0_BYTES;
    const uint8_t *bytes;
    bool good;

    *info = (struct acpi_info){0};
    if (rsdp == 0)
        return;
    bytes = map(rsdp, RSDP_V0_BYTES); /* what the old kind does not have may be anybody's */
    if (!bytes)
        return;
    if (bytes[RSDP_REVISION] >= RSDP_REVISION_WITH_XSDT)
        count = ACPI_RSDP_BYTES;
    unmap(bytes, RSDP_V0_BYTES);
    bytes = map(rsdp, count);
    if (!bytes)
        return;
    good = acpi_parse_rsdp(bytes, count, &root);
    unmap(bytes, count);
    if (!good) {
        log_line("acpi", "no root table at %#llx", ULL(rsdp));
        return;
    }
    read_root(&root, quiet, info);
    if (quiet)
        return;
    if (info->has_madt)
        log_line("acpi", "%u CPU%s, %u may be added; local APICs at %#llx", info->cpus,
                 info->cpus == 1 ? "" : "s", info->cpus_absent, ULL(info->local_apic));
    if (info->has_mcfg)
        log_line("acpi", "PCI configuration space of buses %u to %u at %#llx", info->ecam_first_bus,
                 info->ecam_last_bus, ULL(info->ecam_base));
}
