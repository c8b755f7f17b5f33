#include "hv/mem/section.h"

#include "hv/base/assert.h"
#include "hv/base/lock.h"
#include "hv/base/string.h"
#include "hv/mem/event.h"
#include "hv/mem/handle.h"
#include "hv/mem/ledger.h"
#include "hv/mem/section_object.h"
#include "hv/mem/slab.h"

#define ACCESS_ALL                                                              \
    ((uint32_t)(HV_SECTION_QUERY | HV_SECTION_MAP_WRITE | HV_SECTION_MAP_READ | \
                HV_SECTION_MAP_EXECUTE | HV_SECTION_EXTEND))
#define SEC_CACHE ((uint32_t)(HV_SEC_NOCACHE | HV_SEC_WRITECOMBINE))
#define SEC_ALL                                                                         \
    ((uint32_t)(HV_SEC_COMMIT | HV_SEC_RESERVE | HV_SEC_NOCACHE | HV_SEC_WRITECOMBINE | \
                HV_SEC_LARGE_PAGES | HV_SEC_CONTIGUOUS | HV_SEC_OPEN_IF))

#define NAME_BUCKETS 64u
#define NAME_FACTOR  31u

struct ledger hv_ledger;
struct lock section_lock;

static struct slab section_slab = SLAB_INIT("sections", struct section);
static struct section *names[NAME_BUCKETS];
static uint32_t last_id;
static uint64_t live;

/* ---- names; section_lock is held ---- */

static struct section **bucket_of(const char *name)
{
    uint32_t hash = 0;

    while (*name != '\0')
        hash = hash * NAME_FACTOR + (uint8_t)*name++;
    return &names[hash % NAME_BUCKETS];
}

static struct section *find_name(const char *name)
{
    struct section *section = *bucket_of(name);

    while (section != NULL && strcmp(section->name, name) != 0)
        section = section->name_next;
    return section;
}

static void add_name(struct section *section)
{
    struct section **bucket = bucket_of(section->name);

    section->name_next = *bucket;
    *bucket = section;
}

static void remove_name(struct section *section)
{
    struct section **at = bucket_of(section->name);

    while (*at != section)
        at = &(*at)->name_next;
    *at = section->name_next;
}

/* ---- checks ---- */

static bool access_is_legal(uint32_t access)
{
    return access != 0 && (access & ~ACCESS_ALL) == 0;
}

static bool name_is_legal(const char *name)
{
    unsigned bytes = 0;

    while (bytes < HV_SECTION_NAME_BYTES && name[bytes] != '\0')
        bytes++;
    return bytes != 0 && bytes < HV_SECTION_NAME_BYTES;
}

static hv_status_t check_protection(uint32_t protect, uint32_t attributes)
{
    if ((attributes & SEC_CACHE) == SEC_CACHE)
        return HV_E_INVALID_PROTECTION;
    switch (protect) {
    case HV_PAGE_READONLY:
    case HV_PAGE_READWRITE:
    case HV_PAGE_EXECUTE_READ:
    case HV_PAGE_EXECUTE_READWRITE:
        return HV_OK;
    case HV_PAGE_WRITECOPY:
    case HV_PAGE_EXECUTE_WRITECOPY:
        return HV_E_NOT_SUPPORTED;
    default:
        return HV_E_INVALID_PROTECTION;
    }
}

/* What a protection lets anybody ask for. */
static uint32_t access_allowed(uint32_t protect)
{
    uint32_t allowed = ACCESS_ALL & ~(uint32_t)(HV_SECTION_MAP_WRITE | HV_SECTION_MAP_EXECUTE);

    if (protect == HV_PAGE_READWRITE || protect == HV_PAGE_EXECUTE_READWRITE)
        allowed |= HV_SECTION_MAP_WRITE;
    if (protect == HV_PAGE_EXECUTE_READ || protect == HV_PAGE_EXECUTE_READWRITE)
        allowed |= HV_SECTION_MAP_EXECUTE;
    return allowed;
}

static hv_status_t check_size(uint64_t max_size, uint32_t attributes, bool has_backing)
{
    if (max_size == 0 && !has_backing)
        return HV_E_INVALID_PARAMETER_4;
    if ((attributes & HV_SEC_LARGE_PAGES) && !IS_ALIGNED(max_size, LARGE_PAGES * PAGE_BYTES))
        return HV_E_INVALID_PARAMETER_4;
    return HV_OK;
}

