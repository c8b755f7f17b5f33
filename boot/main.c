/*
 * The composition root: wires drivers to the core, builds the VM, runs it, tells how it ended.
 */
#include "boot/boot.h"
#include "boot/console.h"
#include "boot/hostdev.h"
#include "boot/memory.h"
#include "drivers/host/uart.h"
#include "hv/base/assert.h"
#include "hv/base/direct.h"
#include "hv/console/report.h"
#include "hv/mem/frames.h"
#include "hv/mem/section.h"
#include "hv/pci/bus.h"
#include "hv/pci/config.h"
#include "hv/pci/inspect.h"
#include "hv/vm/acpi.h"
#include "hv/vm/alarm.h"
#include "hv/vm/backend.h"
#include "hv/vm/create.h"
#include "hv/vm/host_irq.h"
#include "hv/vm/loader.h"
#include "hv/vm/platform.h"
#include "hv/svm/svm.h"
#include "hv/vmx/vmx.h"
#include "hv/x86/cpu.h"

#define VERSION "0.1"

/* Ports on which emulators listen; written only after one of them answered at EMULATOR_PROBE_PORT. */
#define EMULATOR_PROBE_PORT \
    0xe9u /* reads back its own number in Bochs, and in QEMU with a debug console there */
#define BOCHS_SHUTDOWN_PORT  0x8900u
#define QEMU_DEBUG_EXIT_PORT 0x501u

#define MODELS_TEXT_BYTES    256u

extern const uint8_t build_id_start[] __attribute__((visibility("hidden")));
extern const uint8_t build_id_end[] __attribute__((visibility("hidden")));

uint8_t boot_stacks[STACK_COUNT * STACK_GAP_BYTES] ALIGNED(4096);

static struct cpu boot_cpu = {.stacks = boot_stacks};
static struct vm vm;
static struct vp vp;
static struct hv_device_host *host;

/* The backends, in the order in which they are tried. */
static const struct backend *const backends[] = {&vmx_backend, &svm_backend};
const struct backend *hv_backend;

const void *cpu_current(void)
{
    return &boot_cpu;
}

uint64_t bench_clock(void)
{
    return rdtsc();
}

/* Fast strings are in memcpy; entries are stored whole. A live one is exchanged: hardware may set A/D bits. */
uint64_t pt_store(uint64_t *entry, uint64_t value, bool live)
{
    uint64_t old = 0;

    if (live)
        old = __atomic_exchange_n(entry, value, __ATOMIC_SEQ_CST);
    else
        __atomic_store_n(entry, value, __ATOMIC_RELEASE);
    return old;
}

void machine_stop(bool failed)
{
    static const char shutdown[] = "Shutdown";

    uart_drain();
    if (in8(EMULATOR_PROBE_PORT) == EMULATOR_PROBE_PORT) {
        out32(QEMU_DEBUG_EXIT_PORT, failed ? 1 : 0);
        for (const char *c = shutdown; *c; c++)
            out8(BOCHS_SHUTDOWN_PORT, (uint8_t)*c);
    }
    halt_forever();
}

/* A sentence that says what to do, then the end. */
NORETURN static void give_up(const char *room, const char *sentence)
{
    log_panic_on();
    log_line(room, "%s", sentence);
    machine_stop(true);
}

static void need(hv_status_t status, const char *room, const char *sentence)
{
    if (status == HV_OK)
        return;
    log_line(room, "%s", hv_status_name(status));
    give_up(room, sentence);
}

void boot_banner(const struct boot_info *boot)
{
    const unsigned note_header = 16; /* of the build-id note: sizes, type, "GNU" */
    const unsigned id_bytes = 20;
    char id[2 * 20 + 1];

    for (unsigned i = 0; i < id_bytes; i++)
        format(id + 2 * i, 3, "%02x", build_id_start[note_header + i]);
    log_line("boot", "Barvisor %s, build %s", VERSION, id);
    log_line("boot", "image at %#llx, %llu bytes", (unsigned long long)boot->image_base,
             (unsigned long long)boot->image_bytes);
}

