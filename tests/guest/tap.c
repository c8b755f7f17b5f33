#include "tests/guest/guest.h"

#include <stdarg.h>

#define DEBUG_EXIT 0x501u

static struct {
    bool failed;
    const char *skipped;
    char reason[240];
} now;

/* A second varargs path would double the formatter: callers' text goes through format_text(). */
#define REASON(...) format_text(now.reason, sizeof(now.reason), __VA_ARGS__)

void fail(const char *format, ...)
{
    va_list args;
    const char *f = format;
    unsigned used = 0;

    if (now.failed)
        return;
    now.failed = true;
    va_start(args, format);
    while (*f != '\0' && used + 32 < sizeof(now.reason)) {
        if (f[0] == '%' && f[1] == 's') {
            used += format_text(now.reason + used, (unsigned)sizeof(now.reason) - used, "%s",
                                va_arg(args, const char *));
            f += 2;
        } else if (f[0] == '%' && f[1] == 'u') {
            used += format_text(now.reason + used, 24, "%u", va_arg(args, unsigned));
            f += 2;
        } else if (f[0] == '%' && f[1] == 'l' && f[2] == 'x') {
            used += format_text(now.reason + used, 24, "0x%lx", va_arg(args, uint64_t));
            f += 3;
        } else {
            now.reason[used++] = *f++;
        }
        if (used >= sizeof(now.reason))
            used = sizeof(now.reason) - 1;
    }
    va_end(args);
    now.reason[used] = '\0';
}

void skip(const char *reason)
{
    now.skipped = reason;
}

bool failed(void)
{
    return now.failed;
}

bool expect(bool condition, const char *what)
{
    if (!condition)
        fail("%s", what);
    return condition;
}

bool expect_eq(const char *what, uint64_t got, uint64_t expected)
{
    if (got != expected)
        fail("%s: expected %lx got %lx", what, expected, got);
    return got == expected;
}

const char *status_name(hv_status_t status)
{
#define NAME_OF(name, value, when) \
    if (status == (value))         \
        return #name;
    HV_STATUS_LIST(NAME_OF)
#undef NAME_OF
    return "no status";
}

bool expect_status(const char *what, hv_status_t got, hv_status_t expected)
{
    if (got != expected)
        fail("%s: expected %s got %s (%lx)", what, status_name(expected), status_name(got),
             (uint64_t)(uint32_t)got);
    return got == expected;
}

struct one {
    const struct check *check;
    unsigned index;
};

static void run_one(void *arg)
{
    const struct one *one = arg;

    one->check->run(one->index);
}

static unsigned repeats(const struct check *c)
{
    return c->count == 0 ? 1 : c->count;
}

static void full_name(const struct check *c, unsigned i, char *out)
{
    unsigned used = format_text(out, NAME_ROOM, "%s: ", c->group);

    if (c->name != NULL)
        c->name(out + used, i);
    else
        format_text(out + used, NAME_ROOM, "%s", c->text);
}

/* Is it one of the words that '+' separates? */
static bool among(const char *words, const char *word)
{
    for (const char *at = words; *at != '\0'; at += *at == '+') {
        const char *w = word;

        for (; *at != '\0' && *at != '+' && *at == *w; at++)
            w++;
        if (*w == '\0' && (*at == '\0' || *at == '+'))
            return true;
        while (*at != '\0' && *at != '+')
            at++;
    }
    return false;
}

static bool chosen_by(const char *chosen, const struct check *c, unsigned i)
{
    char name[2 * NAME_ROOM];

    if (text_equal(chosen, "all") || among(chosen, c->group))
        return true;
    full_name(c, i, name);
    return text_match(chosen, name);
}

static unsigned count_chosen(const struct check_list *lists, unsigned count, const char *chosen)
{
    unsigned n = 0;

    for (unsigned l = 0; l < count; l++)
        for (unsigned c = 0; c < lists[l].count; c++)
            for (unsigned i = 0; i < repeats(&lists[l].checks[c]); i++)
                n += chosen_by(chosen, &lists[l].checks[c], i);
    return n;
}

enum verdict { PASSED, FAILED, SKIPPED };

static enum verdict judge(const struct check *c, unsigned index, unsigned number)
{
    struct one one = {c, index};
    char name[2 * NAME_ROOM];
    int vector = -1;

    now.failed = false;
    now.skipped = NULL;
    if (c->lab && !lab.present)
        skip("no lab device");
    else
        vector = trap_try(run_one, &one);
    irq_done();
    full_name(c, index, name);
    if (vector >= 0) {
        fail("unexpected exception %u error %lx rip %lx cr2 %lx", (unsigned)vector, trap_last.error,
             trap_last.rip, trap_cr2);
        if (lab.present)
            lab_home_all();
    }
    if (now.failed) {
        say("not ok %u - %s\n# %s\n", number, name, now.reason);
        return FAILED;
    }
    if (now.skipped != NULL) {
        say("ok %u - %s # SKIP %s\n", number, name, now.skipped);
        return SKIPPED;
    }
    say("ok %u - %s\n", number, name);
    return PASSED;
}

void tap_done(unsigned passed, unsigned failures, unsigned skipped)
{
    say("# barvisor-guest: done, %u passed, %u failed, %u skipped\n", passed, failures, skipped);
}

unsigned tap_run(const struct check_list *lists, unsigned count, const char *chosen)
{
    unsigned verdicts[3] = {0, 0, 0};
    unsigned number = 0, planned = count_chosen(lists, count, chosen);

    say("TAP version 13\n1..%u\n", planned);
    if (planned == 0) {
        say("Bail out! no check is called %s\n", chosen);
        return 1;
    }
    for (unsigned l = 0; l < count; l++)
        for (unsigned c = 0; c < lists[l].count; c++)
            for (unsigned i = 0; i < repeats(&lists[l].checks[c]); i++)
                if (chosen_by(chosen, &lists[l].checks[c], i))
                    verdicts[judge(&lists[l].checks[c], i, ++number)]++;
    tap_done(verdicts[PASSED], verdicts[FAILED], verdicts[SKIPPED]);
    return verdicts[FAILED];
}

void guest_exit(uint32_t code)
{
    outl(DEBUG_EXIT, code);
    for (;;)
        __asm__ volatile("cli; hlt");
}