/* Only memory of our own can come later. */
static bool attributes_are_legal(uint32_t attributes, bool has_backing)
{
    if ((attributes & ~SEC_ALL) != 0)
        return false;
    if (attributes & HV_SEC_RESERVE)
        return !(attributes & HV_SEC_COMMIT) && !has_backing;
    return attributes & HV_SEC_COMMIT;
}

/* Everything that the arguments alone decide; the order is the header's. */
static hv_status_t check_create(const hv_handle_t *out, uint32_t access, const char *name,
                                uint64_t max_size, uint32_t protect, uint32_t attributes,
                                const struct hv_section_backing *spec, uint64_t *bytes)
{
    hv_status_t status;

    if (out == NULL)
        return HV_E_INVALID_PARAMETER_1;
    if (!access_is_legal(access))
        return HV_E_INVALID_PARAMETER_2;
    if (name != NULL && !name_is_legal(name))
        return HV_E_INVALID_PARAMETER_3;
    status = check_size(max_size, attributes, spec != NULL);
    if (status != HV_OK)
        return status;
    if (!attributes_are_legal(attributes, spec != NULL))
        return HV_E_INVALID_PARAMETER_6;
    status = check_protection(protect, attributes);
    if (status != HV_OK)
        return status;
    if (max_size > HV_SECTION_MAX_BYTES)
        return HV_E_SECTION_TOO_BIG;
    return backing_check(spec, max_size, attributes, bytes);
}

static enum memtype default_type_of(enum backing_origin origin, uint32_t attributes)
{
    if (attributes & HV_SEC_WRITECOMBINE)
        return MEMTYPE_WC;
    if ((attributes & HV_SEC_NOCACHE) || origin == BACKING_PHYSICAL)
        return MEMTYPE_UC;
    return MEMTYPE_WB;
}

/* ---- life ---- */

/* section_lock is held, in this and the next two. One more handle to a section that is there. */
static hv_status_t open_again(struct section *section, uint32_t access, hv_handle_t *handle)
{
    struct handle_entry entry = {
        .object = section, .access = access, .kind = HANDLE_SECTION, .existed = true};
    hv_status_t status = HV_E_ACCESS_DENIED;

    if ((access & ~section->allowed) == 0)
        status = handle_create(&entry, handle);
    section->handles += status == HV_OK;
    return status;
}

/* What a create call finds under its name. HV_E_NOT_FOUND: it has to make the section. */
static hv_status_t use_existing(const char *name, uint32_t access, uint32_t attributes,
                                hv_handle_t *handle)
{
    struct section *found = *name != '\0' ? find_name(name) : NULL;

    if (found == NULL)
        return HV_E_NOT_FOUND;
    return attributes & HV_SEC_OPEN_IF ? open_again(found, access, handle) : HV_E_ALREADY_EXISTS;
}

static hv_status_t enter(struct section *section, uint32_t access, hv_handle_t *handle)
{
    struct handle_entry entry = {.object = section, .access = access, .kind = HANDLE_SECTION};
    hv_status_t status = handle_create(&entry, handle);

    if (status != HV_OK)
        return status;
    if (section->name[0] != '\0')
        add_name(section);
    section->id = ++last_id;
    section->handles = 1;
    __atomic_fetch_add(&live, 1, __ATOMIC_RELAXED);
    return HV_OK;
}

/* A section that nobody knows yet. */
static hv_status_t make(const char *name, uint64_t pages, uint32_t protect, uint32_t attributes,
                        const struct hv_section_backing *spec, struct section **section)
{
    struct backing frames;
    struct section *made;
    hv_status_t status = backing_create(&frames, spec, pages, attributes);

    if (status != HV_OK)
        return status;
    made = slab_alloc(&section_slab);
    if (made == NULL) {
        backing_destroy(&frames);
        return HV_E_NO_MEMORY;
    }
    made->backing = frames;
    made->protect = protect;
    made->attributes = attributes & ~(uint32_t)HV_SEC_OPEN_IF; /* of the call, not of the section */
    made->allowed = access_allowed(protect);
    made->facts = (struct section_facts){
        .pages = pages,
        .default_type = default_type_of(frames.origin, attributes),
        .is_ram = frames.origin != BACKING_PHYSICAL,
        .is_reserved = (attributes & HV_SEC_RESERVE) != 0,
    };
    if (!made->facts.is_reserved)
        made->facts.first_frame = section_frame(made, 0, &made->facts.first_pages);
    if (frames.origin == BACKING_ANONYMOUS) {
        made->facts.ledger = &made->types;
    } else {
        made->facts.ledger = &hv_ledger;
        made->facts.ledger_first = made->facts.first_frame.v >> PAGE_SHIFT;
    }
    memcpy(made->name, name, strlen(name) + 1);
    *section = made;
    return HV_OK;
}

