#include "tests/unit/range_model.h"

#include <string.h>

#include "ept/format.h"

#define KNOWN_FLAGS                                                               \
    (HV_MMIO_WRITEABLE | HV_MMIO_EXECUTABLE | HV_MMIO_MT_MASK | HV_MMIO_REPLACE | \
     HV_MMIO_NO_LARGE | HV_MMIO_IGNORE_GUEST_PAT | HV_MMIO_TRACK_DIRTY)
#define INPUT_LIMIT 48u

static const uint8_t type_of_flag[] = {0,          MEMTYPE_UC, MEMTYPE_WC,
                                       MEMTYPE_WT, MEMTYPE_WP, MEMTYPE_WB};

/* ---- types ---- */

static struct model_cell *cell_of(struct model *m, unsigned object, uint32_t unit)
{
    struct model_object *o = &m->object[object];

    if (o->origin == MODEL_DEVICE_MEMORY)
        return &m->device_cell[o->first + unit];
    if (o->origin == MODEL_MODULE)
        return &m->module_cell[o->first + unit];
    return &o->cell[unit];
}

bool model_type(const struct model *m, unsigned object, uint32_t unit, uint8_t *type)
{
    const struct model_object *o = &m->object[object];
    const struct model_cell *cell = o->origin == MODEL_DEVICE_MEMORY
                                        ? &m->device_cell[o->first + unit]
                                    : o->origin == MODEL_MODULE ? &m->module_cell[o->first + unit]
                                                                : &o->cell[unit];

    *type = cell->type;
    return cell->refs != 0;
}

static void take_type(struct model *m, unsigned object, uint32_t unit, uint8_t type)
{
    struct model_cell *cell = cell_of(m, object, unit);

    cell->type = type;
    cell->refs++;
}

static void drop_type(struct model *m, unsigned object, uint32_t unit)
{
    cell_of(m, object, unit)->refs--;
}

/* The type that the pages get. type < 0: any. */
hv_status_t model_choose_type(struct model *m, unsigned object, uint32_t unit, uint32_t units,
                              int type, uint8_t *chosen)
{
    for (uint32_t i = 0; i < units; i++) {
        const struct model_cell *cell = cell_of(m, object, unit + i);

        if (cell->refs == 0)
            continue;
        if (type >= 0 && type != cell->type)
            return HV_E_CACHE_CONFLICT;
        type = cell->type;
    }
    if (type < 0)
        type = m->object[object].default_type;
    if (m->object[object].origin == MODEL_DEVICE_MEMORY && type != MEMTYPE_UC && type != MEMTYPE_WC)
        return HV_E_CACHE_CONFLICT;
    *chosen = (uint8_t)type;
    return HV_OK;
}

/* ---- ranges ---- */

static void forget_unit(struct model *m, struct model_bar *bar, uint32_t unit)
{
    struct model_page *page = &bar->page[unit];

    drop_type(m, page->object - 1u, page->section_unit);
    *page = (struct model_page){0};
    bar->mapped--;
}

/* What is left of a range behind the hole [from, to) is a range of its own; what is left before it keeps its key. */
static void punch(struct model *m, struct model_bar *bar, uint32_t from, uint32_t to)
{
    for (uint32_t unit = from; unit < to; unit++) {
        const struct model_page *page = &bar->page[unit];

        if (page->object == 0)
            continue;
        if (page->key == unit) {
            bar->ranges--;
            m->object[page->object - 1].ranges--;
        }
        forget_unit(m, bar, unit);
    }
    if (from < to && to < bar->units && bar->page[to].object != 0 && bar->page[to].key != to) {
        uint32_t old = bar->page[to].key;

        bar->ranges++;
        m->object[bar->page[to].object - 1].ranges++;
        for (uint32_t unit = to; unit < bar->units && bar->page[unit].object != 0; unit++) {
            if (bar->page[unit].key != old)
                break;
            bar->page[unit].key = to;
        }
    }
}

