/*
 * Owns:     the lab device: a PCI device through which a guest calls the device-host API and reads what
 *           the hypervisor counts and maps.
 * Promises: every command is one API call with the guest's arguments, unchecked but for their width, so that
 *           the guest tests the API itself.
 * Needs:    hv/pci/device.h, hv/pci/inspect.h, lab_regs.h.
 * Never:    on a machine whose guest is not trusted: it creates sections over any device window.
 *
 * One per machine: a second one's initialize is HV_E_BUSY.
 *
 * Options (words of the configuration's `device` line):
 *   bar4=<MiB>      BAR4, resizable from 1 MiB to that size (a power of two)
 *   window=<hex>    a physical window that starts here becomes section 2
 *   window_bytes=<hex>  its size; without it the window is as large as BAR4
 */
#ifndef DRIVERS_VIRTUAL_LAB_H
#define DRIVERS_VIRTUAL_LAB_H

#include "drivers/virtual/lab_regs.h"
#include "hv/pci/device.h"

/* ---- shared by lab*.c ---- */

#define LAB_ARGS         12u
#define LAB_RESULTS      10u
#define LAB_SECTIONS     3u
#define LAB_HANDLES      128u /* handles that the guest may have open */
#define LAB_MARKED_BYTES 64u  /* at each end of a page that has the initial pattern */

struct lab_trap {
    uint64_t offset;
    uint64_t value;    /* the first 8 bytes */
    uint64_t checksum; /* of all of them when there are more, else 0 */
    uint8_t bar;
    uint8_t width;
    bool write;
};

enum lab_mapped { LAB_MAPPED_NOTHING, LAB_MAPPED_VIEW, LAB_MAPPED_IO, LAB_MAPPED_APERTURE };

/* What the lab mapped into the hypervisor's space for the guest. */
struct lab_mapping {
    enum lab_mapped kind; /* NOTHING: a free place */
    uint8_t *address;     /* as it was returned */
    uint64_t bytes;
};

/* The command that the callback of the guest's events runs. */
struct lab_hook {
    uint32_t command; /* 0: none */
    uint64_t arg[LAB_ARGS - 1];
    uint64_t runs;
    hv_status_t status; /* of the last run */
    uint64_t result;    /* its first */
    bool is_running;
};

struct lab {
    struct hv_device *device;
    struct hv_device *added[LAB_DEVICES]; /* by DEVICE_ADD; NULL: free place */
    struct hv_device *neighbour[LAB_NEIGHBOURS];
    unsigned neighbours;               /* how many there are */
    hv_handle_t section[LAB_SECTIONS]; /* LAB_SECTION_*; 0: not there */
    hv_handle_t handle[LAB_HANDLES];   /* made by the guest's commands; 0: free place */
    uint64_t bar4_bytes;
    uint64_t window, window_bytes;
    bool has_window;
    bool has_ranges; /* the initial ranges were made */
    hv_status_t status;
    uint64_t arg[LAB_ARGS];
    uint64_t result[LAB_RESULTS];
    struct lab_hook hook;
    uint64_t doorbell; /* what no doorbell took */
    uint64_t traps, digest;
    struct lab_trap trap[LAB_TRAP_LOG];
    uint8_t scratch[LAB_SCRATCH_BYTES];
    uint8_t memory[LAB_MEMORY_PAGES * PAGE_BYTES]; /* what differs from a hole's bytes */
    struct hv_mmio_op op[LAB_BATCH_OPS];
    struct lab_mapping mapping[LAB_MAPPINGS];
    uint8_t buffer[LAB_BUFFER_BYTES]; /* for copies from and to the guest */
};

/* Take over one word of the configuration. False: it is not understood. */
bool lab_parse_option(struct lab *lab, const char *option);

/* Carry out a command: sets lab->status, and lab->result[] when it succeeds. */
void lab_command(struct lab *lab, uint32_t command);

/*
 * A section's bytes get LAB_PATTERN(seed, offset). Offset and bytes are multiples of 8. HV_E_NOT_MAPPED: a page of them
 * has no frame, nothing was written.
 */
hv_status_t lab_fill(struct section *section, uint64_t offset, uint64_t bytes, uint64_t seed);

/* FNV-1a (64 bit) over the bytes. */
uint64_t lab_checksum(const void *bytes, uint64_t count);

/* Unmap whatever the guest's commands mapped: tear-down. */
void lab_unmap_all(struct lab *lab);

#endif
