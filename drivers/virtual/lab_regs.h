/*
 * Owns:     the register layout of the lab device, for the device and for guests.
 * Promises: stable offsets and numbers; a guest needs this header and docs/lab.md, nothing else.
 * Needs:    <stdint.h>.
 * Never:    hypervisor types.
 *
 * PCI 1D1D:1AB0, class FF/00/00. BAR0: 64-bit, 4 KiB, always trapped: the registers below. BAR2: 64-bit
 * prefetchable, 64 MiB: ranges and trapped holes. BAR4: 64-bit prefetchable, only when configured; resizable from
 * 1 MiB to the configured size. ROM BAR: 64 KiB. BAR4 and ROM are empty at the start: every page traps.
 *
 * A command: write LAB_ARG(i), write its number to LAB_COMMAND (4 bytes), read LAB_STATUS and LAB_RESULT(i).
 * The command is carried out before the write returns.
 */
#ifndef DRIVERS_VIRTUAL_LAB_REGS_H
#define DRIVERS_VIRTUAL_LAB_REGS_H

#define LAB_VENDOR_ID    0x1D1Du
#define LAB_DEVICE_ID    0x1AB0u
#define LAB_NEIGHBOUR_ID 0x1AB1u

#define LAB_MAGIC        0x000 /* u32, RO: LAB_MAGIC_VALUE */
#define LAB_VERSION      0x004 /* u32, RO */
#define LAB_STATUS       0x008 /* s32, RO: hv_status_t of the last command */
#define LAB_COMMAND      0x00c /* u32, WO: runs the command */
/* u64, RW, i = 0..11: the low ones in a row, the others further up. */
#define LAB_ARG(i)    ((i) < LAB_ARGS_LOW ? 0x010 + 8 * (i) : 0x1c0 + 8 * (i))
#define LAB_ARGS_LOW  8
#define LAB_RESULT(i) (0x050 + 8 * (i)) /* u64, RO, i = 0..9 */
#define LAB_TRAPS \
    0x0a0 /* u64, RO: trapped accesses recorded so far (BAR2, BAR4, ROM, LAB_DOORBELL, the scratch area) */
#define LAB_DOORBELL \
    0x0a8 /* u64, RW, any width: for doorbells; it keeps what none of them takes; each access is recorded */
/*
 * u64: a number over all records since it was last written; a write sets it. Each record r changes it to
 * LAB_DIGEST_STEP(LAB_DIGEST_STEP(digest, LAB_DIGEST_HEAD(bar, offset, width, write)), value).
 */
#define LAB_DIGEST        0x0b0
#define LAB_SCRATCH       0x100 /* 0x100..0x1ff: plain read/write bytes, any width */
#define LAB_SCRATCH_BYTES 0x100

#define LAB_MAGIC_VALUE   0x3142414cu /* "LAB1" */
#define LAB_VERSION_VALUE 4u

/*
 * An offset of BAR0 where nothing is, a write to a read-only register and a write to LAB_COMMAND that is not 4
 * bytes wide fail in the device: reads give ones, writes are dropped, and BAR_STATS counts a callback failure.
 */

/* A trapped read of BAR2, BAR4 or the ROM BAR gives, byte by byte, this function of the byte's BAR offset. */
#define LAB_HOLE_BYTE(offset)         ((unsigned char)((((offset) >> 12) * 0x1d) ^ ((offset)*7) ^ 0x5a))

#define LAB_DIGEST_STEP(digest, word) (((digest) ^ (word)) * 0x100000001b3ull)
#define LAB_DIGEST_HEAD(bar, offset, width, write)                          \
    ((uint64_t)(offset) ^ (uint64_t)(bar) << 48 ^ (uint64_t)(width) << 52 ^ \
     (uint64_t)((write) ? 1 : 0) << 63)

/* Section indices for LAB_CMD_SECTION_GET. */
#define LAB_SECTION_MAIN \
    0 /* BAR2's size; its page p lies behind BAR2 page p in the initial ranges */
#define LAB_SECTION_ALT  1 /* the same size */
#define LAB_SECTION_BAR4 2 /* the physical window, when configured */

