/*
 * The guest test kernel: reads its command line, finds the lab device, runs what was chosen.
 *
 *   test=all | <group>[+<group>...] | <glob over "group: text">    checks (default all)
 *   test=big | card                                   checks that need more memory, or a network card
 *   test=demo [hold]                                   a picture on bochs-display; hold: stays at the end
 *   test=big | card | first                                   checks that need more memory, a network card, or the tutorial's device
 *   test=fetch | noexec | triple | walk | hlt | reset | poweroff   runs that end the VM
 *   test=oracle [hold]                                brackets loads with magic breaks; hold: stays at the end
 *   bench                                             measurements
 *   dump                                              prints the ACPI tables first
 *   quirk=canonical                                   WRMSR does not check addresses here: do not expect it
 *   quirk=shadow                                      an exit ends the shadow of STI and MOV SS here: do not check it
 */
#include "tests/guest/guest.h"

#define START_MAGIC 0x336ec578u
#define WORD_ROOM   64u

bool quirk_canonical, quirk_shadow;

void guest_main(const struct start_info *info);

/* The next blank-separated word, or false at the end. */
static bool next_word(const char **at, char *word)
{
    unsigned n = 0;

    while (**at == ' ')
        (*at)++;
    if (**at == '\0')
        return false;
    while (**at != '\0' && **at != ' ') {
        if (n + 1 < WORD_ROOM)
            word[n++] = **at;
        (*at)++;
    }
    word[n] = '\0';
    return true;
}

static bool has_prefix(const char *text, const char *prefix)
{
    while (*prefix != '\0')
        if (*text++ != *prefix++)
            return false;
    return true;
}

static unsigned run(const char *chosen, bool bench)
{
    const struct check_list all[] = {
        checks_pci,      checks_ranges,   checks_trap,   checks_forms,   checks_cross,
        checks_insn,     checks_string,   checks_faults, checks_step,    checks_modes,
        checks_cpu,      checks_regs,     checks_types,  checks_status,  checks_section,
        checks_names,    checks_dynamic,  checks_bars,   checks_overlap, checks_share,
        checks_display,  checks_replace,  checks_batch,  checks_reserve, checks_memory,
        checks_view,     checks_window,   checks_rom,    checks_resize,  checks_doorbell,
        checks_churn,    checks_many,     checks_storm,  checks_chance,  checks_stress,
        checks_apic,     checks_ipi,      checks_timer,  checks_irq,     checks_edu,
        checks_transfer, checks_ivshmem,  checks_peers,  checks_dispi,   checks_scenario,
        checks_acpi,     checks_caps,     checks_bus,    checks_x2,      checks_virtio,
        checks_cmb,      checks_lifetime,
    };
    /* runs of their own: they need a machine, or a configuration, that the others do not */
    const struct check_list apart[] = {checks_big, checks_card, checks_demo, checks_first};

    if (bench)
        return tap_run(&checks_bench, 1, "all");
    for (unsigned i = 0; i < COUNT_OF(apart); i++)
        if (has_prefix(chosen, apart[i].checks[0].group))
            return tap_run(&apart[i], 1, chosen);
    return tap_run(all, COUNT_OF(all), chosen);
}

void guest_main(const struct start_info *info)
{
    static char chosen[WORD_ROOM] = "all";
    char word[WORD_ROOM];
    bool bench = false, hold = false, dump = false;
    const char *at = "";
    unsigned failures;

    serial_init();
    traps_init();
    paging_init();
    if (info->magic == START_MAGIC && info->cmdline != 0)
        at = (const char *)(uintptr_t)info->cmdline;
    while (next_word(&at, word)) {
        if (has_prefix(word, "test="))
            memcpy(chosen, word + 5, WORD_ROOM - 5);
        else if (text_equal(word, "bench"))
            bench = true;
        else if (text_equal(word, "hold"))
            hold = true;
        else if (text_equal(word, "dump"))
            dump = true;
        else if (text_equal(word, "quirk=canonical"))
            quirk_canonical = true;
        else if (text_equal(word, "quirk=shadow"))
            quirk_shadow = true;
    }
    if (quirk_canonical)
        say("# quirk=canonical: WRMSR takes any address here; that it should not is not checked\n");
    if (dump)
        acpi_dump();
    if (quirk_shadow)
        say("# quirk=shadow: an exit ends the shadow of STI and MOV SS here; where the timer comes "
            "is not checked\n");
    if (lab_find())
        lab_init();
    if (text_equal(chosen, "oracle")) {
        oracle_run(hold);
        guest_exit(0);
    }
    if (fatal_run(chosen))
        guest_exit(1);
    failures = run(chosen, bench);
    if (hold && text_equal(chosen, "demo"))
        demo_hold();
    guest_exit(failures != 0);
}
