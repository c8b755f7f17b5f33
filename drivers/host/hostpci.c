#include "drivers/host/hostpci.h"

#include "hv/base/bits.h"

/* Dwords of configuration space and their fields. */
#define PCI_ID              0x00u
#define PCI_ID_VENDOR       BITS(15, 0)
#define PCI_ID_DEVICE       BITS(31, 16)
#define PCI_COMMAND         0x04u
#define PCI_COMMAND_IO      BIT(0)
#define PCI_COMMAND_MEMORY  BIT(1)
#define PCI_COMMAND_MASTER  BIT(2)
#define PCI_COMMAND_FIELD   BITS(15, 0) /* above it STATUS, whose bits a written 1 clears */
#define PCI_CLASS           0x08u
#define PCI_CLASS_CODE      BITS(31, 8)
#define PCI_HEADER          0x0cu
#define PCI_HEADER_TYPE     BITS(22, 16)
#define PCI_HEADER_MULTI    BIT(23)
#define PCI_BARS            0x10u
#define PCI_BUSES           0x18u /* of a bridge */
#define PCI_BUSES_SECONDARY BITS(15, 8)

#define HEADER_DEVICE       0u
#define HEADER_BRIDGE       1u
#define BARS_OF_DEVICE      6u
#define BARS_OF_BRIDGE      2u

#define BAR_IO              BIT(0)
#define BAR_TYPE            BITS(2, 1)
#define BAR_TYPE_64         2u
#define BAR_PREFETCHABLE    BIT(3)
#define BAR_ADDRESS         BITS(31, 4)

#define NO_VENDOR           0xffffu
#define BUSES               256u
#define DEVICES             32u
#define FUNCTIONS           8u

static uint32_t header_type(struct hostpci_address at)
{
    return (uint32_t)FIELD_GET(PCI_HEADER_TYPE, hostpci_config_read(at, PCI_HEADER));
}

/* False: nobody is there. */
static bool read_function(struct hostpci_address at, struct hostpci_function *function)
{
    uint32_t id = hostpci_config_read(at, PCI_ID);

    if (FIELD_GET(PCI_ID_VENDOR, id) == NO_VENDOR)
        return false;
    *function = (struct hostpci_function){
        .at = at,
        .vendor = (uint16_t)FIELD_GET(PCI_ID_VENDOR, id),
        .device = (uint16_t)FIELD_GET(PCI_ID_DEVICE, id),
        .class_code = (uint32_t)FIELD_GET(PCI_CLASS_CODE, hostpci_config_read(at, PCI_CLASS)),
        .bridge = header_type(at) == HEADER_BRIDGE,
    };
    return true;
}

/* Buses that are to be scanned, a bit for each. */
struct todo {
    uint64_t word[BUSES / 64];
};

static bool is_todo(const struct todo *todo, unsigned bus)
{
    return (todo->word[bus / 64] >> bus % 64 & 1) != 0;
}

/* Only upwards, so that a bridge that leads back is not followed. */
static void add_behind(struct todo *todo, const struct hostpci_function *bridge)
{
    unsigned bus =
        (unsigned)FIELD_GET(PCI_BUSES_SECONDARY, hostpci_config_read(bridge->at, PCI_BUSES));

    if (bus > bridge->at.bus)
        todo->word[bus / 64] |= BIT(bus % 64);
}

typedef bool visitor(void *context, const struct hostpci_function *function);

static bool scan_device(struct hostpci_address at, struct todo *todo, visitor *visit, void *context)
{
    unsigned functions = 1;

    for (at.function = 0; at.function < functions; at.function++) {
        struct hostpci_function function;

        if (!read_function(at, &function))
            continue; /* without function 0 there is no other */
        if (at.function == 0 && (hostpci_config_read(at, PCI_HEADER) & PCI_HEADER_MULTI))
            functions = FUNCTIONS;
        if (function.bridge)
            add_behind(todo, &function);
        if (!visit(context, &function))
            return false;
    }
    return true;
}

