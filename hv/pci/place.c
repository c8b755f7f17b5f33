/* Where the hypervisor puts BARs: the first free place of a window, as firmware would. */
#include "hv/pci/bus.h"
#include "hv/pci/config.h"

/* RAM above the hole may reach past the start of the window. */
#define MEM64_ALIGN GIB(1ull)

static bool is_64bit(const struct hv_bar_state *bar)
{
    return bar->index != HV_BAR_ROM && !bar->io &&
           FIELD_GET(PCI_BAR_TYPE, bar->kind) == PCI_BAR_TYPE_64;
}

/* Of the addresses that both the CPU and the tables have. */
static uint64_t memory_end(void)
{
    return BIT(MIN((unsigned)hv_caps.physical_bits, PT_INPUT_BITS));
}

uint64_t bar_limit(const struct hv_bar_state *bar)
{
    return bar->io ? PCI_IO_END : memory_end();
}

struct pci_window pci_window(const struct vm *vm, enum pci_space space)
{
    struct pci_window window = {PCI_MEM64_START, memory_end()};

    if (space == PCI_SPACE_IO)
        return (struct pci_window){PCI_IO_START, PCI_IO_END};
    if (space == PCI_SPACE_MEM32)
        return (struct pci_window){PCI_MEM32_START, PCI_MEM32_END};
    for (unsigned i = 0; i < vm->ram_count; i++)
        window.start =
            MAX(window.start, ALIGN_UP(vm->ram[i].gpa.v + vm->ram[i].bytes, MEM64_ALIGN));
    return window;
}

/* A BAR other than `bar` that has part of [base, base + bytes), whether it is decoded or not. NULL: it is free. */
static const struct hv_bar_state *find_other(const struct hv_device_host *host,
                                             const struct hv_bar_state *bar, uint64_t base)
{
    for (unsigned place = 0; place < host->end; place++) {
        const struct hv_device *device = host->at[place];

        for (unsigned i = 0; device && i < HV_BAR_COUNT; i++) {
            const struct hv_bar_state *other = &device->bar[i];

            if (other != bar && other->bytes != 0 && other->base != 0 && other->io == bar->io &&
                other->base < base + bar->bytes && base < other->base + other->bytes)
                return other;
        }
    }
    return NULL;
}

/* 0: there is no place. */
static uint64_t find_place(const struct hv_device_host *host, const struct hv_bar_state *bar)
{
    const struct pci_window window = pci_window(host->vm, bar->io         ? PCI_SPACE_IO
                                                          : is_64bit(bar) ? PCI_SPACE_MEM64
                                                                          : PCI_SPACE_MEM32);
    uint64_t base = ALIGN_UP(window.start, bar->bytes);
    const struct hv_bar_state *other;

    while (base >= window.start && base < window.end && bar->bytes <= window.end - base) {
        other = find_other(host, bar, base);
        if (!other)
            return base;
        base = ALIGN_UP(other->base + other->bytes, bar->bytes);
    }
    return 0;
}

void bars_assign(struct hv_device_host *host, struct hv_device *device)
{
    for (unsigned i = 0; i < HV_BAR_COUNT; i++) {
        struct hv_bar_state *bar = &device->bar[i];

        if (bar->bytes == 0)
            continue;
        bar->base = find_place(host, bar);
        if (bar->base == 0)
            log_line("pci", "00:%02x.%u BAR%u: no place for 0x%llx bytes", device->slot,
                     device->function, i, (unsigned long long)bar->bytes);
    }
}
