/*
 * Where the firmware starts us. Read top to bottom: the order of the text is the order of events.
 */
#include <efi.h>

#include "boot/boot.h"
#include "boot/uefi.h"
#include "drivers/host/uart.h"
#include "hv/base/string.h"
#include "hv/x86/cpu.h"
#include "hv/x86/desc.h"
#include "hv/x86/regs.h"

#define CONFIG_PATH "\\barvisor.cfg"

static struct boot_info boot;

/* gnu-efi's start-up code calls it with the System V convention. */
EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system);

/* The parsed configuration points into its text, which therefore lies in the image. */
static void read_config(void)
{
    static char text[BOOT_CONFIG_BYTES];
    struct boot_file file = uefi_read_file(CONFIG_PATH);
    struct config_error error;

    if (file.size_bytes >= sizeof(text))
        uefi_stop("%s: longer than %u bytes: shorten it", CONFIG_PATH, BOOT_CONFIG_BYTES - 1);
    memcpy(text, file.bytes, file.size_bytes);
    if (!config_parse(text, file.size_bytes, &boot.config, &error))
        uefi_stop("%s:%u: expected %s", CONFIG_PATH, error.line, error.expected);
}

/* Leave the firmware's stack and tables for ever. */
NORETURN static void leave_firmware(uint64_t cr3)
{
    uint8_t *stack = boot_stacks + ((uint64_t)STACK_MAIN + 1) * STACK_GAP_BYTES;

    __asm__ volatile("cli\n\t"
                     "mov %0, %%cr3\n\t"
                     "mov %1, %%rsp\n\t"
                     "call *%2\n\t"
                     "ud2"
                     :
                     : "a"(cr3), "d"(stack), "S"(hv_main), "D"(&boot)
                     : "memory");
    __builtin_unreachable();
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system)
{
    uint64_t ram_end;
    void *tables;

    boot.start_ticks = rdtsc();
    uart_init();
    uefi_init(image, system);
    if (read_cr4() & CR4_LA57) /* its root is not one that the boot tables can copy */
        uefi_stop("the firmware uses 5-level paging: switch it off in the firmware's setup");
    uefi_image(&boot.image_base, &boot.image_bytes);
    boot_banner(&boot);
    read_config();
    boot.guest = uefi_read_file(boot.config.guest);
    if (boot.config.module)
        boot.module = uefi_read_file(boot.config.module);
    boot.acpi_rsdp = uefi_acpi_rsdp();
    boot.screen = uefi_screen();
    boot.cpu_count = uefi_cpu_count();
    ram_end = uefi_ram_end();
    tables = uefi_pages(bootmap_pages(ram_end));
    uefi_exit_boot_services(&boot);
    leave_firmware(bootmap_build(tables, ram_end));
}
