/*
 * Owns:     the handle table: numbers that name objects.
 * Promises: 0 is never a handle; a closed handle stays invalid until 2^18 - 1 later handles were made
 *           (a generation is part of the number), whatever its place in the table is used for.
 * Needs:    slab. Lock: section_lock, held by the caller of every function.
 * Never:    object lifetimes; it stores the pointer and the rights.
 */
#ifndef HV_MEM_HANDLE_H
#define HV_MEM_HANDLE_H

#include "hv/mem/section.h"

struct handle_entry {
    void *object;
    uint32_t access; /* of the object's kind */
    uint8_t kind;    /* enum handle_kind */
    bool existed;    /* the object was there before the handle: opened, not created */
};

/* HV_E_NO_MEMORY: no record, or table full. */
hv_status_t handle_create(const struct handle_entry *entry, hv_handle_t *handle) MUST_CHECK;

/* What a live handle names, or NULL. Valid until the lock is released. */
const struct handle_entry *handle_find(hv_handle_t handle);

/* Forget a live handle. */
void handle_remove(hv_handle_t handle);

uint64_t handle_live_count(void);
void handle_trim(void); /* see section_trim() */

#endif
