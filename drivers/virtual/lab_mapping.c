/*
 * Commands on what is mapped into the hypervisor's own space: views, I/O space, apertures. A guest names a mapping by
 * its place in the lab's table, and reaches through it only what the hypervisor's tables allow.
 */
#include "drivers/virtual/lab_commands.h"

#include "hv/base/piece.h"

#define WORD_BYTES sizeof(uint64_t)
#define FNV_BASIS  0xcbf29ce484222325ull
#define FNV_PRIME  0x100000001b3ull

/* ---- the table ---- */

static struct lab_mapping *free_place(struct lab *lab)
{
    for (unsigned i = 0; i < LAB_MAPPINGS; i++)
        if (lab->mapping[i].kind == LAB_MAPPED_NOTHING)
            return &lab->mapping[i];
    return NULL;
}

/* The mapping that arg[i] names, or NULL. */
static struct lab_mapping *mapping_arg(struct lab *lab, unsigned i)
{
    if (lab->arg[i] >= LAB_MAPPINGS || lab->mapping[lab->arg[i]].kind == LAB_MAPPED_NOTHING)
        return NULL;
    return &lab->mapping[lab->arg[i]];
}

/* A new mapping takes its place: results 0 and 1. */
static void keep(struct lab *lab, struct lab_mapping *place, enum lab_mapped kind, void *address,
                 uint64_t bytes)
{
    *place = (struct lab_mapping){.kind = kind, .address = address, .bytes = bytes};
    lab->result[0] = (uint64_t)(place - lab->mapping);
    lab->result[1] = (uint64_t)(uintptr_t)address;
    if (kind != LAB_MAPPED_VIEW)
        lab->result[1] &= PAGE_MASK;
}

/*
 * The mapping of arg[index] and the address that lies arg[offset] bytes behind its first. HV_E_NOT_FOUND,
 * HV_E_OUT_OF_RANGE: an address of something else.
 */
static hv_status_t find(struct lab *lab, unsigned index, unsigned offset,
                        struct lab_mapping **mapping, void **address)
{
    *mapping = mapping_arg(lab, index);
    if (!*mapping)
        return HV_E_NOT_FOUND;
    if (lab->arg[offset] >= (*mapping)->bytes)
        return HV_E_OUT_OF_RANGE;
    *address = (*mapping)->address + lab->arg[offset];
    return HV_OK;
}

/* ---- map and unmap ---- */

hv_status_t lab_view_map(struct lab *lab)
{
    struct lab_mapping *place = free_place(lab);
    hv_handle_t space = lab->arg[1] == 0 ? HV_SPACE_HYPERVISOR : handle_arg(lab, 1);
    void *base = (void *)(uintptr_t)lab->arg[2];
    uint64_t offset = lab->arg[5], bytes = lab->arg[6];
    hv_status_t status;

    if (!place)
        return HV_E_QUOTA;
    status =
        hv_section_map_view(handle_arg(lab, 0), space, &base, u32_arg(lab, 3), lab->arg[4], &offset,
                            &bytes, u32_arg(lab, 7), u32_arg(lab, 8), u32_arg(lab, 9));
    if (status != HV_OK)
        return status;
    keep(lab, place, LAB_MAPPED_VIEW, base, bytes);
    lab->result[2] = offset;
    lab->result[3] = bytes;
    return HV_OK;
}

hv_status_t lab_view_unmap(struct lab *lab)
{
    struct lab_mapping *mapping;
    void *address;
    hv_status_t status = find(lab, 0, 1, &mapping, &address);

    if (status == HV_OK)
        status = hv_section_unmap_view(HV_SPACE_HYPERVISOR, address);
    if (status == HV_OK)
        mapping->kind = LAB_MAPPED_NOTHING;
    return status;
}

/* A guest knows the window of device memory by what it was configured for, not by its address. */
static hpa_t io_address(const struct lab *lab)
{
    uint64_t address = lab->arg[0];

    if (lab->has_window && (address & LAB_IO_WINDOW))
        address = lab->window + (address & ~LAB_IO_WINDOW);
    return HPA(address);
}

