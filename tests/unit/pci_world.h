/*
 * Owns:     the stage of the tests of hv/pci: a VM, a bus, and devices that record what is asked of them.
 * Promises: world_close() fails the test when anything is left: records, tables, ledger entries, sections.
 * Needs:    tests/fake/.
 * Never:    two worlds at once.
 */
#ifndef TESTS_UNIT_PCI_WORLD_H
#define TESTS_UNIT_PCI_WORLD_H

#include "tests/fake/host.h"

#include "hv/pci/bus.h"
#include "tests/fake/vm.h"

#define WORLD_PROBES  3u
#define WORLD_REGIONS 1u /* in the map of regions besides BARs: config space */

/* A device whose BARs and answers the test chooses before probe_create(). */
struct probe {
    struct hv_device *device;
    uint32_t probed[HV_BAR_COUNT];
    hv_status_t initialize, configure, details, start, access; /* what the callbacks answer */
    uint32_t read_fill;                                        /* a byte for trapped reads */
    uint32_t caps_pointer;
    void (*in_initialize)(struct probe *probe);
    void (*in_configure)(struct probe *probe);
    void (*in_start)(struct probe *probe);
    void (*in_stop)(struct probe *probe);
    void (*in_teardown)(struct probe *probe);
    void (*in_write)(struct probe *probe);
    void (*in_reset)(struct probe *probe);
    /* what was seen */
    unsigned initialized, configured, started, stopped, torn_down, reads, writes, resets;
    uint32_t string_count;
    enum hv_bar last_bar;
    uint64_t last_offset, last_length, last_value;
    uint8_t last_bytes[64];
    uint32_t config_reads, config_writes, config_offset, config_value;
    uint32_t config_word; /* the dword at 0x40 */
};

struct world {
    struct vm vm;
    struct hv_device_host *host;
    struct probe probe[WORLD_PROBES];
    uint64_t slabs, frames, blocks, views;
};

extern struct world world;

/* cmocka set-up and tear-down. */
int world_open(void **state);
int world_close(void **state);

/* What get_details() answers for a memory BAR. */
void probe_bar64(struct probe *probe, enum hv_bar bar, uint64_t bytes);
void probe_bar32(struct probe *probe, enum hv_bar bar, uint32_t bytes);

extern const struct hv_device_ops probe_ops;
hv_status_t probe_try_create(struct probe *probe);
hv_status_t probe_create_at(struct probe *probe, unsigned slot, unsigned function);
/* A probe with BAR0 of 256 bytes (32-bit) and BAR2 of 8 MiB (64-bit), unless BARs were chosen. */
struct hv_device *probe_create(struct probe *probe);

/* Config space through the ports, `bytes` at `offset`. */
uint32_t config_read(unsigned slot, uint32_t offset, unsigned bytes);
void config_write(unsigned slot, uint32_t offset, unsigned bytes, uint32_t value);
void decode(struct probe *probe, bool on);
/* Both dwords of a 64-bit BAR, or the one of a 32-bit BAR or the ROM BAR (with its enable bit). */
void move_bar(struct probe *probe, enum hv_bar bar, uint64_t base);
uint64_t bar_base(const struct probe *probe, enum hv_bar bar);

/* Who answers at a guest-physical address: the probe whose read counter moves, or NULL. */
struct probe *who_answers(uint64_t gpa);

/* An anonymous section with 8-byte word o of page p = p << 32 | o, for the first and last word of a page. */
hv_handle_t make_section(uint64_t pages, uint32_t protect, uint32_t attributes);
hv_handle_t make_window(hpa_t base, uint64_t pages);
uint64_t section_word(uint64_t page, uint64_t offset);

/* Everything that a failed call must leave alone. */
struct world_state {
    uint64_t hash, mappings, tables, records, sections, views, stores, flushes;
};
struct world_state world_state(void);
#define assert_unchanged(before)                             \
    do {                                                     \
        struct world_state now_ = world_state();             \
        assert_memory_equal(&now_, &(before), sizeof(now_)); \
    } while (0)

#endif
