#include "tests/unit/diff_tally.h"

#include <stdio.h>
#include <string.h>

#include "hv/base/types.h"

#define MOST_FORMS 192u
#define MOST_WHYS  16u

/* variant: REP as enum insn_repeat, or LOCK, or the encoding of a vector instruction. */
static unsigned long compared[MOST_FORMS][3][4][3][2];
static struct {
    const char *why;
    unsigned long count;
} skipped[MOST_WHYS];

void tally_clear(void)
{
    memset(compared, 0, sizeof(compared));
    memset(skipped, 0, sizeof(skipped));
}

static unsigned shift_of(unsigned width)
{
    return width == 1 ? 0 : width == 2 ? 1 : width == 4 ? 2 : 3;
}

void tally_compared(const struct diff_case *c)
{
    unsigned variant = c->form->flags & FORM_STRING ? c->repeat : c->locked ? 1 : c->encoding;
    unsigned down = (c->form->flags & FORM_STRING) && (c->rflags & DIFF_DF);

    compared[c->form - diff_forms][c->mode][shift_of(c->width)][variant][down]++;
}

void tally_skipped(const struct diff_case *c, const char *why)
{
    (void)c;
    for (unsigned i = 0; i < MOST_WHYS; i++) {
        if (skipped[i].why == NULL)
            skipped[i].why = why;
        if (skipped[i].why == why) {
            skipped[i].count++;
            return;
        }
    }
}

static bool has_variant(const struct diff_form *form, unsigned variant,
                        const struct diff_world *world)
{
    if (variant == 0)
        return true;
    if (form->flags & FORM_STRING)
        return true;
    if (form->flags & FORM_LOCK)
        return variant == 1;
    if (!world->avx || !(form->flags & FORM_VEX128))
        return false;
    if (variant == DIFF_VEX128)
        return true;
    return (form->flags & FORM_VEX256) && (world->avx2 || !(form->flags & FORM_AVX2));
}

static bool is_expected(const struct diff_form *form, unsigned mode, unsigned shift,
                        const struct diff_world *world)
{
    if (!world->modes[mode] || !world->needs[form->need] || !(form->widths >> shift & 1))
        return false;
    if (mode != INSN_64)
        return shift < 3 && !(form->flags & FORM_ONLY64);
    return !(form->flags & FORM_NOT64) && !((form->flags & FORM_STACK) && shift == 2);
}

static unsigned judge_form(unsigned index, unsigned mode, const struct diff_world *world,
                           unsigned long least)
{
    const struct diff_form *form = &diff_forms[index];
    unsigned missing = 0;

    for (unsigned cell = 0; cell < 4 * 3 * 2; cell++) {
        unsigned shift = cell / 6, variant = cell / 2 % 3, down = cell % 2;
        unsigned long count = compared[index][mode][shift][variant][down];

        if (!is_expected(form, mode, shift, world) || !has_variant(form, variant, world) ||
            (down && !(form->flags & FORM_STRING)) || count >= least)
            continue;
        printf("# seen %lu times only, not %lu: %s, opcode %02x, mode %u, width %u, variant %u%s\n",
               count, least, form->name, form->opcode, mode, 1u << shift, variant,
               down ? ", down" : "");
        missing++;
    }
    return missing;
}

unsigned tally_judge(const struct diff_world *world, const struct diff_world *other,
                     unsigned long least)
{
    unsigned missing = 0;

    for (unsigned i = 0; i < MOST_WHYS && skipped[i].why != NULL; i++)
        printf("# skipped %lu: %s\n", skipped[i].count, skipped[i].why);
    for (unsigned mode = 0; mode < 3; mode++)
        for (unsigned i = 0; i < diff_forms_count; i++)
            missing +=
                judge_form(i, mode, world->modes[mode] || other == NULL ? world : other, least);
    return missing;
}
