/*
 * Owns:     a small world that may change at any moment: code, tables, leaves, regions, doorbells; and a model of one access.
 * Promises: the model knows moments only: nothing in it lasts from one access to the next.
 * Needs:    vm_kit: the kit is open.
 * Never:    expectations of one test.
 */
#ifndef TESTS_UNIT_STALE_KIT_H
#define TESTS_UNIT_STALE_KIT_H

#include "tests/unit/vm_kit.h"

#include "hv/base/bits.h"
#include "hv/vm/usual.h"

/* Below 4 GiB, so that compatibility mode has them too; both below one entry of the top table. */
#define CODE    0x40000000ull
#define DATA    0xc0000000ull /* two pages */
#define TABLES  0x300000ull   /* each with its other copy in the next page */
#define TOP     TABLES
#define POINTER (TABLES + 0x2000)
#define CODE_2  (TABLES + 0x4000)
#define CODE_1  (TABLES + 0x6000)
#define DATA_2  (TABLES + 0x8000)
#define DATA_1  (TABLES + 0xa000)
#define OTHER   PAGE_BYTES

#define CODE_64 0xa09bu
#define CODE_32 0xc09bu

/* Pages that operands may be shown in; the first four are a BAR's. */
#define TARGETS     6u
#define BAR_TARGETS 4u
#define FRAMES      3u
#define PLACES      3u
extern const uint64_t target_gpa[TARGETS], frame_gpa[FRAMES], places[PLACES];

#define NOBODY KIT_DEVICES
struct behind {
    uint8_t rights; /* of the second level */
    unsigned who;
    bool bell;
};

extern struct stale_world {
    struct behind behind[TARGETS];
    uint64_t rip;
    bool compat;
} world;

enum kind { LOAD, STORE, STORE_IMM, CHANGE };

#define FORMS 15u
struct form {
    uint8_t code[INSN_MAX_BYTES], length;
    enum kind kind;
    uint8_t bytes, reg, base, disp;
    bool rex, keeps; /* a load that keeps the bits above */
};
extern const struct form forms[FORMS];

/* ---- what there is at one moment ---- */

struct translation {
    bool allowed;
    gpa_t gpa;
    uint32_t error;
};

struct moment {
    struct translation code, data[2][2]; /* of a page, for reading and for writing */
    uint8_t bytes[INSN_MAX_BYTES];
    struct behind behind[TARGETS];
    bool rings;
};

void stale_look(struct moment *m);

/* ---- the model ---- */

struct outcome {
    enum hv_resume resume;
    uint64_t length, event, error, address, seen, asked, gpr[GPR_COUNT];
    struct kit_access access[2], question;
};

const struct form *stale_form_of(const uint8_t *bytes);
uint64_t stale_linear_of(const struct form *form, const uint64_t *gpr);
uint8_t stale_memory_byte(unsigned target, uint64_t offset); /* of RAM, and behind direct pages */

/* The instruction, with its code of one moment, translations of another, and what is behind them of a third. */
void stale_model(const uint64_t *gpr, const struct moment *code, const struct moment *tables,
                 const struct moment *behind, struct outcome *out);

/* ---- changes ---- */

uint64_t stale_random_below(uint64_t n);

/* The entry that CR3 leads to, as it is; NULL: a large page is above. */
uint64_t *stale_entry_at(uint64_t linear, unsigned level);
void stale_put_entry(uint64_t table, unsigned index, uint64_t value);
void stale_build_tables(void);

/* What other CPUs and devices change at any moment; stale_change() makes up to three of these. */
void stale_put_code(void);
void stale_move_table(void);
void stale_change_entry(void);
void stale_change_large(void);
void stale_change_leaf(void);
void stale_change_region(void);
void stale_change_rings(void);
void stale_change(void);
/* Other code for the moment of the fault, and what the place has learnt is back. */
void stale_put_back_code(void);

/* What only this CPU does: another CR3, now and then with tables of its own. */
void stale_change_cr3(void);
void stale_set_rights(unsigned target, uint8_t rights);
void stale_set_mode(bool compat);

#endif
