/*
 * Owns:     sections: reference-counted objects that own or name frames, and the handles to them.
 * Promises: frames of anonymous sections are zeroed before first use, never move, and are in no direct map
 *           while the section lives, so that a type chosen for a view or a range has no write-back alias;
 *           an object lives until handles, views and ranges are all gone.
 * Needs:    frames, slab, window, space (direct map), ledger.
 * Never:    a file, an image, copy-on-write.
 *
 * Contract: NtCreateSection and family, see docs/contract.md. Sizes in bytes, pages of 4096 bytes.
 */
#ifndef HV_MEM_SECTION_H
#define HV_MEM_SECTION_H

#include "ept/memtype.h"
#include "hv/base/status.h"
#include "hv/base/tree.h"
#include "hv/base/types.h"

enum hv_section_access {
    HV_SECTION_QUERY = 1,
    HV_SECTION_MAP_WRITE = 2,
    HV_SECTION_MAP_READ = 4,
    HV_SECTION_MAP_EXECUTE = 8,
    HV_SECTION_EXTEND = 16,
};

enum hv_page_protection {
    HV_PAGE_NOACCESS = 0x01,
    HV_PAGE_READONLY = 0x02,
    HV_PAGE_READWRITE = 0x04,
    HV_PAGE_WRITECOPY = 0x08,
    HV_PAGE_EXECUTE = 0x10,
    HV_PAGE_EXECUTE_READ = 0x20,
    HV_PAGE_EXECUTE_READWRITE = 0x40,
    HV_PAGE_EXECUTE_WRITECOPY = 0x80,
    HV_PAGE_NOCACHE = 0x200,
    HV_PAGE_WRITECOMBINE = 0x400,
};

enum hv_section_attributes {
    HV_SEC_COMMIT = 0x01,
    HV_SEC_RESERVE = 0x02,
    HV_SEC_NOCACHE = 0x10,
    HV_SEC_WRITECOMBINE = 0x20,
    HV_SEC_LARGE_PAGES = 0x40, /* every 2 MiB of the section is one aligned 2 MiB of memory */
    HV_SEC_CONTIGUOUS = 0x80,  /* one run of frames */
    HV_SEC_OPEN_IF = 0x100,
};

enum hv_backing_kind {
    HV_BACKING_PHYSICAL = 1, /* a window of device memory: base and bytes, page-aligned */
    HV_BACKING_MODULE = 2,   /* a boot module by index; its frames become the section's */
};

struct hv_section_backing {
    enum hv_backing_kind kind;
    hpa_t base;      /* PHYSICAL */
    uint64_t bytes;  /* PHYSICAL */
    uint32_t module; /* MODULE */
};

#define HV_SECTION_NAME_BYTES 64u /* with the NUL */
#define HV_SECTION_MAX_BYTES  (1ull << 46)

/*
 * 1 section     out: handle with `access`
 * 2 access      enum hv_section_access bits, at least one
 * 3 name        NULL or up to 63 bytes, unique while a handle is open
 * 4 max_size    bytes, rounded up to a page; 0 only with a backing (then the backing's size)
 * 5 protect     HV_PAGE_READONLY, READWRITE, EXECUTE_READ or EXECUTE_READWRITE
 * 6 attributes  exactly one of COMMIT (all frames now) and RESERVE (none: hv_section_commit()), plus modifiers
 * 7 backing     NULL: anonymous zero-filled frames
 *
 * Checks, in order: NULL out _1; access 0 or unknown _2; name too long or empty _3; size _4 (also
 * LARGE_PAGES and not a multiple of 2 MiB); attributes _6 (also RESERVE with a backing); protection HV_E_INVALID_PROTECTION (both
 * HV_SEC_ cache modifiers too; COPY values HV_E_NOT_SUPPORTED); SECTION_TOO_BIG; backing: unknown kind or
 * PHYSICAL of 0 bytes _7, PHYSICAL not aligned HV_E_MAPPED_ALIGNMENT, over RAM that the hypervisor owns or
 * past the CPU's physical addresses HV_E_ACCESS_DENIED, no such module HV_E_NOT_FOUND, max_size past the
 * end of the backing HV_E_INVALID_PARAMETER, LARGE_PAGES and the base not on 2 MiB HV_E_MAPPED_ALIGNMENT;
 * name taken HV_E_ALREADY_EXISTS; frames HV_E_COMMITMENT_LIMIT; records or direct map HV_E_NO_MEMORY.
 * With OPEN_IF a name that is taken is opened like in hv_section_open(), after the same checks: size, protection,
 * attributes and backing are the existing section's. Without a name OPEN_IF changes nothing.
 * The name goes with the last handle, the object with the last handle, range and view.
 */
