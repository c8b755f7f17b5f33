/* Runs that end the VM: each prints what it is about to do and must not come back. */
#include "tests/guest/guest.h"

#define AT (LAB_FREE_PAGE + 512u)

struct idt_pointer {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static void fetch(void)
{
    void (*code)(void) = (void (*)(void))(uintptr_t)(GVA_BAR2 + 2 * PAGE + 0x10);

    say("# about to fetch from 0x%lx, a page that traps\n", lab.base[2] + 2 * PAGE + 0x10);
    code();
}

/* The page is there and readable, only not executable. */
static void noexec(void)
{
    void (*code)(void) = (void (*)(void))(uintptr_t)(GVA_BAR2 + AT * PAGE);

    section_put(lab.main, AT * PAGE, 0xc3);
    expect_status("create", range_create(AT, 1, F_TYPE(4) | F_WRITE, lab.main, AT), HV_OK);
    say("# about to fetch from 0x%lx, a page that is mapped for data\n", lab.base[2] + AT * PAGE);
    code();
}

static void triple(void)
{
    struct idt_pointer none = {0, 0};

    say("# about to fault without an IDT\n");
    __asm__ volatile("lidt %0\n\tint3" ::"m"(none));
}

/* Load through a page table that lies at BAR2 page `page`. */
static void walk_at(uint64_t page)
{
    (void)entry_of(GVA_TMP, 1); /* so that the level above exists */
    *entry_of(GVA_TMP, 2) = (lab.base[2] + page * PAGE) | 3;
    write_cr3(read_cr3());
    (void)load(GVA_TMP, 4);
}

/*
 * A page table in a read-only range: the walk wants to set the accessed bit. Bochs without EPT A/D writes it
 * through the read-only leaf; there a table in a hole, which the walk cannot even read, has to do.
 */
static void walk(void)
{
    static uint8_t target[4096] __attribute__((aligned(4096)));

    section_put(lab.main, AT * PAGE, (uint64_t)(uintptr_t)target | 3);
    expect_status("create", range_create(AT, 1, F_TYPE(4), lab.main, AT), HV_OK);
    say("# about to walk a page table in a read-only range at 0x%lx\n", lab.base[2] + AT * PAGE);
    walk_at(AT);
    say("# about to walk a page table in a hole at 0x%lx\n", lab.base[2] + (AT + 1) * PAGE);
    walk_at(AT + 1);
}

/* A device that pauses the VPs from its callback and returns without a resume. */
static void pause(void)
{
    say("# about to be paused for good\n");
    (void)LAB(LAB_CMD_PAUSE, LAB_PAUSE_FOR_GOOD, 0, 0, 0);
}

static void halt(void)
{
    say("# about to halt with interrupts off\n");
    __asm__ volatile("cli; hlt");
}

static void reset(void)
{
    say("# about to reset the machine\n");
    expect(acpi_reset(), "a reset register");
}

static void poweroff(void)
{
    say("# about to switch the machine off\n");
    expect(acpi_power_off(), "a sleep control register and \\_S5");
}

bool fatal_run(const char *which)
{
    static const struct {
        const char *name;
        void (*run)(void);
        bool lab;
    } runs[] = {{"fetch", fetch, true},  {"noexec", noexec, true},     {"triple", triple, false},
                {"walk", walk, true},    {"pause", pause, true},       {"hlt", halt, false},
                {"reset", reset, false}, {"poweroff", poweroff, false}};

    for (unsigned i = 0; i < COUNT_OF(runs); i++) {
        if (!text_equal(which, runs[i].name))
            continue;
        say("TAP version 13\n1..1\n");
        if (runs[i].lab && !lab.present) {
            say("ok 1 - fatal: %s # SKIP no lab device\n", which);
            tap_done(0, 0, 1);
            guest_exit(0);
        }
        runs[i].run();
        say("not ok 1 - fatal: %s came back\n", which);
        tap_done(0, 1, 0);
        return true;
    }
    return false;
}