static void choose_backend(void)
{
    const char *missing;

    for (unsigned i = 0; i < ARRAY_COUNT(backends) && !hv_backend; i++)
        if (backends[i]->present())
            hv_backend = backends[i];
    if (!hv_backend)
        give_up("boot", "this CPU has no VMX (CPUID.1:ECX bit 5) and no SVM (CPUID.80000001h:ECX "
                        "bit 2): use an "
                        "Intel CPU with VT-x or an AMD CPU with AMD-V, or an emulator of one");
    missing = hv_backend->probe();
    if (missing)
        give_up(hv_backend->room, missing);
    hv_backend->print_caps();
    need(hv_backend->cpu_enable(), "boot", "no memory for the CPU's virtualisation state");
}

/* The end of a boot whose configuration names a device that is none. */
NORETURN static void give_up_device(const char *name)
{
    const struct hv_device_model *model = NULL;
    char sentence[MODELS_TEXT_BYTES];
    size_t used;

    log_line("boot", "\\barvisor.cfg: device %s does not exist", name);
    used = (size_t)format(sentence, sizeof(sentence), "the devices are:");
    while ((model = model_next(model)) != NULL && used < sizeof(sentence))
        used += (size_t)format(sentence + used, sizeof(sentence) - used, " %s", model->name);
    give_up("boot", sentence);
}

static void create_device(const struct config_device *config)
{
    struct hostdev_options options;
    struct hv_device *device;
    hv_status_t status;

    hostdev_resolve(config, &options);
    if (!model_find(config->name))
        give_up_device(config->name);
    status = hv_device_add(host, config->name, options.count, options.option, &device);
    if (status != HV_OK)
        log_line("boot", "\\barvisor.cfg: device %s", config->name);
    need(
        status, "boot",
        "this device cannot be made: check its options in \\barvisor.cfg and the machine's memory");
}

static void create_devices(const struct config *config)
{
    need(hv_device_host_create(&vm, HV_HOST_ENFORCE_BUS_MASTER, &host), "pci",
         "the virtual PCI bus cannot be made");
    for (unsigned i = 0; i < config->device_count; i++)
        create_device(&config->device[i]);
    need(hv_device_host_start(host), "pci", "a device refused to start");
}

/* Guest-physical memory for BARs, as hv/pci puts them there; the ports too. */
static void build_acpi_tables(void)
{
    struct acpi_platform platform = {.cpus = 1, .ecam_base = PCI_ECAM_BASE};
    void *tables = vm_ram_pointer(&vm, GPA(ACPI_TABLES_GPA), ACPI_TABLES_BYTES);

    for (unsigned space = PCI_SPACE_IO; space <= PCI_SPACE_MEM64; space++) {
        struct pci_window window = pci_window(&vm, (enum pci_space)space);

        platform.window[space] = (struct acpi_window){window.start, window.end};
    }
    if (!tables || !acpi_tables_build(tables, ACPI_TABLES_BYTES, ACPI_TABLES_GPA, &platform))
        give_up("vm", "there is no room for ACPI tables below 1 MiB: give the guest more RAM");
}

/* The guest's RAM but for the tables. */
static unsigned list_ram(struct loader_ram *to)
{
    const uint64_t tables = ACPI_TABLES_GPA, behind = ACPI_TABLES_GPA + ACPI_TABLES_BYTES;
    unsigned count = 0;

    for (const struct vm_ram *ram = vm.ram; ram < vm.ram + vm.ram_count; ram++) {
        uint64_t start = ram->gpa.v, end = start + ram->bytes, above = MAX(start, behind);

        if (start < tables)
            to[count++] = (struct loader_ram){start, MIN(end, tables) - start, ram->host};
        if (end > behind)
            to[count++] = (struct loader_ram){above, end - above, ram->host + (above - start)};
    }
    return count;
}

static void load_guest(const struct boot_info *boot)
{
    struct loader_ram ram[VM_MAX_RAM + 1];
    struct loader_entry entry;
    struct loader_image image = {
        .elf = direct(HPA((uint64_t)(uintptr_t)boot->guest.bytes)),
        .elf_bytes = boot->guest.size_bytes,
        .cmdline = boot->config.cmdline,
        .module = boot->module.bytes ? direct(HPA((uint64_t)(uintptr_t)boot->module.bytes)) : NULL,
        .module_bytes = boot->module.size_bytes,
        .ram = ram,
        .ram_count = list_ram(ram),
        .rsdp = ACPI_TABLES_GPA,
        .tables = ACPI_TABLES_GPA,
        .tables_bytes = ACPI_TABLES_BYTES};
    const char *refused;

    build_acpi_tables();
    refused = loader_load_pvh(&image, &entry);
    if (refused) {
        log_line("boot", "%s is refused: %s", boot->config.guest, refused);
        give_up("boot", "put an ELF kernel with a PVH entry note on the boot volume");
    }
    log_line("vm", "guest %s, %llu bytes, entry %#x, start info %#x, command line \"%s\"",
             boot->config.guest, (unsigned long long)boot->guest.size_bytes, entry.entry,
             entry.start_info, boot->config.cmdline);
    need(hv_backend->vp_create(&vp, entry.entry, entry.start_info), "vm",
         "no memory for a virtual CPU");
}

