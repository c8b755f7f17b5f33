/* What the console shows of the bus: lines of at most 100 columns. */
#include "hv/pci/bus.h"
#include "hv/pci/capability.h"
#include "hv/pci/range.h"

#define NAME_COLUMNS 16
#define TEXT_BYTES   48

static const char *bar_name(enum hv_bar index)
{
    static const char *const names[HV_BAR_COUNT] = {"BAR0", "BAR1", "BAR2", "BAR3",
                                                    "BAR4", "BAR5", "ROM "};

    return names[index];
}

/* "4K x2 2M x1", or "-" for a range without leaves. */
static void leaves_text(const struct hv_bar_state *bar, const struct hv_range *range, char *out,
                        size_t bytes)
{
    static const char *const sizes[PT_LEVELS] = {"", "4K", "2M", "1G"};
    uint64_t leaves[PT_LEVELS];
    size_t used = 0;

    range_leaves(bar, range, leaves);
    format(out, bytes, "-");
    for (unsigned level = 1; level < PT_LEVELS; level++) {
        int length;

        if (leaves[level] == 0 || used >= bytes)
            continue;
        length = format(out + used, bytes - used, "%s%s x%llu", used ? " " : "", sizes[level],
                        (unsigned long long)leaves[level]);
        used += length > 0 ? (size_t)length : 0;
    }
}

static void section_text(const struct section *section, char *out, size_t bytes)
{
    if (*section_name(section))
        format(out, bytes, "%.*s", NAME_COLUMNS, section_name(section));
    else
        format(out, bytes, "#%u", section_id(section));
}

static void print_range(const struct hv_bar_state *bar, const struct hv_range *range)
{
    char leaves[TEXT_BYTES];
    char section[TEXT_BYTES];

    leaves_text(bar, range, leaves, sizeof(leaves));
    section_text(range->map.section, section, sizeof(section));
    log_line("pci", "00:%02x.%u %s pages 0x%04llx-0x%04llx -> %s+0x%llx R%c%c %-2s %s %s%s",
             bar->device->slot, bar->device->function, bar_name(bar->index),
             (unsigned long long)range->node.key,
             (unsigned long long)(range->node.key + range->map.pages - 1), section,
             (unsigned long long)range->map.section_page,
             range->flags & HV_MMIO_WRITEABLE ? 'W' : '-',
             range->flags & HV_MMIO_EXECUTABLE ? 'X' : '-', memtype_name(range->attr.memtype),
             range->flags & HV_MMIO_IGNORE_GUEST_PAT ? "ipat" : "pat ", leaves,
             bar->live ? " live" : "");
}

static void print_hole(const struct hv_bar_state *bar, uint64_t first, uint64_t end)
{
    if (first < end)
        log_line("pci", "00:%02x.%u %s pages 0x%04llx-0x%04llx trapped", bar->device->slot,
                 bar->device->function, bar_name(bar->index), (unsigned long long)first,
                 (unsigned long long)(end - 1));
}

static void print_bar(const struct hv_bar_state *bar, gpa_t unused)
{
    uint64_t next = 0;

    (void)unused;
    log_line("pci", "00:%02x.%u %s at 0x%llx, 0x%llx bytes, %s", bar->device->slot,
             bar->device->function, bar_name(bar->index), (unsigned long long)bar->base,
             (unsigned long long)bar->bytes,
             bar->live     ? "live"
             : bar->wanted ? "decoded, but its address cannot be used now"
                           : "not decoded");
    for (struct tree_node *node = tree_first(&bar->ranges); node; node = tree_next(node)) {
        const struct hv_range *range = CONTAINER_OF(node, struct hv_range, node);

        print_hole(bar, next, node->key);
        print_range(bar, range);
        next = node->key + range->map.pages;
    }
    print_hole(bar, next, bar->bytes >> PAGE_SHIFT);
    if (bar->doorbells != 0)
        log_line("pci", "00:%02x.%u %s has %u doorbells", bar->device->slot, bar->device->function,
                 bar_name(bar->index), (unsigned)bar->doorbells);
}

static void print_bar_stats(const struct hv_bar_state *bar, gpa_t unused)
{
    (void)unused;
    log_line(
        "pci",
        "00:%02x.%u %s %llu direct pages, %llu trapped reads, %llu writes, %llu failed, %llu rung",
        bar->device->slot, bar->device->function, bar_name(bar->index),
        (unsigned long long)range_direct_pages(bar), (unsigned long long)bar->trapped_reads,
        (unsigned long long)bar->trapped_writes, (unsigned long long)bar->callback_failures,
        (unsigned long long)bar->rings);
}

/* The BAR and range, or hole, that answer for a guest-physical address. */
static void print_owner(const struct hv_bar_state *bar, gpa_t gpa)
{
    uint64_t offset = gpa.v - bar->live_base;
    const struct hv_range *range;

    if (!bar->live || offset >= bar->bytes)
        return;
    log_line("pci", "%#llx is 00:%02x.%u %s + %#llx:", (unsigned long long)gpa.v, bar->device->slot,
             bar->device->function, bar_name(bar->index), (unsigned long long)offset);
    range = range_find(bar, offset >> PAGE_SHIFT);
    if (range)
        print_range(bar, range);
    else
        print_hole(bar, offset >> PAGE_SHIFT, (offset >> PAGE_SHIFT) + 1);
}

/* Every BAR of every device, each with its device's lock held. */
static void for_each_bar(struct hv_device_host *host,
                         void (*print)(const struct hv_bar_state *bar, gpa_t gpa), gpa_t gpa)
{
    lock_acquire(&host->lock);
    for (unsigned place = 0; place < host->end; place++) {
        struct hv_device *device = host->at[place];

        if (!device)
            continue;
        lock_acquire(&device->lock);
        for (unsigned i = 0; i < HV_BAR_COUNT; i++)
            if (device->bar[i].bytes != 0)
                print(&device->bar[i], gpa);
        lock_release(&device->lock);
    }
    lock_release(&host->lock);
}

void pci_print_bars(struct hv_device_host *host)
{
    for_each_bar(host, print_bar, GPA(0));
}

/* Of a device that offers any. The counters are read as they are just now. */
static void print_interrupts(const struct hv_device *device)
{
    const struct capabilities *caps = device->capabilities;

    if (caps && caps->at[CAPABILITY_MSI] + caps->at[CAPABILITY_MSIX] != 0)
        log_line("pci", "00:%02x.%u %llu interrupts sent, %llu dropped", device->slot,
                 device->function, (unsigned long long)caps->sent,
                 (unsigned long long)caps->dropped);
}

void pci_print_stats(struct hv_device_host *host)
{
    for_each_bar(host, print_bar_stats, GPA(0));
    lock_acquire(&host->lock);
    for (unsigned place = 0; place < host->end; place++)
        if (host->at[place])
            print_interrupts(host->at[place]);
    lock_release(&host->lock);
}

void pci_print_owner(struct hv_device_host *host, gpa_t gpa)
{
    for_each_bar(host, print_owner, gpa);
}