hv_status_t hv_section_create(hv_handle_t *section, uint32_t access, const char *name,
                              uint64_t max_size, uint32_t protect, uint32_t attributes,
                              const struct hv_section_backing *backing) MUST_CHECK;

/*
 * By name. NULL out _1, access 0 or unknown _2, name NULL, empty or too long _3; HV_E_NOT_FOUND;
 * HV_E_ACCESS_DENIED: more than the creator's protection allows; HV_E_NO_MEMORY.
 */
hv_status_t hv_section_open(hv_handle_t *section, uint32_t access, const char *name) MUST_CHECK;

struct hv_section_info {
    uint64_t bytes;           /* rounded up to pages */
    uint64_t committed_pages; /* that have frames */
    uint32_t protect;
    uint32_t attributes;
    enum memtype default_type;
    uint32_t handles;
    uint32_t ranges;
    uint32_t views;
    bool existed; /* this handle opened a section that was there: hv_section_open() or OPEN_IF */
    char name[HV_SECTION_NAME_BYTES];
};

/* HV_E_INVALID_HANDLE, HV_E_OBJECT_TYPE, HV_E_ACCESS_DENIED (no HV_SECTION_QUERY), NULL info _2. */
hv_status_t hv_section_query(hv_handle_t section, struct hv_section_info *info) MUST_CHECK;

/*
 * Give zeroed frames to pages [page, page + count) of a RESERVE section; those that have some keep them. Ranges and views
 * over them become live. HV_E_INVALID_HANDLE, HV_E_OBJECT_TYPE; HV_E_ACCESS_DENIED (no MAP_WRITE); count 0 _3; past the
 * end HV_E_INVALID_VIEW_SIZE; LARGE_PAGES and page or count not on 2 MiB HV_E_MAPPED_ALIGNMENT; HV_E_COMMITMENT_LIMIT;
 * HV_E_NO_MEMORY. A COMMIT section has them all: HV_OK. With CONTIGUOUS each hole of the window gets one run.
 */
hv_status_t hv_section_commit(hv_handle_t section, uint64_t page, uint64_t count) MUST_CHECK;

/* HV_E_INVALID_HANDLE: unknown or closed. */
hv_status_t hv_handle_close(hv_handle_t handle);

/* ---- for the rooms above: ranges, reports ---- */

struct section; /* section.c */
struct ledger;
struct mapping;

enum handle_kind { HANDLE_SECTION = 1, HANDLE_EVENT = 2 };

/* What a reference is for: hv_section_query() counts ranges and views apart. */
enum section_user { SECTION_USER_RANGE, SECTION_USER_VIEW };

/*
 * Take a reference through a handle. HV_E_INVALID_HANDLE unknown; HV_E_OBJECT_TYPE another kind;
 * HV_E_ACCESS_DENIED the handle lacks a right of `access`; HV_E_SECTION_PROTECTION the section's own
 * protection does not allow it (MAP_WRITE needs READWRITE, MAP_EXECUTE an EXECUTE value).
 * This and the other calls down to the accessors take section_lock: never called with it held.
 */
hv_status_t section_ref(hv_handle_t handle, uint32_t access, enum section_user user,
                        struct section **section) MUST_CHECK;

/*
 * section_ref() for a caller that holds section_lock. What it took can be given back with section_ref_undo()
 * as long as the lock was not released.
 */
hv_status_t section_ref_locked(hv_handle_t handle, uint32_t access, enum section_user user,
                               struct section **section) MUST_CHECK;
void section_ref_undo(struct section *section, enum section_user user);

/* One more reference of the same kind, for a record that was cut in two. Cannot fail. Caller holds section_lock. */
void section_ref_again(struct section *section, enum section_user user);

/* `count` more. Likewise. */
void section_ref_more(struct section *section, enum section_user user, uint64_t count);

/* `user` as it was taken. The last one frees frames and object. */
void section_unref(struct section *section, enum section_user user);

