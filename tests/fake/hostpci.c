#include "tests/fake/hostpci.h"

#include <string.h>

#include "tests/fake/host.h"

#define FUNCTIONS      64u
#define COMMAND_DECODE 0x3u
#define COMMAND        1u /* dword numbers */
#define FIRST_BAR      4u
#define LAST_BAR       9u
#define STATUS_BITS    0xf9000000u

static struct fake_function functions[FUNCTIONS];
static unsigned count;
unsigned fake_pci_reads, fake_pci_harm;

void fake_pci_reset(void)
{
    memset(functions, 0, sizeof(functions));
    count = fake_pci_reads = fake_pci_harm = 0;
}

struct fake_function *fake_pci_add(unsigned bus, unsigned device, unsigned function, uint32_t id,
                                   uint8_t header_type)
{
    struct fake_function *one = &functions[count++];

    assert_true(count <= FUNCTIONS);
    one->at = (struct hostpci_address){(uint8_t)bus, (uint8_t)device, (uint8_t)function};
    one->dword[0] = id;
    one->dword[COMMAND] = STATUS_BITS;
    one->dword[3] = (uint32_t)header_type << 16;
    return one;
}

void fake_pci_bar(struct fake_function *function, unsigned bar, uint32_t low_bits, uint64_t base,
                  uint64_t bytes)
{
    uint64_t mask = ~(bytes - 1);
    bool wide = (low_bits & 7) == 4;

    function->dword[FIRST_BAR + bar] = (uint32_t)base | low_bits;
    function->writable[FIRST_BAR + bar] = (uint32_t)mask & (low_bits & 1 ? ~3u : ~15u);
    if (wide && FIRST_BAR + bar < LAST_BAR) {
        function->dword[FIRST_BAR + bar + 1] = (uint32_t)(base >> 32);
        function->writable[FIRST_BAR + bar + 1] = (uint32_t)(mask >> 32);
    }
}

static struct fake_function *find(struct hostpci_address at)
{
    for (unsigned i = 0; i < count; i++)
        if (memcmp(&functions[i].at, &at, sizeof(at)) == 0)
            return &functions[i];
    return NULL;
}

uint32_t hostpci_config_read(struct hostpci_address at, uint16_t reg)
{
    struct fake_function *function = find(at);

    assert_true(reg % 4 == 0 && reg < HOSTPCI_CONFIG_BYTES);
    fake_pci_reads++;
    return function ? function->dword[reg / 4] : ~0u;
}

void hostpci_config_write(struct hostpci_address at, uint16_t reg, uint32_t value)
{
    struct fake_function *function = find(at);
    unsigned n = reg / 4u;

    assert_true(reg % 4 == 0 && reg < HOSTPCI_CONFIG_BYTES);
    if (!function)
        return;
    if (n == COMMAND) {
        fake_pci_harm += (value & STATUS_BITS) != 0;
        function->dword[n] = (function->dword[n] & ~value & 0xffff0000u) | (value & 0xffffu);
        return;
    }
    if (n >= FIRST_BAR && n <= LAST_BAR && value == ~0u)
        fake_pci_harm += (function->dword[COMMAND] & COMMAND_DECODE) != 0;
    function->dword[n] =
        (function->dword[n] & ~function->writable[n]) | (value & function->writable[n]);
}

bool hostpci_config_use_ecam(uint64_t base, uint8_t first_bus, uint8_t last_bus)
{
    (void)base;
    (void)first_bus;
    (void)last_bus;
    return false;
}