static hv_status_t check_bar(struct model *m, unsigned device, enum hv_bar index,
                             struct model_bar **bar)
{
    if ((unsigned)index >= HV_BAR_COUNT)
        return HV_E_INVALID_PARAMETER_2;
    *bar = &m->device[device].bar[index];
    return (*bar)->bytes == 0 || (*bar)->io ? HV_E_NO_SUCH_BAR : HV_OK;
}

static bool fits(uint64_t first, uint64_t count, uint64_t limit)
{
    return first <= limit && count <= limit - first;
}

static hv_status_t check_flags(const struct model *m, enum hv_bar bar, uint32_t flags)
{
    if ((flags & ~(uint32_t)KNOWN_FLAGS) || (flags & HV_MMIO_MT_MASK) > HV_MMIO_MT_WB)
        return HV_E_INVALID_PARAMETER_5;
    if (bar == HV_BAR_ROM && (flags & HV_MMIO_WRITEABLE))
        return HV_E_INVALID_PARAMETER_5;
    if (flags & HV_MMIO_TRACK_DIRTY)
        return HV_E_NOT_SUPPORTED;
    if ((flags & HV_MMIO_IGNORE_GUEST_PAT) && !m->machine.ignore_pat)
        return HV_E_NOT_SUPPORTED;
    return HV_OK;
}

hv_status_t model_handle(const struct model *m, unsigned handle, uint32_t access, unsigned *object)
{
    if (handle == MODEL_HANDLE_EVENT)
        return HV_E_OBJECT_TYPE;
    if (handle >= MODEL_HANDLES || !m->handle[handle].live)
        return HV_E_INVALID_HANDLE;
    if (access & ~m->handle[handle].access)
        return HV_E_ACCESS_DENIED;
    *object = m->handle[handle].object;
    return HV_OK;
}

static hv_status_t check_section(const struct model *m, unsigned handle, uint32_t flags,
                                 unsigned *object)
{
    uint32_t access = HV_SECTION_MAP_READ |
                      (flags & HV_MMIO_WRITEABLE ? (uint32_t)HV_SECTION_MAP_WRITE : 0) |
                      (flags & HV_MMIO_EXECUTABLE ? (uint32_t)HV_SECTION_MAP_EXECUTE : 0);
    hv_status_t status = model_handle(m, handle, access, object);

    if (status == HV_OK && (access & ~m->object[*object].allowed))
        status = HV_E_SECTION_PROTECTION;
    return status;
}

/* Types and pages of a create call that has passed its other checks. */
static hv_status_t create_in(struct model *m, struct model_bar *bar, const struct model_call *call,
                             unsigned object)
{
    uint32_t from = (uint32_t)(call->page >> m->machine.shift);
    uint32_t units = (uint32_t)(call->count >> m->machine.shift);
    uint32_t section_unit = (uint32_t)(call->section_page >> m->machine.shift);
    uint32_t flag = (call->flags & HV_MMIO_MT_MASK) >> 4;
    bool occupied = false, rings = false;
    hv_status_t status;
    uint8_t type;

    /* What the call removes does not count. */
    for (uint32_t i = 0; i < units; i++) {
        const struct model_page *page = &bar->page[from + i];

        occupied |= page->object != 0;
        rings |= bar->bell[from + i];
        if (page->object != 0 && (call->flags & HV_MMIO_REPLACE))
            drop_type(m, page->object - 1u, page->section_unit);
    }
    status = model_choose_type(m, object, section_unit, units, flag == 0 ? -1 : type_of_flag[flag],
                               &type);
    for (uint32_t i = 0; i < units; i++) {
        const struct model_page *page = &bar->page[from + i];

        if (page->object != 0 && (call->flags & HV_MMIO_REPLACE))
            cell_of(m, page->object - 1u, page->section_unit)->refs++;
    }
    if (status != HV_OK)
        return status;
    if (occupied && !(call->flags & HV_MMIO_REPLACE))
        return HV_E_CONFLICTING_ADDRESSES;
    if (rings && (call->flags & HV_MMIO_WRITEABLE))
        return HV_E_CONFLICTING_ADDRESSES;
    punch(m, bar, from, from + units);
    for (uint32_t i = 0; i < units; i++) {
        bar->page[from + i] = (struct model_page){
            (uint8_t)(object + 1), type, (uint16_t)(call->flags & ~(uint32_t)HV_MMIO_REPLACE), from,
            section_unit + i};
        take_type(m, object, section_unit + i, type);
    }
    bar->mapped += units;
    bar->ranges++;
    m->object[object].ranges++;
    return HV_OK;
}

