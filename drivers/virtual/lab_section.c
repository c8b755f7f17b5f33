/* Commands on sections and handles. */
#include "drivers/virtual/lab_commands.h"

hv_status_t lab_section_get(struct lab *lab)
{
    struct section *section;
    hv_handle_t handle;
    hv_status_t status;

    if (lab->arg[0] >= LAB_SECTIONS || lab->section[lab->arg[0]] == 0)
        return HV_E_NOT_FOUND;
    handle = lab->section[lab->arg[0]];
    status = section_ref(handle, HV_SECTION_MAP_READ, SECTION_USER_VIEW, &section);
    if (status != HV_OK)
        return status;
    lab->result[0] = handle;
    lab->result[1] = section_pages(section);
    lab->result[2] = section_id(section);
    section_unref(section, SECTION_USER_VIEW);
    return HV_OK;
}

hv_handle_t *lab_free_handle(struct lab *lab)
{
    for (unsigned i = 0; i < LAB_HANDLES; i++)
        if (lab->handle[i] == 0)
            return &lab->handle[i];
    return NULL;
}

static void forget_handle(struct lab *lab, hv_handle_t handle)
{
    for (unsigned i = 0; i < LAB_HANDLES; i++)
        if (lab->handle[i] == handle)
            lab->handle[i] = 0;
    for (unsigned i = 0; i < LAB_SECTIONS; i++)
        if (lab->section[i] == handle)
            lab->section[i] = 0;
}

/* SECTION_CREATE under a name, or without one. */
static hv_status_t create(struct lab *lab, const char *name)
{
    const struct hv_section_backing backing = {
        .kind = (enum hv_backing_kind)u32_arg(lab, 4),
        .base = HPA(lab->arg[5]),
        .bytes = lab->arg[6],
        .module = u32_arg(lab, 6),
    };
    hv_handle_t *place = lab_free_handle(lab);
    hv_status_t status;

    if (!place)
        return HV_E_QUOTA;
    status = hv_section_create(place, u32_arg(lab, 0), name, lab->arg[1], u32_arg(lab, 2),
                               u32_arg(lab, 3), lab->arg[4] == 0 ? NULL : &backing);
    if (status == HV_OK)
        lab->result[0] = *place;
    return status;
}

hv_status_t lab_section_create(struct lab *lab)
{
    return create(lab, NULL);
}

/* The name with the number of arg[i]; one too wide becomes a name that is none. */
static const char *name_arg(const struct lab *lab, unsigned i, char name[HV_SECTION_NAME_BYTES])
{
    name[0] = '\0';
    if (lab->arg[i] <= UINT32_MAX)
        format(name, HV_SECTION_NAME_BYTES, "lab.%u", (unsigned)lab->arg[i]);
    return name;
}

hv_status_t lab_section_create_named(struct lab *lab)
{
    char name[HV_SECTION_NAME_BYTES];
    struct hv_section_info info;
    hv_status_t status = create(lab, name_arg(lab, 7, name));

    if (status == HV_OK)
        lab->result[1] =
            hv_section_query((hv_handle_t)lab->result[0], &info) == HV_OK && info.existed;
    return status;
}

hv_status_t lab_section_open(struct lab *lab)
{
    char name[HV_SECTION_NAME_BYTES];
    hv_handle_t *place = lab_free_handle(lab);
    hv_status_t status;

    if (!place)
        return HV_E_QUOTA;
    status = hv_section_open(place, u32_arg(lab, 0), name_arg(lab, 1, name));
    if (status == HV_OK)
        lab->result[0] = *place;
    return status;
}

hv_status_t lab_section_query(struct lab *lab)
{
    struct hv_section_info info;
    hv_status_t status = hv_section_query(handle_arg(lab, 0), &info);

    if (status != HV_OK)
        return status;
    lab->result[0] = info.bytes;
    lab->result[1] = info.protect;
    lab->result[2] = info.attributes;
    lab->result[3] = info.default_type;
    lab->result[4] = info.handles;
    lab->result[5] = info.ranges;
    lab->result[6] = info.views;
    lab->result[7] = info.committed_pages;
    lab->result[8] = info.existed;
    return HV_OK;
}

hv_status_t lab_section_commit(struct lab *lab)
{
    return hv_section_commit(handle_arg(lab, 0), lab->arg[1], lab->arg[2]);
}

hv_status_t lab_handle_close(struct lab *lab)
{
    hv_handle_t handle = handle_arg(lab, 0);
    hv_status_t status = hv_handle_close(handle);

    if (status == HV_OK)
        forget_handle(lab, handle);
    return status;
}

/*
 * The section of arg[0], referenced, when [offset, offset + bytes) is made of its 8-byte words.
 */
static hv_status_t open_words(struct lab *lab, uint32_t access, uint64_t offset, uint64_t bytes,
                              struct section **section)
{
    hv_status_t status = section_ref(handle_arg(lab, 0), access, SECTION_USER_VIEW, section);
    uint64_t end;

    if (status != HV_OK)
        return status;
    end = section_pages(*section) << PAGE_SHIFT;
    if ((offset | bytes) % sizeof(uint64_t) != 0)
        status = HV_E_MAPPED_ALIGNMENT;
    else if (offset > end || bytes > end - offset)
        status = HV_E_OUT_OF_RANGE;
    if (status != HV_OK)
        section_unref(*section, SECTION_USER_VIEW);
    return status;
}

hv_status_t lab_section_read(struct lab *lab)
{
    struct section *section;
    hv_status_t status =
        open_words(lab, HV_SECTION_MAP_READ, lab->arg[1], sizeof(uint64_t), &section);

    if (status != HV_OK)
        return status;
    status = section_read(section, lab->arg[1], &lab->result[0], sizeof(uint64_t));
    section_unref(section, SECTION_USER_VIEW);
    return status;
}

hv_status_t lab_section_write(struct lab *lab)
{
    struct section *section;
    hv_status_t status =
        open_words(lab, HV_SECTION_MAP_WRITE, lab->arg[1], sizeof(uint64_t), &section);

    if (status != HV_OK)
        return status;
    status = section_write(section, lab->arg[1], &lab->arg[2], sizeof(uint64_t));
    section_unref(section, SECTION_USER_VIEW);
    return status;
}

hv_status_t lab_section_fill(struct lab *lab)
{
    struct section *section;
    hv_status_t status = open_words(lab, HV_SECTION_MAP_WRITE, lab->arg[1], lab->arg[2], &section);

    if (status != HV_OK)
        return status;
    status = lab_fill(section, lab->arg[1], lab->arg[2], lab->arg[3]);
    section_unref(section, SECTION_USER_VIEW);
    return status;
}

hv_status_t lab_section_checksum(struct lab *lab)
{
    struct section *section;
    hv_status_t status = open_words(lab, HV_SECTION_MAP_READ, lab->arg[1], lab->arg[2], &section);

    if (status != HV_OK)
        return status;
    status = section_checksum(section, lab->arg[1], lab->arg[2], &lab->result[0]);
    section_unref(section, SECTION_USER_VIEW);
    return status;
}
