/*
 * Owns:     a duel: the same calls given to the real code and to the flat model, and everything compared.
 * Promises: a status, a translation of any page in any intermediate state, a record, a type in force, a count or a table
 *           that differs ends the test; what was done last is printed then.
 * Needs:    tests/unit/pci_world.h, range_model.h; tests/fake/ptwatch.h instead of ptstore.c.
 * Never:    looks into the records of ranges, sections or ledgers.
 *
 *      bytes --> struct duel_op --> real call   --> status, tables, records ...
 *                             \                        =
 *                              `--> model_...() --> status, keys, counts ...
 */
#ifndef TESTS_UNIT_DUEL_H
#define TESTS_UNIT_DUEL_H

#include "tests/fake/host.h"

#include "ept/format.h"
#include "hv/mem/view.h"
#include "hv/pci/device.h"
#include "tests/unit/range_model.h"

#define DUEL_RECORD_BYTES 16u
#define DUEL_BARS         (MODEL_DEVICES * HV_BAR_COUNT)

struct duel_config {
    const char *name;
    const struct pt_format *format;
    unsigned shift;        /* of the model's units: 0 or 9 */
    bool large_executable; /* what the CPU can do */
    bool no_huge;          /* no 1 GiB leaves */
    unsigned check_every;  /* everything is compared after every n-th operation; 0 means 1 */
    unsigned
        types_every; /* types are asked for at every n-th check; 0: at the end. To ask costs the ledger its ease */
    bool watch;        /* every store is watched */
    bool is_calm;      /* operations that make and cut larger leaves: duel_ops.c */
    unsigned hardware; /* A/D bits are set in one of so many leaves; 0: never */
};

enum duel_kind {
    DUEL_CALL,
    DUEL_BATCH,
    DUEL_COMMAND,
    DUEL_BAR_WRITE,
    DUEL_MOVE,   /* both dwords */
    DUEL_RESIZE, /* of BAR2 of the first device */
    DUEL_SECTION,
    DUEL_OPEN,
    DUEL_CLOSE,
    DUEL_COMMIT,
    DUEL_ACCESS, /* of the guest */
    DUEL_BELL,   /* of a page, comes or goes */
    DUEL_VIEW,
    DUEL_UNVIEW,
    DUEL_IO,
    DUEL_UNIO,
};

struct duel_op {
    enum duel_kind kind;
    uint8_t device; /* MODEL_NO_DEVICE: a pointer that is none */
    enum hv_bar bar;
    /*
     * COMMAND: on; BAR_WRITE: dword; MOVE: base; RESIZE: n of 2^(20 + n) bytes; ACCESS: is a write; BELL: comes; VIEW: an address or 0; UNVIEW, UNIO: an offset;
     * IO: the first byte
     */
    uint64_t value;
    uint64_t bytes;  /* VIEW: to be committed; IO, UNIO: how many */
    uint32_t flags;  /* BATCH; VIEW: allocation type */
    uint32_t access; /* OPEN; VIEW, IO: protection */
    uint8_t handle;  /* SECTION and OPEN: where it goes; CLOSE, COMMIT, VIEW */
    uint8_t object;  /* OPEN: which; SECTION: the template; VIEW to UNIO: of the model's views */
    unsigned calls;  /* in call[] */
    /* CALL: the first; COMMIT, ACCESS, BELL, VIEW: the pages of the first */
    struct model_call call[MODEL_CALLS];
};

/* A duel in the world that world_open() made. duel_close() ends with everything destroyed and nothing left. */
void duel_open(const struct duel_config *config);
void duel_close(void);

/* One operation, given to both. */
void duel_step(const struct duel_op *op);

/* An operation out of bytes; 0 when there are too few, else how many were used. Any bytes are an operation. */
size_t duel_decode(const uint8_t *bytes, size_t count, struct duel_op *op);

/* All of them. */
void duel_run(const uint8_t *bytes, size_t count);

/*
 * Allocations that fail: arm() before every real call, disarm() after it; true: one of them did. What a call that gave up
 * may answer is for allows() to say.
 */
struct duel_faults {
    void (*arm)(void);
    bool (*disarm)(void);
    bool (*allows)(hv_status_t status);
};
extern const struct duel_faults *duel_faults;

/* Templates of sections by number, of the worlds with pages as units. */
enum {
    DUEL_LARGE,    /* 1024 pages in runs of 2 MiB, EXECUTE_READWRITE */
    DUEL_PLAIN,    /* 1024 pages, EXECUTE_READWRITE */
    DUEL_RUNS,     /* 300 pages in several runs, READWRITE */
    DUEL_WC,       /* 64 */
    DUEL_READONLY, /* 40 */
    DUEL_UC,       /* 520, READWRITE */
    DUEL_CODE,     /* 16, EXECUTE_READ */
    DUEL_WINDOW,   /* 2048 of device memory, READWRITE */
    DUEL_WINDOW_WC,
    DUEL_MODULE,  /* 37 */
    DUEL_RESERVE, /* 1100 without frames, EXECUTE_READWRITE */
    DUEL_RESERVE_FEW
};