static hv_status_t create(struct model *m, struct model_bar *bar, const struct model_call *call)
{
    unsigned object = 0;
    hv_status_t status;

    if (call->count == 0)
        return HV_E_INVALID_PARAMETER_4;
    status = check_flags(m, call->bar, call->flags);
    if (status != HV_OK)
        return status;
    if (!fits(call->page, call->count, bar->bytes >> PAGE_SHIFT))
        return HV_E_OUT_OF_RANGE;
    status = check_section(m, call->handle, call->flags, &object);
    if (status != HV_OK)
        return status;
    if (!fits(call->section_page, call->count,
              (uint64_t)m->object[object].units << m->machine.shift))
        return HV_E_INVALID_VIEW_SIZE;
    return create_in(m, bar, call, object);
}

static hv_status_t destroy(struct model *m, struct model_bar *bar, uint64_t page)
{
    uint64_t unit = page >> m->machine.shift;
    uint32_t end;

    if (unit >= bar->units || unit << m->machine.shift != page || bar->page[unit].object == 0 ||
        bar->page[unit].key != unit)
        return HV_E_NOT_MAPPED;
    for (end = (uint32_t)unit; end < bar->units && bar->page[end].object != 0; end++)
        if (bar->page[end].key != unit)
            break;
    punch(m, bar, (uint32_t)unit, end);
    return HV_OK;
}

static hv_status_t unmap(struct model *m, struct model_bar *bar, const struct model_call *call)
{
    if (call->count == 0)
        return HV_E_INVALID_PARAMETER_4;
    if (!fits(call->page, call->count, bar->bytes >> PAGE_SHIFT))
        return HV_E_OUT_OF_RANGE;
    punch(m, bar, (uint32_t)(call->page >> m->machine.shift),
          (uint32_t)((call->page + call->count) >> m->machine.shift));
    return HV_OK;
}

hv_status_t model_bell(struct model *m, unsigned device, enum hv_bar index, uint64_t page,
                       bool come)
{
    struct model_device *d = &m->device[device];
    struct model_bar *bar;
    uint64_t unit = page >> m->machine.shift;
    hv_status_t status = check_bar(m, device, index, &bar);

    if (status != HV_OK)
        return status;
    if (!come && (unit >= bar->units || !bar->bell[unit]))
        return HV_E_NOT_FOUND;
    if (come && !fits(page, 1, bar->bytes >> PAGE_SHIFT))
        return HV_E_OUT_OF_RANGE;
    if (come && bar->bell[unit])
        return HV_E_ALREADY_EXISTS;
    if (come && bar->page[unit].object != 0 && (bar->page[unit].flags & HV_MMIO_WRITEABLE))
        return HV_E_CONFLICTING_ADDRESSES;
    if (come && d->bells == HV_DOORBELLS_PER_DEVICE)
        return HV_E_QUOTA;
    bar->bell[unit] = come;
    d->bells += come ? 1u : -1u;
    return HV_OK;
}

hv_status_t model_call(struct model *m, unsigned device, const struct model_call *call)
{
    struct model_bar *bar;
    hv_status_t status;

    if (device >= MODEL_DEVICES)
        return HV_E_INVALID_HANDLE;
    status = check_bar(m, device, call->bar, &bar);
    if (status != HV_OK)
        return status;
    if (call->kind == HV_MMIO_OP_CREATE)
        return create(m, bar, call);
    if (call->kind == HV_MMIO_OP_UNMAP)
        return unmap(m, bar, call);
    return call->kind == HV_MMIO_OP_DESTROY ? destroy(m, bar, call->page) : HV_E_INVALID_PARAMETER;
}

