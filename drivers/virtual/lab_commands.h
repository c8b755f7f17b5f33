/*
 * Owns:     what the files of the lab's commands share: fetching arguments, the list of commands.
 * Promises: a command fetches its arguments, makes one call with them, and stores what came back as results; it
 *           returns that call's status.
 * Needs:    drivers/virtual/lab.h, hv/pci/inspect.h.
 * Never:    a check that the call itself makes.
 */
#ifndef DRIVERS_VIRTUAL_LAB_COMMANDS_H
#define DRIVERS_VIRTUAL_LAB_COMMANDS_H

#include "drivers/virtual/lab.h"
#include "hv/base/string.h"
#include "hv/pci/inspect.h"

/* ---- arguments: registers have 64 bits; a value too wide for its parameter must not become a legal one ---- */

#define LAB_SELECTOR_SELF 0u

/* A selector that stands for nothing is something that is no device: the API must tell without following the pointer. */
static inline struct hv_device *device_arg(const struct lab *lab, unsigned i)
{
    static const uint64_t not_a_device;

    if (lab->arg[i] == LAB_SELECTOR_SELF)
        return lab->device;
    if (lab->arg[i] - LAB_SELECTOR_ADDED < LAB_DEVICES &&
        lab->added[lab->arg[i] - LAB_SELECTOR_ADDED])
        return lab->added[lab->arg[i] - LAB_SELECTOR_ADDED];
    return (struct hv_device *)(uintptr_t)&not_a_device;
}

static inline enum hv_bar bar_arg(const struct lab *lab, unsigned i)
{
    return (enum hv_bar)MIN(lab->arg[i], (uint64_t)HV_BAR_COUNT);
}

static inline uint32_t u32_arg(const struct lab *lab, unsigned i)
{
    return lab->arg[i] > UINT32_MAX ? UINT32_MAX : (uint32_t)lab->arg[i];
}

static inline hv_handle_t handle_arg(const struct lab *lab, unsigned i)
{
    return lab->arg[i] > UINT32_MAX ? 0 : (hv_handle_t)lab->arg[i];
}

/* Where a new handle is remembered, so that tear-down can close it. NULL: no place. */
hv_handle_t *lab_free_handle(struct lab *lab);

/* ---- the commands, as lab_regs.h describes them ---- */

hv_status_t lab_range_create(struct lab *lab) MUST_CHECK;
hv_status_t lab_range_destroy(struct lab *lab) MUST_CHECK;
hv_status_t lab_range_query(struct lab *lab) MUST_CHECK;
hv_status_t lab_range_stats(struct lab *lab) MUST_CHECK;
hv_status_t lab_range_unmap(struct lab *lab) MUST_CHECK;
hv_status_t lab_batch_op(struct lab *lab) MUST_CHECK;
hv_status_t lab_batch_fill(struct lab *lab) MUST_CHECK;
hv_status_t lab_batch(struct lab *lab) MUST_CHECK;
hv_status_t lab_pause(struct lab *lab) MUST_CHECK;
hv_status_t lab_resume(struct lab *lab) MUST_CHECK;

hv_status_t lab_section_get(struct lab *lab) MUST_CHECK;
hv_status_t lab_section_create(struct lab *lab) MUST_CHECK;
hv_status_t lab_section_create_named(struct lab *lab) MUST_CHECK;
hv_status_t lab_section_open(struct lab *lab) MUST_CHECK;
hv_status_t lab_section_query(struct lab *lab) MUST_CHECK;
hv_status_t lab_section_commit(struct lab *lab) MUST_CHECK;
hv_status_t lab_section_read(struct lab *lab) MUST_CHECK;
hv_status_t lab_section_write(struct lab *lab) MUST_CHECK;
hv_status_t lab_section_fill(struct lab *lab) MUST_CHECK;
hv_status_t lab_section_checksum(struct lab *lab) MUST_CHECK;
hv_status_t lab_handle_close(struct lab *lab) MUST_CHECK;

hv_status_t lab_event_create(struct lab *lab) MUST_CHECK;
hv_status_t lab_event_take(struct lab *lab) MUST_CHECK;
hv_status_t lab_event_signal(struct lab *lab) MUST_CHECK;
hv_status_t lab_on_signal(struct lab *lab) MUST_CHECK;
hv_status_t lab_doorbell_register(struct lab *lab) MUST_CHECK;
hv_status_t lab_doorbell_unregister(struct lab *lab) MUST_CHECK;
hv_status_t lab_neighbours(struct lab *lab) MUST_CHECK;
hv_status_t lab_access_bytes(struct lab *lab) MUST_CHECK;
hv_status_t lab_raise(struct lab *lab) MUST_CHECK;
hv_status_t lab_message(struct lab *lab) MUST_CHECK;
hv_status_t lab_device_add(struct lab *lab) MUST_CHECK;
hv_status_t lab_device_remove(struct lab *lab) MUST_CHECK;
hv_status_t lab_device_seen(struct lab *lab) MUST_CHECK;

hv_status_t lab_view_map(struct lab *lab) MUST_CHECK;
hv_status_t lab_view_unmap(struct lab *lab) MUST_CHECK;
hv_status_t lab_io_map(struct lab *lab) MUST_CHECK;
hv_status_t lab_io_unmap(struct lab *lab) MUST_CHECK;
hv_status_t lab_aperture_create(struct lab *lab) MUST_CHECK;
hv_status_t lab_aperture_destroy(struct lab *lab) MUST_CHECK;
hv_status_t lab_mapping_read(struct lab *lab) MUST_CHECK;
hv_status_t lab_mapping_write(struct lab *lab) MUST_CHECK;
hv_status_t lab_mapping_fill(struct lab *lab) MUST_CHECK;
hv_status_t lab_mapping_checksum(struct lab *lab) MUST_CHECK;
hv_status_t lab_mapping_leaf(struct lab *lab) MUST_CHECK;
hv_status_t lab_guest_read(struct lab *lab) MUST_CHECK;
hv_status_t lab_guest_write(struct lab *lab) MUST_CHECK;

hv_status_t lab_bench(struct lab *lab) MUST_CHECK;

#endif