/* Operations by hand. */
struct duel_op duel_create(unsigned device, enum hv_bar bar, uint64_t page, uint64_t count,
                           uint32_t flags, unsigned handle, uint64_t section_page);
struct duel_op duel_unmap(unsigned device, enum hv_bar bar, uint64_t page, uint64_t count);
struct duel_op duel_destroy(unsigned device, enum hv_bar bar, uint64_t page);
struct duel_op duel_batch(uint32_t flags);
void duel_batch_add(struct duel_op *batch,
                    const struct duel_op *op); /* of the first one's device */
struct duel_op duel_section(unsigned template, unsigned handle);
struct duel_op duel_commit(unsigned handle, uint64_t page, uint64_t count);
struct duel_op duel_decode_bars(unsigned device, bool on);
struct duel_op duel_move(unsigned device, enum hv_bar bar, uint64_t base);
struct duel_op duel_resize(unsigned n);
struct duel_op duel_view(unsigned handle, unsigned view, uint64_t page, uint64_t count,
                         uint32_t protect);
struct duel_op duel_io(unsigned view, uint64_t cell, uint64_t pages, uint32_t protect);

/* Sections of every kind that costs little, and live BARs: so that the first operation can mean something. */
void duel_set_stage(bool with_memory);

/* Likewise, and done at once, with success. */
void duel_do(struct duel_op op);

/* The last operations with their statuses, on stderr. Nothing when no duel is under way. */
void duel_print(void);
void duel_describe(char *text, size_t bytes, const struct duel_op *op);

/* ---- between the files of the duel ---- */

/* A kind of section. */
struct duel_template {
    uint64_t pages;
    uint32_t protect, attributes;
    enum model_origin origin;
    uint32_t first; /* of device memory or module: its first cell */
    uint8_t default_type;
};

/* What the tables must say, by address. */
struct duel_tables {
    struct {
        bool live;
        uint64_t base, bytes;
        uint32_t units;
        uint64_t key[MODEL_UNITS];
    } bar[DUEL_BARS];
};

struct section;

struct duel {
    struct duel_config config;
    struct model model;
    struct duel_tables before, after;        /* the operation under way */
    struct duel_tables between[MODEL_CALLS]; /* a batch: after each of its operations */
    unsigned between_count;
    bool is_atomic; /* it is a batch that no VP may see a part of */
    bool may_gap;   /* it takes leaves away before it puts others there */
    bool gave_up;   /* it met a failure */
    struct section *section[MODEL_OBJECTS];
    hv_handle_t handle[MODEL_HANDLES];
    hv_handle_t event, stale;
    uint16_t io_offset[MODEL_VIEWS]; /* of I/O space in its page */
    uint64_t free_frames;
    uint64_t steps, checks, calls_ok, calls_failed;
    uint64_t way[3]; /* accesses by enum fake_way */
    uint32_t random;
};

extern struct duel duel;

#define DUEL_DEVICE_BASE GIB(32ull)
#define DUEL_MODULE_BASE MIB(480)

/* ---- duel.c ---- */

/* The answer of the operation under way; they differ: the end. */
void duel_verdict(hv_status_t got, hv_status_t want);

/* Frames that the real code has given to a section meanwhile. */
void duel_learn_frames(unsigned object);

hv_handle_t duel_real_handle(unsigned handle);

/* ---- duel_steps.c ---- */

void duel_step_known(const struct duel_op *op);
void duel_begin(bool may_gap);
void duel_arm(void);
bool duel_gave_up(hv_status_t got);

/* ---- duel_views.c ---- */

void duel_step_view(const struct duel_op *op);
void duel_check_views(void);
void duel_views_open(void);
void duel_views_drop(unsigned index); /* when it is there */

const struct duel_template *duel_template(unsigned index);
unsigned duel_template_count(void);
hpa_t duel_device_frame(uint32_t cell);

/* The type in force, as the real code has it. */
bool duel_type(unsigned object, uint32_t unit, enum memtype *memtype);

/* Compare. */
void duel_expect(struct duel_tables *tables);
void duel_check_run(uint64_t from, uint64_t to); /* for ptwatch */
void duel_check_all(void);
void duel_check_types(void);
void duel_check_near(const struct duel_op *op); /* records and types where the operation was */

#endif