/*
 * Pattern that fill commands write: the 8-byte word at byte offset o of a section. At the start the first and
 * the last 8 words of every page of section MAIN hold LAB_PATTERN(1, o), of ALT LAB_PATTERN(2, o); the words
 * between are 0.
 */
#define LAB_PATTERN(seed, o) \
    (((uint64_t)(seed)*0x9e3779b97f4a7c15ull) ^ ((uint64_t)(o)*0xbf58476d1ce4e5b9ull))

enum lab_command {
    /*
     * hv_mmio_range_create. args: device selector (0 self, 1 unknown device), bar, bar_page, page_count,
     * flags, section handle, section_page.
     */
    LAB_CMD_RANGE_CREATE = 1,
    LAB_CMD_RANGE_DESTROY = 2, /* device selector, bar, bar_page */
    LAB_CMD_RANGE_QUERY =
        3, /* device selector, bar, bar_page -> first page, pages, section page, flags,
                                  section id, type, live, 4K leaves, 2M leaves, 1G leaves */
    LAB_CMD_SECTION_GET = 4, /* index -> handle (the lab's own), pages, section id */
    LAB_CMD_SECTION_CREATE =
        5, /* access, bytes, protect, attributes, backing kind (0 none, 1 physical,
                                   2 module), base, backing bytes or module -> handle */
    LAB_CMD_HANDLE_CLOSE = 6, /* handle */
    /* kind (0 auto-reset, 1 counting), 1: each signal runs the command of ON_SIGNAL, else 0 -> handle */
    LAB_CMD_EVENT_CREATE = 7,
    LAB_CMD_SECTION_READ = 8,      /* handle, byte offset (8-aligned) -> u64 */
    LAB_CMD_SECTION_WRITE = 9,     /* handle, byte offset (8-aligned), u64 */
    LAB_CMD_SECTION_FILL = 10,     /* handle, byte offset, bytes (both 8-aligned), seed */
    LAB_CMD_SECTION_CHECKSUM = 11, /* handle, byte offset, bytes -> FNV-1a 64 */
    LAB_CMD_TRAP_GET =
        12, /* sequence number (0 = first ever, only the last LAB_TRAP_LOG are kept) ->
                                   bar, offset, width, value (the first 8 bytes), 1 if write,
                                   FNV-1a 64 of all bytes when there are more than 8, else 0 */
    LAB_CMD_BAR_STATS = 13, /* bar -> bytes now, base, decoded, ranges, direct pages, trapped reads,
                                   trapped writes, callback failures, bytes at its largest,
                                   writes that doorbells took */
    LAB_CMD_LEAF = 14, /* gpa -> present, rights (1 R, 2 W, 4 X), type, IPAT, level, the entry's
                                   bits without its frame */
    LAB_CMD_EFFECTIVE_TYPE =
        15, /* gva -> mapped, effective, leaf type, IPAT, PAT index, PAT type, CD, level, MTRR
                                   type of the frame or LAB_NO_MTRR, the bits of the guest's entry
                                   that choose the PAT entry: PWT | PCD << 1 | PAT << 2 (0: no paging) */
    LAB_CMD_CAPS = 16, /* -> LAB_CAP_* bits, physical address bits */
    /*
     * -> free frames, table pages, ledger mappings, sections, ranges; views, I/O mappings and apertures of the
     * whole hypervisor; apertures of the lab; doorbells of the lab; events of the whole hypervisor
     */
    LAB_CMD_TOTALS = 17,
    LAB_CMD_HASH = 18, /* -> hash of tables and range records */
    LAB_CMD_VM_STATS =
        19, /* -> exits, trapped reads, trapped writes, spurious, unclaimed, unsupported,
                                   flushes, second-level faults */
    LAB_CMD_BENCH = 20, /* LAB_BENCH_*, repetitions -> ticks of the last repetition, an empty pair
                                   subtracted */
    LAB_CMD_RANGE_STATS =
        21, /* device selector, bar, bar_page -> trapped writes to the read-only range, its
                                   pages that are direct now */

    /* ---- more on ranges ---- */