static void unmake(struct section *section)
{
    ASSERT(section->types.mappings == 0);
    backing_destroy(&section->backing);
    slab_free(&section_slab, section);
}

hv_status_t hv_section_create(hv_handle_t *section, uint32_t access, const char *name,
                              uint64_t max_size, uint32_t protect, uint32_t attributes,
                              const struct hv_section_backing *backing)
{
    struct section *made;
    bool is_known = false;
    uint64_t bytes;
    hv_status_t status =
        check_create(section, access, name, max_size, protect, attributes, backing, &bytes);

    if (status != HV_OK)
        return status;
    if (name == NULL)
        name = "";
    lock_acquire(&section_lock);
    status = use_existing(name, access, attributes, section);
    lock_release(&section_lock);
    if (status != HV_E_NOT_FOUND)
        return status;
    status = make(name, pages_of(bytes), protect, attributes, backing, &made);
    if (status != HV_OK)
        return status;
    lock_acquire(&section_lock);
    /* Again: frames were taken without the lock. */
    status = use_existing(name, access, attributes, section);
    if (status == HV_E_NOT_FOUND) {
        status = enter(made, access, section);
        is_known = status == HV_OK;
    }
    lock_release(&section_lock);
    if (!is_known)
        unmake(made);
    return status;
}

static bool is_unused(const struct section *section)
{
    return section->handles == 0 && section->ranges == 0 && section->views == 0 &&
           section->commits == 0;
}

static void destroy_one(struct section *section)
{
    unmake(section);
    __atomic_fetch_sub(&live, 1, __ATOMIC_RELAXED);
}

void section_destroy(struct section *dead)
{
    while (dead != NULL) {
        struct section *next = dead->name_next; /* no other use: its name is gone */

        destroy_one(dead);
        dead = next;
    }
}

void section_unlock_unused(struct section *section)
{
    bool last = is_unused(section);

    lock_release(&section_lock);
    if (last)
        destroy_one(section);
}

hv_status_t hv_section_open(hv_handle_t *section, uint32_t access, const char *name)
{
    struct section *found;
    hv_status_t status = HV_E_NOT_FOUND;

    if (section == NULL)
        return HV_E_INVALID_PARAMETER_1;
    if (!access_is_legal(access))
        return HV_E_INVALID_PARAMETER_2;
    if (name == NULL || !name_is_legal(name))
        return HV_E_INVALID_PARAMETER_3;
    lock_acquire(&section_lock);
    found = find_name(name);
    if (found != NULL)
        status = open_again(found, access, section);
    lock_release(&section_lock);
    return status;
}

hv_status_t hv_handle_close(hv_handle_t handle)
{
    const struct handle_entry *found;
    struct handle_entry entry;
    struct section *section;

    lock_acquire(&section_lock);
    found = handle_find(handle);
    if (found == NULL) {
        lock_release(&section_lock);
        return HV_E_INVALID_HANDLE;
    }
    entry = *found;
    handle_remove(handle);
    if (entry.kind == HANDLE_EVENT) {
        lock_release(&section_lock);
        event_unref(entry.object);
        return HV_OK;
    }
    section = entry.object;
    section->handles--;
    if (section->handles == 0 && section->name[0] != '\0')
        remove_name(section);
    section_unlock_unused(section);
    return HV_OK;
}

hv_status_t section_of_handle(hv_handle_t handle, uint32_t access, struct section **section)
{
    const struct handle_entry *entry = handle_find(handle);

    if (entry == NULL)
        return HV_E_INVALID_HANDLE;
    if (entry->kind != HANDLE_SECTION)
        return HV_E_OBJECT_TYPE;
    if ((access & ~entry->access) != 0)
        return HV_E_ACCESS_DENIED;
    *section = entry->object;
    return HV_OK;
}