hv_status_t lab_io_map(struct lab *lab)
{
    struct lab_mapping *place = free_place(lab);
    void *address;
    hv_status_t status;

    if (!place)
        return HV_E_QUOTA;
    status = hv_io_space_map(io_address(lab), lab->arg[1], u32_arg(lab, 2), &address);
    if (status == HV_OK)
        keep(lab, place, LAB_MAPPED_IO, address, lab->arg[1]);
    return status;
}

hv_status_t lab_io_unmap(struct lab *lab)
{
    struct lab_mapping *mapping;
    void *address;
    hv_status_t status = find(lab, 0, 2, &mapping, &address);

    if (status == HV_OK)
        status = hv_io_space_unmap(address, lab->arg[1]);
    if (status == HV_OK)
        mapping->kind = LAB_MAPPED_NOTHING;
    return status;
}

hv_status_t lab_aperture_create(struct lab *lab)
{
    struct lab_mapping *place = free_place(lab);
    void *address;
    hv_status_t status;

    if (!place)
        return HV_E_QUOTA;
    status = hv_guest_aperture_create(device_arg(lab, 0), GPA(lab->arg[1]), u32_arg(lab, 2),
                                      lab->arg[3] != 0, &address);
    if (status == HV_OK)
        keep(lab, place, LAB_MAPPED_APERTURE, address, lab->arg[2]);
    return status;
}

hv_status_t lab_aperture_destroy(struct lab *lab)
{
    struct lab_mapping *mapping;
    void *address;
    hv_status_t status = find(lab, 1, 2, &mapping, &address);

    if (status == HV_OK)
        status = hv_guest_aperture_destroy(device_arg(lab, 0), address);
    if (status == HV_OK)
        mapping->kind = LAB_MAPPED_NOTHING;
    return status;
}

void lab_unmap_all(struct lab *lab)
{
    for (unsigned i = 0; i < LAB_MAPPINGS; i++) {
        struct lab_mapping *mapping = &lab->mapping[i];

        if (mapping->kind == LAB_MAPPED_VIEW)
            (void)hv_section_unmap_view(HV_SPACE_HYPERVISOR, mapping->address);
        else if (mapping->kind == LAB_MAPPED_IO)
            (void)hv_io_space_unmap(mapping->address, mapping->bytes);
        else if (mapping->kind == LAB_MAPPED_APERTURE)
            (void)hv_guest_aperture_destroy(lab->device, mapping->address);
        mapping->kind = LAB_MAPPED_NOTHING;
    }
}

/* ---- accesses ---- */

/* Would none of these bytes make the hypervisor fault? */
static bool is_reachable(const uint8_t *address, uint64_t bytes, uint8_t rights)
{
    uint64_t page = (uintptr_t)address & ~PAGE_MASK;

    for (; page < (uintptr_t)address + bytes; page += PAGE_BYTES) {
        struct inspect_leaf leaf;

        inspect_own_leaf(HVA(page), &leaf);
        if (!leaf.present || (leaf.rights & rights) != rights)
            return false;
    }
    return true;
}

/* `bytes` that begin arg[1] bytes behind the first address of the mapping of arg[0], at a multiple of `unit`. */
static hv_status_t reach(struct lab *lab, uint64_t bytes, uint64_t unit, uint8_t rights,
                         uint8_t **address)
{
    struct lab_mapping *mapping = mapping_arg(lab, 0);
    uint64_t offset = lab->arg[1];

    if (!mapping)
        return HV_E_NOT_FOUND;
    if (offset > mapping->bytes || bytes > mapping->bytes - offset)
        return HV_E_OUT_OF_RANGE;
    *address = mapping->address + offset;
    if (!IS_ALIGNED((uintptr_t)*address, unit) || !IS_ALIGNED(bytes, unit))
        return HV_E_MAPPED_ALIGNMENT;
    return is_reachable(*address, bytes, rights) ? HV_OK : HV_E_ACCESS_DENIED;
}

