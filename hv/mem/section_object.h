/*
 * Owns:     the inside of a section, for the files of hv/mem that share it.
 * Promises: what has no lock named below never changes while the section lives.
 * Needs:    section_lock.
 * Never:    included outside hv/mem and its tests.
 */
#ifndef HV_MEM_SECTION_OBJECT_H
#define HV_MEM_SECTION_OBJECT_H

#include "hv/mem/backing.h"
#include "hv/mem/ledger.h"
#include "hv/mem/section.h"

struct section {
    struct section_facts facts;
    struct backing backing;    /* of a reserved section, its extents have a lock: section_lock */
    struct ledger types;       /* of an anonymous section, by section page. Lock: section_lock */
    struct mapping *mappings;  /* of a reserved section, all of them. Lock: section_lock */
    struct section *name_next; /* other names of the bucket. Lock: section_lock */
    uint32_t id;
    uint32_t protect;
    uint32_t attributes;
    uint32_t allowed; /* access that the protection lets anybody ask for */
    uint32_t handles; /* these four keep it alive. Lock: section_lock */
    uint32_t ranges;
    uint32_t views;
    uint32_t commits; /* that run now */
    char name[HV_SECTION_NAME_BYTES];
};

/* Both with section_lock held. */

/* What a handle names. HV_E_INVALID_HANDLE, HV_E_OBJECT_TYPE, HV_E_ACCESS_DENIED: see section_ref(). */
hv_status_t section_of_handle(hv_handle_t handle, uint32_t access,
                              struct section **section) MUST_CHECK;

/* Releases section_lock, after a count of the section went down: the last one takes the section with it. */
void section_unlock_unused(struct section *section);

#endif