    LAB_CMD_RANGE_UNMAP = 22, /* hv_mmio_range_unmap. device selector, bar, bar_page, page_count */
    /*
     * hv_mmio_range_batch works on the lab's table of LAB_BATCH_OPS ops, which keeps its content. Kinds: 1 create,
     * 2 unmap, 3 destroy. Index or count past the table: HV_E_OUT_OF_RANGE.
     *
     * BATCH_OP, one op: index, kind, bar, bar_page, page_count, flags, section handle, section_page.
     * BATCH_FILL, many: index of the first, how many, kind, bar, bar_page of the first, step from one to the next,
     * page_count of each, flags, section handle, section_page of the first, step from one to the next.
     * BATCH: device selector, count of ops from index 0, flags (1 atomic) -> done. RESULT(0) is written also when
     * the batch fails: how many ops stay, LAB_NONE_DONE when the call itself was refused before the first op.
     */
    LAB_CMD_BATCH_OP = 23,
    LAB_CMD_BATCH_FILL = 24,
    LAB_CMD_BATCH = 25,

    /* ---- more on sections ---- */

    /*
     * SECTION_CREATE with a name: the same seven, then the number n of the name "lab.n" (decimal, 32 bits) ->
     * handle, 1 if an object was there already (attribute OPEN_IF; told only with the right to query).
     */
    LAB_CMD_SECTION_CREATE_NAMED = 26,
    LAB_CMD_SECTION_OPEN = 27, /* access, number of the name -> handle */
    /*
     * handle -> bytes, protect, attributes, default type, handles, ranges, views, committed pages, 1 if this handle
     * opened what was there
     */
    LAB_CMD_SECTION_QUERY = 28,
    LAB_CMD_SECTION_COMMIT = 29, /* handle, page, count */

    /* ---- the hypervisor's own addresses: views, I/O space, apertures ---- */

    /*
     * What the lab maps goes into one table of LAB_MAPPINGS places and is named by its index there: the lowest free
     * place. All full: HV_E_QUOTA. Where an index is an argument and nothing is at that place: HV_E_NOT_FOUND.
     *
     * VIEW_MAP, hv_section_map_view with all its arguments in its own order: section handle, space (0: the
     * hypervisor's, else the number itself as a handle), base (0: anywhere), zero_bits, commit_size, section_offset,
     * view_size, inherit (1 or 2), allocation_type, protect -> index, address, offset, bytes.
     * VIEW_UNMAP, hv_section_unmap_view: index, byte offset that is added to the address (must lie inside the mapping,
     * else HV_E_OUT_OF_RANGE). The index of an I/O mapping or an aperture is passed on: HV_E_NOT_MAPPED.
     */
    LAB_CMD_VIEW_MAP = 30,
    LAB_CMD_VIEW_UNMAP = 31,
    LAB_CMD_IO_MAP = 32,   /* host-physical address, bytes, protect -> index, address & 0xfff */
    LAB_CMD_IO_UNMAP = 33, /* index, bytes, byte offset that is added to the address */
    /* device selector, gpa, bytes, write_protected -> index, address & 0xfff */
    LAB_CMD_APERTURE_CREATE = 34,
    /* device selector, index, byte offset that is added to the address */
    LAB_CMD_APERTURE_DESTROY = 35,
    /*
     * One access of 1, 2, 4 or 8 bytes (else _3) to what is mapped at an index; offsets count from the address that the
     * map call returned. HV_E_NOT_FOUND; HV_E_OUT_OF_RANGE: not inside; HV_E_MAPPED_ALIGNMENT: address + offset not a
     * multiple of the width; HV_E_ACCESS_DENIED: the hypervisor's own tables have no page there (NOACCESS, not
     * committed) or one that cannot be written. So no command makes the hypervisor fault.
     */
    LAB_CMD_MAPPING_READ = 36,     /* index, offset, width -> value */
    LAB_CMD_MAPPING_WRITE = 37,    /* index, offset, width, value */
    LAB_CMD_MAPPING_FILL = 38,     /* index, offset, bytes (8-byte words), seed: as SECTION_FILL */
    LAB_CMD_MAPPING_CHECKSUM = 39, /* index, offset, bytes (likewise) -> FNV-1a 64 */
    /* index, offset -> the hypervisor's own translation: present, rights (1 R, 2 W, 4 X), type, level */
    LAB_CMD_MAPPING_LEAF = 40,

    /* ---- guest memory, pause ---- */

