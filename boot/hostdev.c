#include "boot/hostdev.h"

#include "drivers/host/acpi.h"
#include "drivers/host/apic.h"
#include "drivers/host/hostpci.h"
#include "hv/base/digits.h"
#include "hv/base/log.h"
#include "hv/base/string.h"

#define WINDOW_KEY "window="
#define BAR_PREFIX "pci:"
#define ID_DIGITS  4u
#define ULL(x)     ((unsigned long long)(x))

static bool count_function(void *context, const struct hostpci_function *function)
{
    (void)function;
    ++*(unsigned *)context;
    return true;
}

static void look_at_pci(const struct acpi_info *acpi, bool quiet)
{
    bool ecam = acpi->has_mcfg &&
                hostpci_config_use_ecam(acpi->ecam_base, acpi->ecam_first_bus, acpi->ecam_last_bus);
    unsigned count = 0;

    if (quiet)
        return;
    hostpci_scan(count_function, &count);
    log_line("host", "%u PCI functions, configuration by %s", count, ecam ? "ECAM" : "ports");
}

void hostdev_find(const struct boot_info *boot)
{
    struct acpi_info acpi;

    acpi_read(boot->acpi_rsdp, boot->config.quiet, &acpi);
    apic_report(boot->config.quiet);
    look_at_pci(&acpi, boot->config.quiet);
}

/* ---- options ---- */

/* One to ID_DIGITS hexadecimal digits and `end`. */
static bool take_id(const char **text, char end, uint16_t *id)
{
    unsigned value = 0, digits = 0, digit;

    for (; digits < ID_DIGITS && (digit = digit_of(**text)) < 16; digits++, ++*text)
        value = value << 4 | digit;
    *id = (uint16_t)value;
    return digits != 0 && *(*text)++ == end;
}

bool hostdev_parse_bar(const char *text, struct hostdev_bar *out)
{
    if (strncmp(text, BAR_PREFIX, strlen(BAR_PREFIX)) != 0)
        return false;
    text += strlen(BAR_PREFIX);
    if (!take_id(&text, ':', &out->vendor) || !take_id(&text, ':', &out->device) || *text < '0' ||
        *text > '9' || text[1] != '\0')
        return false;
    out->bar = (unsigned)(*text - '0');
    return true;
}

/* False: there is no window, and the log says why. */
static bool find_window(const struct hostdev_bar *wanted, struct hostpci_bar *bar)
{
    struct hostpci_function function = {0};
    hv_status_t status;

    if (!hostpci_find(wanted->vendor, wanted->device, &function)) {
        log_line("host", "no window: this machine has no PCI function %04x:%04x", wanted->vendor,
                 wanted->device);
        return false;
    }
    status = hostpci_bar_read(&function, wanted->bar, bar);
    if (status != HV_OK || bar->base == 0) {
        log_line("host", "no window: BAR%u of %04x:%04x: %s", wanted->bar, wanted->vendor,
                 wanted->device, status != HV_OK ? hv_status_name(status) : "it has no address");
        return false;
    }
    hostpci_quiet(&function, true);
    log_line("host", "%02x:%02x.%x %04x:%04x BAR%u at %#llx, %#llx bytes: bus mastering off",
             function.at.bus, function.at.device, function.at.function, function.vendor,
             function.device, wanted->bar, ULL(bar->base), ULL(bar->bytes));
    return true;
}

void hostdev_resolve(const struct config_device *device, struct hostdev_options *out)
{
    bool done = false;

    out->count = 0;
    for (unsigned i = 0; i < device->option_count; i++) {
        const char *option = device->option[i];
        struct hostdev_bar wanted;
        struct hostpci_bar bar;

        if (done || strncmp(option, WINDOW_KEY, strlen(WINDOW_KEY)) != 0 ||
            !hostdev_parse_bar(option + strlen(WINDOW_KEY), &wanted)) {
            out->option[out->count++] = option;
            continue;
        }
        done = true;
        if (!find_window(&wanted, &bar))
            continue;
        format(out->window, sizeof(out->window), WINDOW_KEY "%llx", ULL(bar.base));
        format(out->window_bytes, sizeof(out->window_bytes), "window_bytes=%llx", ULL(bar.bytes));
        out->option[out->count++] = out->window;
        out->option[out->count++] = out->window_bytes;
    }
}
