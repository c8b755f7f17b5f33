#include "tests/unit/diff_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hv/base/types.h"
#include "tests/unit/diff_tally.h"

#define MOST_SHOWN 50u

static struct diff_case the_case;
static struct diff_outcome judged, emulated;

unsigned long diff_setting(const char *name, unsigned long otherwise)
{
    const char *text = getenv(name);

    return text != NULL ? strtoul(text, NULL, 0) : otherwise;
}

/* ---- comparing ---- */

static uint64_t flags_compared(const struct diff_case *c, const struct diff_outcome *judge)
{
    /* A fault changes nothing, the undefined ones included. */
    uint64_t undefined = judge->fault == NO_FAULT ? c->form->undefined : 0;

    return (DIFF_ARITHMETIC & ~undefined) | DIFF_DF | DIFF_AC;
}

static unsigned differing(const struct diff_case *c, const struct diff_outcome *judge,
                          const struct diff_outcome *emu)
{
    uint64_t mask = c->mode == INSN_64 ? ~0ull : 0xffffffff;
    unsigned found = 0;

    if (judge->fault != emu->fault)
        found |= DIFF_FAULT;
    if (judge->fault == VECTOR_PF && emu->fault == VECTOR_PF) {
        found |= judge->error != emu->error ? DIFF_ERROR : 0;
        found |= judge->address != emu->address ? DIFF_ADDRESS : 0;
    } else if (judge->fault != NO_FAULT && emu->fault == judge->fault &&
               judge->error != emu->error) {
        found |= DIFF_ERROR;
    }
    for (unsigned i = 0; i < (c->mode == INSN_64 ? 16u : 8u); i++)
        if ((judge->gpr[i] ^ emu->gpr[i]) & mask)
            found |= DIFF_GPR;
    if ((judge->rflags ^ emu->rflags) & flags_compared(c, judge))
        found |= DIFF_FLAGS;
    if (memcmp(judge->memory, emu->memory, ARENA_BYTES) != 0)
        found |= DIFF_MEMORY;
    if (memcmp(judge->vector, emu->vector, sizeof(judge->vector)) != 0)
        found |= DIFF_VECTORS;
    if (judge->rip != emu->rip)
        found |= DIFF_RIP;
    return found;
}

static unsigned hidden(struct diff_session *session, unsigned found)
{
    unsigned hides = 0;

    for (unsigned i = 0; i < session->deviation_count; i++) {
        struct deviation *deviation = &session->deviations[i];

        if (!(deviation->hides & found) || !deviation->applies(&the_case, &judged, &emulated))
            continue;
        deviation->seen++;
        hides |= deviation->hides;
    }
    return hides;
}

/* ---- telling ---- */

static void print_bytes(const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        printf(" %02x", bytes[i]);
}

static void print_case(const struct diff_session *session, const struct diff_case *c,
                       const struct insn *insn)
{
    static const char *const modes[] = {"16-bit", "32-bit", "64-bit"};
    static const char *const segments[] = {"es", "cs", "ss", "ds", "fs", "gs"};

    printf("# case %lu against %s: %s%s, %s, width %u\n#   bytes", (unsigned long)c->number,
           session->judge_name, c->form->name, c->encoding == DIFF_LEGACY ? "" : ", VEX",
           modes[c->mode], c->width);
    print_bytes(c->code, c->length);
    printf("\n#   decoded %s bytes %u reg_bytes %u length %u reg %u%s base %u index %u<<%u disp "
           "%llx imm %llx seg %s "
           "addr %u%s%s%s%s rep %u\n",
           insn_name(insn), insn->bytes, insn->reg_bytes, insn->length, insn->reg,
           insn->high_byte ? " high" : "", insn->base, insn->index, insn->scale,
           (unsigned long long)insn->disp, (unsigned long long)insn->imm,
           insn->segment < 6 ? segments[insn->segment] : "?", insn->addr_bytes,
           insn->to_reg ? " to_reg" : "", insn->has_imm ? " imm" : "", insn->locked ? " lock" : "",
           insn->rip_relative ? " rip" : "", insn->repeat);
    printf("#   rip %llx rflags %llx operand %llx", (unsigned long long)c->rip,
           (unsigned long long)c->rflags, (unsigned long long)c->operand);
    for (unsigned i = 0; c->mode != INSN_64 && i < 6; i++)
        printf(" %s %llx/%x/%x", segments[i], (unsigned long long)c->seg[i].base, c->seg[i].limit,
               c->seg[i].attributes);
    printf("\n#   gpr");
    for (unsigned i = 0; i < (c->mode == INSN_64 ? 16u : 8u); i++)
        printf(" %llx", (unsigned long long)c->gpr[i]);
    if (c->operand - c->arena < ARENA_BYTES - 32) {
        printf("\n#   memory");
        print_bytes(c->memory + (c->operand - c->arena), c->memory_bytes);
    }
    printf("\n");
}