    /*
     * GUEST_READ, hv_guest_memory_read: device selector, gpa, bytes (32 bits; more than LAB_BUFFER_BYTES:
     * HV_E_OUT_OF_RANGE) -> the first 8 bytes (as many as there are, the rest 0), FNV-1a 64 of all.
     * GUEST_WRITE, hv_guest_memory_write: device selector, gpa, bytes, value: up to 8 bytes are the low ones of the
     * value, others LAB_PATTERN(value, o) with o the offset of an 8-byte word from gpa.
     */
    LAB_CMD_GUEST_READ = 41,
    LAB_CMD_GUEST_WRITE = 42,
    /*
     * PAUSE: depth (0..LAB_PAUSE_DEPTH, else _1), timeout in microseconds (0: none), count of ops, batch flags.
     * Pauses the VPs `depth` times, runs the batch if the count is not 0, and resumes as often as it paused, all
     * inside this command: a guest that stayed paused could not resume itself. -> what the batch has as RESULT(0)
     * (LAB_NONE_DONE without one), pauses done, resumes done; all three are written also on failure. Status: of the
     * first of these calls that failed. Depth LAB_PAUSE_FOR_GOOD: one pause without a resume, which ends the VM.
     * RESUME: one hv_vm_resume_vps: HV_E_INVALID_STATE, as nothing is paused.
     */
    LAB_CMD_PAUSE = 43,
    LAB_CMD_RESUME = 44,

    /* ---- events and doorbells ---- */

    LAB_CMD_EVENT_TAKE = 45,   /* handle -> how many signals there were */
    LAB_CMD_EVENT_SIGNAL = 46, /* handle */
    /*
     * The command that the callbacks of events run from now on, 0: none; its arguments (11) -> how often the one before
     * was asked for, status of its last run, RESULT(0) of that. A callback does not run inside another, but counts. The
     * results of the command under way stay.
     */
    LAB_CMD_ON_SIGNAL = 47,
    LAB_CMD_DOORBELL_REGISTER = 48,   /* device selector, bar, offset, value, flags, event handle */
    LAB_CMD_DOORBELL_UNREGISTER = 49, /* device selector, bar, offset, value, flags */
    /*
     * hv_bar_set_access_bytes: device selector, bar, bytes. The lab has made its own choice when it started: BAR4
     * takes accesses of up to 64 bytes whole, the ROM BAR of up to 16, the others of up to 8.
     */
    LAB_CMD_ACCESS_BYTES = 50,
    /*
     * How many other devices there shall be on the bus, at most LAB_NEIGHBOURS, else _1: they are added in the lowest
     * free slots, and go again, the last first. Each is of LAB_KIND_PLAIN.
     */
    LAB_CMD_NEIGHBOURS = 51,

    /* ---- interrupts, and devices that come and go ---- */

    LAB_CMD_RAISE = 52, /* hv_interrupt_raise: device selector, vector */
    LAB_CMD_MSI = 53,   /* hv_guest_msi_deliver: device selector, address, data */
    /*
     * hv_device_add: the model's name in two words, 16 characters, the first in the lowest byte, 0 behind the last; slot << 8 |
     * function, or LAB_PLACE_ANY; an option, likewise in two words, or 0 -> selector of the device, LAB_SELECTOR_ADDED and
     * up. No place in the lab's table of LAB_DEVICES: HV_E_QUOTA.
     */
    LAB_CMD_DEVICE_ADD = 54,
    LAB_CMD_DEVICE_REMOVE = 55, /* hv_device_destroy: device selector */
    LAB_CMD_DEVICE_SEEN = 56,   /* selector of a neighbour, else HV_E_NOT_FOUND -> LAB_SEEN_* */
};

#define LAB_NONE_DONE         (~0ull)
#define LAB_BATCH_OPS         128u
#define LAB_IO_WINDOW         (1ull << 63) /* IO_MAP: what is added counts from section 2's first byte */
#define LAB_MAPPINGS          1088u        /* more than a device may have apertures (1024) */
#define LAB_BUFFER_BYTES      0x2000u
#define LAB_PAUSE_DEPTH       16u
#define LAB_PAUSE_FOR_GOOD    (~0ull)
#define LAB_ROM_BYTES         0x10000u
#define LAB_NEIGHBOURS        11u
#define LAB_BAR4_ACCESS_BYTES 64u
#define LAB_ROM_ACCESS_BYTES  16u