hv_status_t model_batch(struct model *m, unsigned device, const struct model_call *call,
                        unsigned count, uint32_t flags, uint64_t *done)
{
    static struct model before;
    hv_status_t status = HV_OK;
    uint64_t i;

    if (device >= MODEL_DEVICES)
        return HV_E_INVALID_HANDLE;
    if (flags & ~(uint32_t)HV_BATCH_ATOMIC)
        return HV_E_INVALID_PARAMETER_4;
    if (flags & HV_BATCH_ATOMIC)
        before = *m;
    for (i = 0; i < count && status == HV_OK; i++)
        status = model_call(m, device, &call[i]);
    *done = status == HV_OK ? i : i - 1;
    if (status != HV_OK && (flags & HV_BATCH_ATOMIC)) {
        *m = before;
        *done = 0;
    }
    return status;
}

/* ---- sections ---- */

hv_status_t model_commit(const struct model *m, unsigned handle, uint64_t page, uint64_t count)
{
    unsigned object = 0;
    hv_status_t status = model_handle(m, handle, HV_SECTION_MAP_WRITE, &object);

    if (status != HV_OK)
        return status;
    if (count == 0)
        return HV_E_INVALID_PARAMETER_3;
    return fits(page, count, (uint64_t)m->object[object].units << m->machine.shift)
               ? HV_OK
               : HV_E_INVALID_VIEW_SIZE;
}

hv_status_t model_open(struct model *m, unsigned object, unsigned handle, uint32_t access)
{
    struct model_object *o = &m->object[object];

    if (!o->live || o->handles == 0)
        return HV_E_NOT_FOUND;
    if (access & ~o->allowed)
        return HV_E_ACCESS_DENIED;
    m->handle[handle] = (struct model_handle){true, (uint8_t)object, access};
    o->handles++;
    return HV_OK;
}

hv_status_t model_close(struct model *m, unsigned handle)
{
    if (handle >= MODEL_HANDLES || !m->handle[handle].live)
        return HV_E_INVALID_HANDLE;
    m->handle[handle].live = false;
    m->object[m->handle[handle].object].handles--;
    model_reap(m);
    return HV_OK;
}

void model_view_add(struct model *m, unsigned index, const struct model_view *view)
{
    m->view[index] = *view;
    m->object[view->object].views++;
    for (uint32_t i = 0; view->rights != 0 && i < view->units; i++)
        take_type(m, view->object, view->unit + i, view->type);
}

void model_view_remove(struct model *m, unsigned index)
{
    struct model_view *view = &m->view[index];

    view->live = false;
    m->object[view->object].views--;
    for (uint32_t i = 0; view->rights != 0 && i < view->units; i++)
        drop_type(m, view->object, view->unit + i);
    model_reap(m);
}

void model_reap(struct model *m)
{
    for (unsigned i = 0; i < MODEL_OBJECTS; i++) {
        struct model_object *o = &m->object[i];

        if (o->live && o->handles == 0 && o->ranges == 0 && o->views == 0)
            o->live = false;
    }
}

/* ---- decode ---- */

static uint64_t place_limit(const struct model *m)
{
    return 1ull << MIN(m->machine.physical_bits, INPUT_LIMIT);
}

static bool overlap(uint64_t a, uint64_t a_end, uint64_t b, uint64_t b_end)
{
    return a < b_end && b < a_end;
}

static bool is_usable(const struct model *m, const struct model_bar *bar)
{
    uint64_t limit = place_limit(m), end = bar->base + bar->bytes;

    if (bar->base >= limit || bar->bytes > limit - bar->base)
        return false;
    for (unsigned i = 0; i < ARRAY_COUNT(m->machine.ram); i++)
        if (overlap(bar->base, end, m->machine.ram[i].start, m->machine.ram[i].end))
            return false;
    if (overlap(bar->base, end, m->machine.taken.start, m->machine.taken.end))
        return false;
    for (unsigned i = 0; i < MODEL_DEVICES * HV_BAR_COUNT; i++) {
        const struct model_bar *other = &m->device[i / HV_BAR_COUNT].bar[i % HV_BAR_COUNT];

        if (other->live &&
            overlap(bar->base, end, other->live_base, other->live_base + other->bytes))
            return false;
    }
    return true;
}