hv_status_t hv_section_query(hv_handle_t section, struct hv_section_info *info)
{
    struct section *found;
    hv_status_t status;

    lock_acquire(&section_lock);
    status = section_of_handle(section, HV_SECTION_QUERY, &found);
    if (status == HV_OK && info == NULL)
        status = HV_E_INVALID_PARAMETER_2;
    if (status == HV_OK) {
        info->bytes = found->facts.pages << PAGE_SHIFT;
        info->committed_pages = found->backing.extents.pages;
        info->protect = found->protect;
        info->attributes = found->attributes;
        info->default_type = found->facts.default_type;
        info->handles = found->handles;
        info->ranges = found->ranges;
        info->views = found->views;
        info->existed = handle_find(section)->existed;
        memcpy(info->name, found->name, sizeof(info->name));
    }
    lock_release(&section_lock);
    return status;
}

/* ---- references of ranges and views ---- */

static uint32_t *count_of(struct section *section, enum section_user user)
{
    return user == SECTION_USER_VIEW ? &section->views : &section->ranges;
}

hv_status_t section_ref_locked(hv_handle_t handle, uint32_t access, enum section_user user,
                               struct section **section)
{
    struct section *found;
    hv_status_t status = section_of_handle(handle, access, &found);

    if (status != HV_OK)
        return status;
    if ((access & ~found->allowed) != 0)
        return HV_E_SECTION_PROTECTION;
    (*count_of(found, user))++;
    *section = found;
    return HV_OK;
}

void section_ref_undo(struct section *section, enum section_user user)
{
    ASSERT(*count_of(section, user) != 0);
    (*count_of(section, user))--;
}

hv_status_t section_ref(hv_handle_t handle, uint32_t access, enum section_user user,
                        struct section **section)
{
    hv_status_t status;

    lock_acquire(&section_lock);
    status = section_ref_locked(handle, access, user, section);
    lock_release(&section_lock);
    return status;
}

void section_ref_again(struct section *section, enum section_user user)
{
    ASSERT(*count_of(section, user) != 0);
    (*count_of(section, user))++;
}

void section_ref_more(struct section *section, enum section_user user, uint64_t count)
{
    ASSERT(*count_of(section, user) != 0);
    *count_of(section, user) += (uint32_t)count;
}

void section_unref_locked(struct section *section, enum section_user user, uint64_t count,
                          struct section **dead)
{
    ASSERT(*count_of(section, user) >= count);
    *count_of(section, user) -= (uint32_t)count;
    if (UNLIKELY(is_unused(section))) {
        section->name_next = *dead;
        *dead = section;
    }
}

void section_unref(struct section *section, enum section_user user)
{
    lock_acquire(&section_lock);
    section_ref_undo(section, user);
    section_unlock_unused(section);
}

/* ---- what a section is ---- */

const struct section_facts *section_facts(const struct section *section)
{
    return &section->facts;
}

struct mapping **section_mappings(struct section *section)
{
    return &section->mappings;
}

uint64_t section_pages(const struct section *section)
{
    return section->facts.pages;
}

uint32_t section_id(const struct section *section)
{
    return section->id;
}

const char *section_name(const struct section *section)
{
    return section->name;
}

enum memtype section_default_type(const struct section *section)
{
    return section->facts.default_type;
}

bool section_is_ram(const struct section *section)
{
    return section->facts.is_ram;
}

bool section_frames(const struct section *section, uint64_t page, hpa_t *frame, uint64_t *run_pages)
{
    return backing_frames(&section->backing, page, frame, run_pages);
}

hpa_t section_frame(const struct section *section, uint64_t page, uint64_t *run_pages)
{
    hpa_t frame;
    bool has_frame = section_frames(section, page, &frame, run_pages);

    ASSERT(has_frame);
    return frame;
}

/* ---- accounts ---- */

uint64_t section_live_count(void)
{
    return __atomic_load_n(&live, __ATOMIC_RELAXED);
}

void section_trim(void)
{
    lock_acquire(&section_lock);
    slab_trim(&section_slab);
    extents_trim();
    handle_trim();
    lock_release(&section_lock);
    event_trim();
}