#define LAB_SELECTOR_ADDED    0x100u
#define LAB_DEVICES           64u
#define LAB_PLACE_ANY         (~0ull)
#define LAB_MSI_VECTORS       16u /* that the lab offers; its PCI Express capability has a reset */

/*
 * The model "neighbour", LAB_VENDOR_ID and LAB_NEIGHBOUR_ID; its option is a kind, which the guest reads as its subsystem. A
 * trapped read gives the offset, but for "io".
 *
 *   plain  six 32-bit BARs of 4 KiB
 *   nvme   BAR0 64 KiB with an MSI-X table and its pending bits, BAR2 16 MiB, BAR4 16 KiB, all 64-bit
 *   io     BAR0, BAR1, BAR2 of 4, 8 and 256 ports, BAR3 of 16 bytes of memory, a ROM of 2 KiB: the first 256 bytes of
 *          each keep what is written
 *   huge   BAR0 64 GiB, 64-bit
 *   w1c    BAR0 4 KiB; in config space LAB_W1C_REGISTER, all ones at first, whose bits are cleared by writing 1, and behind it
 *          LAB_W1C_PLAIN, 0 at first, which keeps what is written; D3hot
 *   cmb    BAR0 64 KiB, BAR2 16 MiB: a drive's controller memory buffer, WRITEABLE, with a ring of LAB_CMB_ENTRIES at its
 *          start. A write of 4 bytes to LAB_CMB_DOORBELL, which is a doorbell of the device, or of any length to
 *          LAB_CMB_TRAPPED, which is not, makes it fetch the next entry, and as many bytes of data from where LAB_CMB_DATA_WORD
 *          of the entry says, a multiple of them. BAR0 begins with what it fetched last: entry, data
 *
 * nvme, huge, w1c and cmb are PCI Express with function-level reset.
 */
#define LAB_KIND_PLAIN      0
#define LAB_KIND_NVME       1
#define LAB_KIND_IO         2
#define LAB_KIND_HUGE       3
#define LAB_KIND_W1C        4
#define LAB_KIND_CMB        5

#define LAB_NVME_TABLE      0x5200u
#define LAB_NVME_PENDING    0xd600u
#define LAB_NVME_VECTORS    129u
#define LAB_W1C_REGISTER    0xc0u
#define LAB_W1C_PLAIN       0xc4u
#define LAB_CMB_BYTES       0x1000000u
#define LAB_CMB_ENTRIES     1024u
#define LAB_CMB_ENTRY_BYTES 64u
#define LAB_CMB_DATA_WORD   3u /* of 8 bytes */
#define LAB_CMB_DOORBELL    0x1000u
#define LAB_CMB_TRAPPED     0x1008u

/* What its callbacks saw: how many accesses, and the last one. */
#define LAB_SEEN_READS           0
#define LAB_SEEN_WRITES          1
#define LAB_SEEN_BAR             2
#define LAB_SEEN_OFFSET          3
#define LAB_SEEN_LENGTH          4
#define LAB_SEEN_VALUE           5 /* of the last write */
#define LAB_SEEN_CONFIG          6 /* writes to config space, those to dwords of the core's too */
#define LAB_SEEN_CONFIG_OFFSET   7 /* and byte enables, from bit 32 on */
#define LAB_SEEN_CONFIG_VALUE    8
#define LAB_SEEN_RESETS          9

#define LAB_TRAP_LOG             64u /* TRAP_GET of anything older or not yet recorded: HV_E_NOT_FOUND */

#define LAB_CAP_IGNORE_PAT       0x01u
#define LAB_CAP_LARGE_2M         0x02u
#define LAB_CAP_LARGE_1G         0x04u
#define LAB_CAP_LARGE_EXEC       0x08u /* executable leaves may be large */
#define LAB_CAP_EXEC_ONLY        0x10u
#define LAB_CAP_AD               0x20u
#define LAB_CAP_NPT              0x40u /* second-level tables in AMD's format; else EPT */

#define LAB_NO_MTRR              0xffu /* no MTRR plays a part in the type of an access */