static bool is_wanted(const struct model *m, const struct model_bar *bar)
{
    if (bar->bytes == 0 || bar->io || !m->device[bar->device].memory_enabled)
        return false;
    return bar->index != HV_BAR_ROM || bar->rom_enabled;
}

static void leave_queue(struct model *m, unsigned id)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < m->waiting_count; i++)
        if (m->waiting[i] != id)
            m->waiting[kept++] = m->waiting[i];
    m->waiting_count = kept;
}

/* Who decodes what, after a register of `device` changed. */
static void update(struct model *m, unsigned device)
{
    for (unsigned i = 0; i < HV_BAR_COUNT; i++) {
        struct model_bar *bar = &m->device[device].bar[i];
        unsigned id = device * HV_BAR_COUNT + i;
        bool wanted = is_wanted(m, bar), was_wanted = bar->wanted, moved = false;

        if (bar->live && (!wanted || bar->base != bar->live_base)) {
            bar->live = false;
            moved = wanted;
        }
        if (!wanted)
            leave_queue(m, id);
        else if (!was_wanted || moved)
            m->waiting[m->waiting_count++] = (uint8_t)id;
        bar->wanted = wanted;
    }
    for (unsigned i = 0; i < m->waiting_count;) {
        unsigned id = m->waiting[i];
        struct model_bar *bar = &m->device[id / HV_BAR_COUNT].bar[id % HV_BAR_COUNT];

        if (!is_usable(m, bar) || (m->denied && bar->ranges != 0)) {
            i++;
            continue;
        }
        bar->live = true;
        bar->live_base = bar->base;
        leave_queue(m, id);
    }
}

void model_command_write(struct model *m, unsigned device, bool memory)
{
    m->device[device].memory_enabled = memory;
    update(m, device);
}

void model_resize(struct model *m, unsigned device, enum hv_bar index, unsigned size)
{
    struct model_bar *bar = &m->device[device].bar[index];

    if (m->device[device].memory_enabled || size > 31 || !(bar->sizes >> size & 1))
        return;
    bar->bytes = 1ull << (20 + size);
    bar->base &= ~(bar->bytes - 1);
}

void model_bar_write(struct model *m, unsigned device, enum hv_bar index, uint32_t value)
{
    struct model_bar *bar = &m->device[device].bar[index];

    if (bar->upper) {
        bar--;
        bar->base = (uint64_t)value << 32 | (uint32_t)bar->base;
    } else {
        bar->base = bar->base >> 32 << 32 | value;
        if (index == HV_BAR_ROM)
            bar->rom_enabled = value & 1;
    }
    if (bar->bytes != 0)
        bar->base &= ~(bar->bytes - 1);
    update(m, device);
}

const struct model_bar *model_bar_at(const struct model *m, uint64_t gpa)
{
    for (unsigned i = 0; i < MODEL_DEVICES * HV_BAR_COUNT; i++) {
        const struct model_bar *bar = &m->device[i / HV_BAR_COUNT].bar[i % HV_BAR_COUNT];

        if (bar->live && gpa - bar->live_base < bar->bytes)
            return bar;
    }
    return NULL;
}

uint64_t model_key(const struct model *m, const struct model_bar *bar, uint32_t unit)
{
    const struct model_page *page = &bar->page[unit];
    uint64_t frame;

    if (page->object == 0)
        return 0;
    frame = m->object[page->object - 1].frame[page->section_unit];
    if (frame == 0)
        return 0;
    return frame | 0x80 | (page->flags & HV_MMIO_IGNORE_GUEST_PAT ? 0x40u : 0u) |
           (uint64_t)page->type << 3 | PT_R | (page->flags & HV_MMIO_WRITEABLE ? PT_W : 0u) |
           (page->flags & HV_MMIO_EXECUTABLE ? PT_X : 0u);
}