/*
 * `count` of them for a caller that holds section_lock. With the last one of all the section goes into the chain *dead;
 * section_destroy() after releasing the lock ends all that are in it (NULL: none).
 */
void section_unref_locked(struct section *section, enum section_user user, uint64_t count,
                          struct section **dead);
void section_destroy(struct section *dead);

/* What never changes of a section, for a caller that needs more than one of it. */
struct section_facts {
    uint64_t pages;
    uint64_t
        first_pages; /* its first run of contiguous frames, mostly the only one: see section_frame() */
    hpa_t first_frame;
    enum memtype default_type;
    bool is_ram;
    bool is_reserved;      /* made with RESERVE: pages may lack frames, first_pages is 0 */
    struct ledger *ledger; /* where its types in force are counted, ... */
    uint64_t ledger_first; /* ... and the place of its first page there */
};
const struct section_facts *section_facts(const struct section *section);

/* The head of the list that mapping.c keeps of a reserved section's mappings. Lock: section_lock. */
struct mapping **section_mappings(struct section *section);

uint64_t section_pages(const struct section *section);
uint32_t
section_id(const struct section *section); /* small, unique for life: for tables of state */
const char *section_name(const struct section *section); /* "" when unnamed */
enum memtype section_default_type(const struct section *section);
bool section_is_ram(const struct section *section);

/*
 * The frame of a page: true, and how many pages from it on follow contiguously. False: the page has none, and how
 * many pages from it on have none. page < section_pages(), and *run_pages ends there at the latest. Frames that are
 * there stay until the section goes; of a reserved section, section_lock is held.
 */
bool section_frames(const struct section *section, uint64_t page, hpa_t *frame,
                    uint64_t *run_pages);

/* Likewise for a page that has a frame. */
hpa_t section_frame(const struct section *section, uint64_t page, uint64_t *run_pages);

/* True when all pages of [page, page + count), inside the section, have frames. Takes section_lock. */
bool section_is_committed(const struct section *section, uint64_t page, uint64_t count);

/* hv_section_commit() for a caller that has a reference: no handle, no rights. Takes section_lock. */
hv_status_t section_commit(struct section *section, uint64_t page, uint64_t count) MUST_CHECK;

/*
 * Bytes of the section through a window with each frame's type in force (else the default type).
 * [offset, offset+bytes) lies inside the section. They take section_lock page by page. HV_E_NOT_MAPPED: a page of it has
 * no frame; nothing was copied.
 */
hv_status_t section_read(struct section *section, uint64_t offset, void *out,
                         uint64_t bytes) MUST_CHECK;
hv_status_t section_write(struct section *section, uint64_t offset, const void *in,
                          uint64_t bytes) MUST_CHECK;

/* FNV-1a (64 bit) over the bytes. HV_E_NOT_MAPPED. */
hv_status_t section_checksum(struct section *section, uint64_t offset, uint64_t bytes,
                             uint64_t *checksum) MUST_CHECK;

/*
 * The ledger of the machine, by frame: for frames that more than one object can name. Lock: section_lock (lock order:
 * device -> section -> tables).
 */
struct lock;
extern struct ledger hv_ledger;
extern struct lock section_lock;

/*
 * A boot module that sections can be made of; set once by boot/main.c. Its frames start at a page border,
 * are in the direct map and not among the frame allocator's; the rest of its last page is zeroed here.
 */
#define SECTION_MAX_MODULES 16u
void section_add_module(uint32_t index, hpa_t base, uint64_t bytes);

/*
 * RAM besides the frame allocator's and the modules' that no PHYSICAL section may name: the image, firmware
 * tables. Set by boot/main.c, at most SECTION_MAX_FORBIDDEN times.
 */
#define SECTION_MAX_FORBIDDEN 320u
void section_forbid(hpa_t base, uint64_t bytes);

/* Likewise registers, which hv_io_space_map() may name all the same. They count among SECTION_MAX_FORBIDDEN. */
void section_forbid_registers(hpa_t base, uint64_t bytes);

/* The first physical address that the CPU cannot have; set once by boot/main.c. Until then 2^52. */
void section_set_physical_limit(uint64_t limit);

/* Live objects, for leak checks. */
uint64_t section_live_count(void);

/* Frames that anonymous sections hold now. */
uint64_t section_ram_pages(void);

/* Give back what is kept warm for later objects, so that free frames can be compared exactly. */
void section_trim(void);

#endif