static void print_difference(unsigned found)
{
    if (found & (DIFF_FAULT | DIFF_ERROR | DIFF_ADDRESS | DIFF_RIP))
        printf("#   fault %d error %x address %llx rip %llx, emulated %d %x %llx %llx\n",
               judged.fault, judged.error, (unsigned long long)judged.address,
               (unsigned long long)judged.rip, emulated.fault, emulated.error,
               (unsigned long long)emulated.address, (unsigned long long)emulated.rip);
    for (unsigned i = 0; i < 16; i++)
        if ((found & DIFF_GPR) && judged.gpr[i] != emulated.gpr[i])
            printf("#   gpr %u: %llx, emulated %llx\n", i, (unsigned long long)judged.gpr[i],
                   (unsigned long long)emulated.gpr[i]);
    if (found & DIFF_FLAGS)
        printf("#   rflags %llx, emulated %llx\n", (unsigned long long)judged.rflags,
               (unsigned long long)emulated.rflags);
    for (unsigned i = 0; (found & DIFF_MEMORY) && i < ARENA_BYTES; i++)
        if (judged.memory[i] != emulated.memory[i])
            printf("#   memory %x: %02x, emulated %02x, was %02x\n", i, judged.memory[i],
                   emulated.memory[i], the_case.memory[i]);
    for (unsigned i = 0; i < 16; i++)
        if ((found & DIFF_VECTORS) && memcmp(judged.vector[i], emulated.vector[i], 32) != 0) {
            printf("#   vector %u:", i);
            print_bytes(judged.vector[i], 32);
            printf(", emulated");
            print_bytes(emulated.vector[i], 32);
            printf("\n");
        }
}

static void fail(struct diff_session *session, const struct emu_run *run, const char *text)
{
    if (session->failures++ >= MOST_SHOWN)
        return;
    print_case(session, &the_case, &run->insn);
    printf("#   %s\n", text);
}

/* ---- one case ---- */

/* Nothing traps: the CPU is to do it, or it faults as it would. */
static void check_direct(struct diff_session *session)
{
    static struct diff_outcome direct;
    struct emu_run run;
    bool no_access;

    emu_run(&the_case, EMU_DIRECT, &run, &direct);
    no_access = run.retries == 0 && emulated.fault == NO_FAULT && the_case.repeat != INSN_ONCE;
    if (run.complaint != NULL)
        fail(session, &run, run.complaint);
    else if (memcmp(direct.memory, the_case.memory, ARENA_BYTES) != 0 ||
             memcmp(direct.vector, the_case.vector, sizeof(direct.vector)) != 0)
        fail(session, &run, "memory or vectors changed though nothing traps");
    else if (run.retries == 0 && direct.fault == NO_FAULT && !no_access)
        fail(session, &run, "not retried though nothing traps");
    else if (no_access && (memcmp(direct.gpr, emulated.gpr, sizeof(direct.gpr)) != 0))
        fail(session, &run, "registers differ though nothing traps");
    session->retried += run.retries;
}

/* The outcome may not depend on which pages trap. */
static void check_mixed(struct diff_session *session)
{
    static struct diff_outcome mixed;
    struct emu_run run;

    emu_run(&the_case, EMU_MIXED, &run, &mixed);
    if (run.complaint != NULL)
        fail(session, &run, run.complaint);
    else if (mixed.fault != emulated.fault || mixed.rflags != emulated.rflags ||
             mixed.rip != emulated.rip || memcmp(mixed.gpr, emulated.gpr, sizeof(mixed.gpr)) != 0 ||
             memcmp(mixed.memory, emulated.memory, ARENA_BYTES) != 0 ||
             memcmp(mixed.vector, emulated.vector, sizeof(mixed.vector)) != 0)
        fail(session, &run, "another outcome when only some pages trap");
}

static void check(struct diff_session *session)
{
    struct emu_run run;
    unsigned found, hides;

    session->judge(&the_case, &judged);
    emu_run(&the_case, EMU_TRAPPED, &run, &emulated);
    if (run.complaint != NULL) {
        fail(session, &run, run.complaint);
        return;
    }
    if (!run.emulated) {
        fail(session, &run, "not emulated");
        return;
    }
    if ((judged.rflags ^ the_case.rflags) & DIFF_ARITHMETIC & ~(uint64_t)run.insn.flags) {
        fail(session, &run, "flags changed that the decoder does not tell");
        return;
    }
    found = differing(&the_case, &judged, &emulated);
    hides = found != 0 ? hidden(session, found) : 0;
    if (found & ~hides) {
        fail(session, &run, "another outcome:");
        if (session->failures <= MOST_SHOWN)
            print_difference(found);
        return;
    }
    session->compared++;
    session->hidden += found != 0;
    if (judged.fault == NO_FAULT && hides != DIFF_ALL)
        tally_compared(&the_case);
    if (judged.fault != NO_FAULT)
        session->faults[judged.fault & 31]++;
    check_direct(session);
    check_mixed(session);
}

/* ---- all ---- */

static void report(const struct diff_session *session)
{
    printf("# against %s: %lu compared, %lu skipped, %lu retries, %lu differ as known, %u "
           "failures; faults",
           session->judge_name, session->compared, session->skipped, session->retried,
           session->hidden, session->failures);
    for (unsigned i = 0; i < ARRAY_COUNT(session->faults); i++)
        if (session->faults[i] != 0)
            printf(" #%u %lu", i, session->faults[i]);
    printf("\n");
    for (unsigned i = 0; i < session->deviation_count; i++)
        printf("# known %lu: %s\n", session->deviations[i].seen, session->deviations[i].reason);
}

void diff_session_run(struct diff_session *session, uint64_t seed)
{
    unsigned long made = 0, most = session->cases * 2;

    diff_seed(seed);
    tally_clear();
    memset(&the_case, 0, sizeof(the_case));
    for (unsigned i = 0; i < ARENA_BYTES; i++)
        the_case.memory[i] = (uint8_t)diff_random();
    while (made - session->skipped < session->cases && made < most) {
        const struct diff_world *world =
            session->worlds[made % 4 == 0 && session->worlds[1] != NULL];
        const char *lack = diff_make(&the_case, world);

        made++;
        if (lack != NULL) {
            session->skipped++;
            tally_skipped(&the_case, lack);
            continue;
        }
        check(session);
        memcpy(the_case.memory, judged.memory, ARENA_BYTES);
    }
    printf("# seed %llu\n", (unsigned long long)seed);
    report(session);
}