void hostpci_scan(visitor *visit, void *context)
{
    struct todo todo = {{1}}; /* bus 0 */

    for (unsigned bus = 0; bus < BUSES; bus++)
        for (unsigned device = 0; is_todo(&todo, bus) && device < DEVICES; device++)
            if (!scan_device((struct hostpci_address){(uint8_t)bus, (uint8_t)device, 0}, &todo,
                             visit, context))
                return;
}

struct search {
    uint16_t vendor, device;
    struct hostpci_function *function;
    bool found;
};

static bool compare(void *context, const struct hostpci_function *function)
{
    struct search *search = context;

    search->found = function->vendor == search->vendor && function->device == search->device;
    if (search->found)
        *search->function = *function;
    return !search->found;
}

bool hostpci_find(uint16_t vendor, uint16_t device, struct hostpci_function *function)
{
    struct search search = {vendor, device, function, false};

    hostpci_scan(compare, &search);
    return search.found;
}

static uint32_t command_read(struct hostpci_address at)
{
    return (uint32_t)FIELD_GET(PCI_COMMAND_FIELD, hostpci_config_read(at, PCI_COMMAND));
}

/* What a BAR register reads after all ones were written to it, and its value is put back. */
static uint32_t probe(struct hostpci_address at, uint16_t reg)
{
    uint32_t value = hostpci_config_read(at, reg), probed;

    hostpci_config_write(at, reg, ~0u);
    probed = hostpci_config_read(at, reg);
    hostpci_config_write(at, reg, value);
    return probed;
}

static bool is_wide(uint32_t low)
{
    return !(low & BAR_IO) && FIELD_GET(BAR_TYPE, low) == BAR_TYPE_64;
}

static hv_status_t measure(struct hostpci_address at, uint16_t reg, uint32_t low,
                           struct hostpci_bar *out)
{
    uint64_t mask, base = low & BAR_ADDRESS;
    uint32_t command = command_read(at);

    hostpci_config_write(at, PCI_COMMAND,
                         command & (uint32_t) ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    mask = probe(at, reg) & BAR_ADDRESS;
    if (is_wide(low)) {
        base |= (uint64_t)hostpci_config_read(at, reg + 4) << 32;
        mask |= (uint64_t)probe(at, reg + 4) << 32;
    } else if (mask) {
        mask |= BITS(63, 32);
    }
    hostpci_config_write(at, PCI_COMMAND, command);
    if (!IS_POW2(0 - mask))
        return HV_E_NO_SUCH_BAR;
    *out = (struct hostpci_bar){.base = base,
                                .bytes = 0 - mask,
                                .wide = is_wide(low),
                                .prefetchable = (low & BAR_PREFETCHABLE) != 0};
    return HV_OK;
}

hv_status_t hostpci_bar_read(const struct hostpci_function *function, unsigned bar,
                             struct hostpci_bar *out)
{
    uint32_t type = header_type(function->at);
    unsigned bars = type == HEADER_DEVICE   ? BARS_OF_DEVICE
                    : type == HEADER_BRIDGE ? BARS_OF_BRIDGE
                                            : 0;

    if (bar >= bars)
        return HV_E_INVALID_PARAMETER_2;
    for (unsigned i = 0; i <= bar; i++) {
        uint16_t reg = (uint16_t)(PCI_BARS + i * sizeof(uint32_t));
        uint32_t low = hostpci_config_read(function->at, reg);

        if (is_wide(low) && i + 1 == bars)
            return HV_E_NO_SUCH_BAR; /* its upper half would be another register */
        if (i == bar)
            return low & BAR_IO ? HV_E_NO_SUCH_BAR : measure(function->at, reg, low, out);
        if (is_wide(low))
            i++;
    }
    return HV_E_NO_SUCH_BAR; /* an upper half */
}

void hostpci_quiet(const struct hostpci_function *function, bool decode)
{
    uint32_t command = command_read(function->at) & (uint32_t)~PCI_COMMAND_MASTER;

    if (decode)
        command |= (uint32_t)PCI_COMMAND_MEMORY;
    hostpci_config_write(function->at, PCI_COMMAND, command);
}