/* Memory besides guest RAM and sections: used frames, the image, what the firmware phase kept. */
static uint64_t hypervisor_bytes(const struct boot_info *boot)
{
    uint64_t pages = hv_frames.total_pages - hv_frames.free_pages - section_ram_pages();

    for (unsigned i = 0; i < vm.ram_count; i++)
        pages -= vm.ram[i].bytes >> PAGE_SHIFT;
    for (unsigned i = 0; i < boot->run_count; i++)
        if (boot->run[i].use == MEMMAP_KEPT)
            pages += boot->run[i].pages;
    return pages * PAGE_BYTES;
}

static void finish(const struct boot_info *boot, uint64_t entry_ticks, uint64_t hv_bytes)
{
    platform_flush(&vm);
    report_stop(&vm);
    if (vm.stop_exit.reason == HV_EXIT_MEMORY)
        pci_print_owner(host, vm.stop_exit.memory.gpa);
    if (!boot->config.quiet) {
        pci_print_bars(host); /* as the guest left them: live ones with their leaves */
        report_stats(&vm);
        pci_print_stats(host);
    }
    log_line("bench", "hypervisor_bytes %llu", (unsigned long long)hv_bytes);
    log_line("bench", "boot_instructions %llu",
             (unsigned long long)(entry_ticks - boot->start_ticks));
    hv_device_host_destroy(host);
    log_line("vm", "stopped: %s (code %u)", vm_stop_text(vm.stop), vm.exit_code);
    /* Nothing starts the guest again after a reset, so that is no end that anybody wanted. */
    machine_stop(vm.stop != VM_STOP_POWER_OFF &&
                 (vm.stop != VM_STOP_GUEST_EXIT || vm.exit_code != 0));
}

void hv_main(struct boot_info *boot)
{
    uint64_t entry_ticks, hv_bytes;

    cpu_tables_load(&boot_cpu);
    console_configure(&boot->config);
    need(memory_take(boot), "mem", "not enough memory for the hypervisor: give the machine more");
    host_interrupts_quiesce(); /* before memory in which other CPUs may still wait becomes ours */
    need(memory_take_rest(boot), "mem", "the memory map has too many pieces");
    console_start_screen(boot);
    if (!boot->config.quiet)
        memory_print(boot);
    log_line("boot", "%u CPU%s, one is used; ACPI %s; screen %ux%u", boot->cpu_count,
             boot->cpu_count == 1 ? "" : "s", boot->acpi_rsdp ? "present" : "absent",
             boot->screen.width, boot->screen.height);
    if (!alarm_init())
        log_line("vm", "no local APIC that is on: a guest that sleeps is waited for without rest");
    choose_backend();
    section_set_physical_limit(1ull << hv_caps.physical_bits);
    hostdev_find(boot);
    if (boot->module.bytes)
        section_add_module(0, HPA((uint64_t)(uintptr_t)boot->module.bytes),
                           boot->module.size_bytes);
    need(vm_create(&vm, &vp, hv_backend->tables, boot->config.ram_bytes, boot->config.split_bytes),
         "vm",
         "not enough memory for the guest's RAM: lower `ram` in \\barvisor.cfg or give the machine "
         "more");
    load_guest(boot); /* before devices: a section over the module takes it out of the direct map */
    create_devices(&boot->config);
    if (!boot->config.quiet) {
        report_layout(&vm);
        pci_print_bars(host);
    }
    hv_bytes = hypervisor_bytes(boot);
    log_line("vm", "starting VM %u", vm.id);
    entry_ticks = rdtsc();
    hv_backend->vp_run(&vp);
    finish(boot, entry_ticks, hv_bytes);
    halt_forever();
}