#define LAB_BENCH_MAP_1_PAGE     1 /* BAR2, into a hole */
#define LAB_BENCH_UNMAP_1_PAGE   2
#define LAB_BENCH_MAP_1_GIB_2M   3 /* BAR4 must be configured */
#define LAB_BENCH_UNMAP_1_GIB_2M 4
/* 2 MiB leaves need a BAR4 of 2 GiB or more: one of 1 GiB may get a single 1 GiB leaf. */
#define LAB_BENCH_MAP_1_GIB_1G       5 /* BAR4 of 1 GiB or more, its window and base on 1 GiB */
#define LAB_BENCH_MAP_512_PAGES_4K   6 /* BAR2, NO_LARGE */
#define LAB_BENCH_REPLACE_1_PAGE     7 /* BAR2, a page of main by one of alt */
#define LAB_BENCH_UNMAP_MIDDLE_OF_2M 8 /* BAR2, one page out of a 2 MiB leaf */
#define LAB_BENCH_BATCH_64_REPLACE   9 /* BAR2, atomic: 64 pages with gaps, main to alt or back */
/* The number of other one-page ranges in the BAR: in BAR4, which must be empty and have 128 MiB or more. */
#define LAB_BENCH_MAP_WITH_100_RANGES     10
#define LAB_BENCH_UNMAP_WITH_100_RANGES   11
#define LAB_BENCH_MAP_WITH_10000_RANGES   12
#define LAB_BENCH_UNMAP_WITH_10000_RANGES 13
#define LAB_BENCH_TOGGLE_1000_RANGES      14 /* memory decode of the lab off and on, that many in BAR4 */
#define LAB_BENCH_APERTURE_CREATE         15 /* one page at the start of guest RAM */
#define LAB_BENCH_VIEW_MAP_1_PAGE         16 /* of alt */
#define LAB_BENCH_PAGE \
    (LAB_SMALL_PAGE(39u) + 2u) /* the hole of BAR2 that the 1-page benchmarks use */
#define LAB_BENCH_MAX 1000000u /* repetitions, from 1 */

/*
 * Initial ranges in BAR2. Type numbers t = 0..4 are UC WC WT WP WB; rights r = 0..3 are R, RW, RX, RWX
 * (HV_MMIO flags r); i = 0, 1 is IGNORE_GUEST_PAT (ranges with i = 1 are left out where the CPU lacks it).
 *
 *   small   slot n = (t * 4 + r) * 2 + i, n = 0..39: BAR2 pages 4n and 4n+1; pages 4n+2, 4n+3 are holes
 *   large   slot m = t * 2 + i, m = 0..9: rights RW, BAR2 pages 512 * (m + 1) .. + 511: one 2 MiB leaf
 *   larger  BAR2 pages 512 * 12 .. 512 * 14 + 0: 4 MiB and one page, WB, RW: two 2 MiB leaves and one 4 KiB
 *   apart   BAR2 pages 512 * 16 - 1 .. 512 * 16 + 1: RW, WB, across a 2 MiB border in 4 KiB leaves
 *   the last page of the BAR: RW, WB
 * Every other page is a hole; LAB_MEMORY_PAGES of them behave like memory: they start with what every hole reads and
 * keep what is written. Pages 512 * 20 and up to the last one are free for a guest's own ranges.
 */
#define LAB_SMALL_SLOTS   40u
#define LAB_SMALL_PAGE(n) (4u * (n))
#define LAB_SMALL_PAGES   2u
#define LAB_LARGE_SLOTS   10u
#define LAB_LARGE_PAGE(m) (512u * ((m) + 1u))
#define LAB_LARGE_PAGES   512u
#define LAB_LARGER_PAGE   (512u * 12u)
#define LAB_LARGER_PAGES  1025u
#define LAB_APART_PAGE    (512u * 16u - 1u)
#define LAB_APART_PAGES   3u
#define LAB_BAR2_PAGES    16384u
#define LAB_LAST_PAGE     (LAB_BAR2_PAGES - 1u)
#define LAB_MEMORY_PAGE   (512u * 18u)
#define LAB_MEMORY_PAGES  4u
#define LAB_FREE_PAGE     (512u * 20u)

#endif