static bool is_width(uint64_t width)
{
    return width != 0 && width <= WORD_BYTES && IS_POW2(width);
}

hv_status_t lab_mapping_read(struct lab *lab)
{
    uint64_t width = lab->arg[2], value = 0;
    uint8_t *address;
    hv_status_t status;

    if (!is_width(width))
        return HV_E_INVALID_PARAMETER_3;
    status = reach(lab, width, width, PT_R, &address);
    if (status != HV_OK)
        return status;
    piece_copy(&value, address, width);
    lab->result[0] = value;
    return HV_OK;
}

hv_status_t lab_mapping_write(struct lab *lab)
{
    uint64_t width = lab->arg[2];
    uint8_t *address;
    hv_status_t status;

    if (!is_width(width))
        return HV_E_INVALID_PARAMETER_3;
    status = reach(lab, width, width, PT_R | PT_W, &address);
    if (status == HV_OK)
        piece_copy(address, &lab->arg[3], width);
    return status;
}

hv_status_t lab_mapping_fill(struct lab *lab)
{
    uint8_t *address;
    hv_status_t status = reach(lab, lab->arg[2], WORD_BYTES, PT_R | PT_W, &address);

    for (uint64_t i = 0; status == HV_OK && i < lab->arg[2]; i += WORD_BYTES) {
        uint64_t word = LAB_PATTERN(lab->arg[3], lab->arg[1] + i);

        piece_copy(address + i, &word, sizeof(word));
    }
    return status;
}

uint64_t lab_checksum(const void *bytes, uint64_t count)
{
    const uint8_t *byte = bytes;
    uint64_t hash = FNV_BASIS;

    for (uint64_t i = 0; i < count; i++)
        hash = (hash ^ byte[i]) * FNV_PRIME;
    return hash;
}

hv_status_t lab_mapping_checksum(struct lab *lab)
{
    uint8_t *address;
    hv_status_t status = reach(lab, lab->arg[2], WORD_BYTES, PT_R, &address);

    if (status == HV_OK)
        lab->result[0] = lab_checksum(address, lab->arg[2]);
    return status;
}

hv_status_t lab_mapping_leaf(struct lab *lab)
{
    struct lab_mapping *mapping;
    struct inspect_leaf leaf;
    void *address;
    hv_status_t status = find(lab, 0, 1, &mapping, &address);

    if (status != HV_OK)
        return status;
    inspect_own_leaf(HVA((uintptr_t)address), &leaf);
    lab->result[0] = leaf.present;
    lab->result[1] = leaf.rights;
    lab->result[2] = leaf.memtype;
    lab->result[3] = leaf.level;
    return HV_OK;
}

/* ---- guest memory ---- */

hv_status_t lab_guest_read(struct lab *lab)
{
    uint64_t bytes = lab->arg[2];
    hv_status_t status;

    if (bytes > LAB_BUFFER_BYTES)
        return HV_E_OUT_OF_RANGE;
    status =
        hv_guest_memory_read(device_arg(lab, 0), GPA(lab->arg[1]), (uint32_t)bytes, lab->buffer);
    if (status != HV_OK)
        return status;
    lab->result[0] = 0;
    memcpy(&lab->result[0], lab->buffer, MIN(bytes, WORD_BYTES));
    lab->result[1] = lab_checksum(lab->buffer, bytes);
    return HV_OK;
}

/* As many bytes as the value has are itself, more are the pattern of which it is the seed. */
hv_status_t lab_guest_write(struct lab *lab)
{
    uint64_t bytes = lab->arg[2], word = lab->arg[3];

    if (bytes > LAB_BUFFER_BYTES)
        return HV_E_OUT_OF_RANGE;
    for (uint64_t i = 0; i < bytes; i += WORD_BYTES) {
        if (bytes > WORD_BYTES)
            word = LAB_PATTERN(lab->arg[3], i);
        memcpy(lab->buffer + i, &word, sizeof(word));
    }
    return hv_guest_memory_write(device_arg(lab, 0), GPA(lab->arg[1]), (uint32_t)bytes,
                                 lab->buffer);
}
