/*
 * Owns:     a flat model of everything that ranges depend on: an array of pages per BAR, of pages per section, who
 *           decodes where, and what each call must answer.
 * Promises: nothing of the real code is called; a prediction changes the model only when it is HV_OK; states can be
 *           copied like any struct.
 * Needs:    the API's headers for names and values.
 * Never:    extents, trees, runs: a page is a page, so that a mistake of the real code is not made twice.
 *
 * A unit is 2^shift pages: 1 page where every border counts, 512 pages where 1 GiB leaves come into play.
 */
#ifndef TESTS_UNIT_RANGE_MODEL_H
#define TESTS_UNIT_RANGE_MODEL_H

#include "hv/pci/device.h"

#define MODEL_DEVICES   2u
#define MODEL_OBJECTS   16u
#define MODEL_HANDLES   16u
#define MODEL_CALLS     8u /* of one batch */
#define MODEL_VIEWS     8u
#define MODEL_UNITS     2048u /* of the largest BAR, and of the largest section */
#define MODEL_CELLS     4096u /* of device memory, and of modules */
#define MODEL_NO_DEVICE MODEL_DEVICES

/* The object whose pages are the cells of device memory: for I/O space. Always there, never counted. */
#define MODEL_DEVICE_OBJECT MODEL_OBJECTS

/* In place of a frame that the real code has not told yet. */
#define MODEL_FRAME_SOON (1ull << 62)

/* Handle numbers that name none of the table's. */
enum { MODEL_HANDLE_ZERO = MODEL_HANDLES, MODEL_HANDLE_EVENT, MODEL_HANDLE_STALE };

enum model_origin { MODEL_ANONYMOUS, MODEL_DEVICE_MEMORY, MODEL_MODULE };

/* The type of a frame, or of a page of an anonymous section. */
struct model_cell {
    uint16_t refs;
    uint8_t type; /* enum memtype, while refs is not 0 */
};

/* A section. */
struct model_object {
    bool live;
    uint8_t origin, default_type;
    uint32_t allowed; /* access that its protection allows */
    uint32_t handles, ranges, views;
    uint32_t first; /* its first cell, unless anonymous */
    uint32_t units;
    uint32_t serial;             /* for its name */
    uint64_t frame[MODEL_UNITS]; /* 0: not committed */
    struct model_cell cell[MODEL_UNITS];
};

struct model_handle {
    bool live;
    uint8_t object;
    uint32_t access;
};

/* A unit of a BAR. */
struct model_page {
    uint8_t object; /* plus 1; 0: trapped */
    uint8_t type;
    uint16_t flags;
    uint32_t key; /* the first unit of its range */
    uint32_t section_unit;
};

struct model_bar {
    uint64_t bytes, base, live_base;
    uint32_t units; /* of page[]: as large as the BAR can be */
    uint32_t sizes; /* bit n: 2^(20 + n) bytes are possible; 0: it does not resize */
    bool upper, io, is_64bit, rom_enabled, wanted, live;
    uint8_t device, index;
    uint64_t ranges, mapped; /* units */
    struct model_page page[MODEL_UNITS];
    bool bell[MODEL_UNITS]; /* the unit's first page has a doorbell */
};

struct model_device {
    bool memory_enabled;
    unsigned bells;
    struct model_bar bar[HV_BAR_COUNT];
};

/* A view of a section, or I/O space. */
struct model_view {
    bool live, is_io;
    uint8_t object, rights, type;
    uint32_t unit, units;
    uint64_t base, bytes; /* bytes: as asked for, of I/O */
};

/* What the machine can do and where its RAM is. */
struct model_machine {
    unsigned shift;
    bool ignore_pat;
    unsigned physical_bits;
    struct {
        uint64_t start, end;
    } ram[2];
    struct {
        uint64_t start, end;
    } taken; /* by something that is no BAR */
};

struct model {
    struct model_machine machine;
    struct model_device device[MODEL_DEVICES];
    struct model_object object[MODEL_OBJECTS + 1];
    struct model_handle handle[MODEL_HANDLES];
    struct model_cell device_cell[MODEL_CELLS], module_cell[MODEL_CELLS];
    uint8_t waiting[MODEL_DEVICES * HV_BAR_COUNT]; /* device * HV_BAR_COUNT + bar, oldest first */
    unsigned waiting_count;
    bool denied; /* BARs with ranges find no memory for their leaves now, and wait */
    struct model_view view[MODEL_VIEWS];
    uint32_t serial;
};

/* One call on ranges, as it stands alone or in a batch. Quantities as the API has them: pages. */
struct model_call {
    enum hv_mmio_op_kind kind; /* or a value that is none */
    enum hv_bar bar;
    uint64_t page, count, section_page;
    uint32_t flags;
    uint8_t handle;
};

/* Each returns the status that the real call must give, and brings the model to where the real one must be. */
hv_status_t model_call(struct model *m, unsigned device, const struct model_call *call);
hv_status_t model_batch(struct model *m, unsigned device, const struct model_call *call,
                        unsigned count, uint32_t flags, uint64_t *done);

/* A dword written to BAR `index` (or its upper half), a size to its control register, or memory enable to COMMAND. */
void model_bar_write(struct model *m, unsigned device, enum hv_bar index, uint32_t value);
void model_resize(struct model *m, unsigned device, enum hv_bar index, unsigned size);
void model_command_write(struct model *m, unsigned device, bool memory);

/* Pages [page, page + count) through a handle; the frames are the caller's to tell afterwards. */
hv_status_t model_commit(const struct model *m, unsigned handle, uint64_t page, uint64_t count);

/* The doorbell of a page, the first one of its unit, comes or goes. */
hv_status_t model_bell(struct model *m, unsigned device, enum hv_bar index, uint64_t page,
                       bool come);

/* A handle more, a handle less. Of open: `object` need not be live. */
hv_status_t model_open(struct model *m, unsigned object, unsigned handle, uint32_t access);
hv_status_t model_close(struct model *m, unsigned handle);

/* The type that a mapping of these pages would get. HV_E_CACHE_CONFLICT; type < 0: open. */
hv_status_t model_choose_type(struct model *m, unsigned object, uint32_t unit, uint32_t units,
                              int type, uint8_t *chosen);

/* A view or I/O space comes, with its type and its reference, and goes. Without rights it has no type. */
void model_view_add(struct model *m, unsigned index, const struct model_view *view);
void model_view_remove(struct model *m, unsigned index);

/* What a handle must have: HV_E_INVALID_HANDLE, HV_E_OBJECT_TYPE, HV_E_ACCESS_DENIED. */
hv_status_t model_handle(const struct model *m, unsigned handle, uint32_t access, unsigned *object);

/* The type in force on a page of a section; false: none. */
bool model_type(const struct model *m, unsigned object, uint32_t unit, uint8_t *type);

/* Gone once nothing refers to it. Call after whatever may have dropped the last reference. */
void model_reap(struct model *m);

/* The live BAR that holds a guest-physical address, or NULL. */
const struct model_bar *model_bar_at(const struct model *m, uint64_t gpa);

/* What a leaf for this unit says, as watch_walk() puts it: 0 or frame | 0x80 | ipat << 6 | type << 3 | rights. */
uint64_t model_key(const struct model *m, const struct model_bar *bar, uint32_t unit);

#endif
