#include "tests/fake/vm.h"

#include "hv/base/assert.h"
#include "hv/base/bits.h"
#include "hv/base/string.h"
#include "hv/mem/window.h"
#include "hv/pci/bus.h"
#include "hv/pci/inspect.h"

#define CLOCK_STEP 10u

struct hv_caps hv_caps;
enum fake_way fake_vm_way;
struct hv_memtype_report fake_vm_report;
const struct pt_format *fake_vm_format = &pt_format_ept;
void (*fake_vm_on_flush)(const struct pt_flush *flush, bool done);

void fake_vm_create(struct vm *vm)
{
    struct vm_port kept[VM_MAX_PORTS];
    unsigned ports = vm->port_count;
    hv_status_t status;

    memcpy(kept, vm->port, sizeof(kept));
    hv_caps = (struct hv_caps){
        .backend = "fake",
        .table_format = fake_vm_format->name,
        .ignore_pat = fake_vm_format->ignore_pat != 0,
        .large_2m = true,
        .large_1g = true,
        .large_executable = true,
        .physical_bits = FAKE_VM_PHYSICAL_BITS,
    };
    *vm = (struct vm){
        .ram_count = 2,
        .ram = {{.gpa = GPA(0), .bytes = FAKE_VM_LOW_BYTES},
                {.gpa = GPA(FAKE_VM_HIGH_START), .bytes = FAKE_VM_HIGH_BYTES}},
        .port_count = ports,
    };
    memcpy(vm->port, kept, sizeof(kept));
    status = pt_root_create(&vm->tables, fake_vm_format, &vm->pool, 3);
    ASSERT(status == HV_OK);
}

void fake_vm_destroy(struct vm *vm)
{
    ASSERT(vm->regions.count == 0 && vm->pool.used_tables == 1 && vm->pool.reserved == 0);
    pt_root_destroy(&vm->tables);
    pt_pool_drain(&vm->pool);
}

/* ---- what hv/pci calls ---- */

bool vm_ram_overlaps(const struct vm *vm, gpa_t gpa, uint64_t bytes)
{
    for (unsigned i = 0; i < vm->ram_count; i++) {
        const struct vm_ram *ram = &vm->ram[i];

        if (gpa.v < ram->gpa.v + ram->bytes && gpa.v + bytes > ram->gpa.v)
            return true;
    }
    return false;
}

void vm_flush(struct vm *vm, struct pt_flush *flush)
{
    ASSERT(!lock_is_held(&vm->tables_lock));
    if (flush->needed) {
        vm->generation++;
        vm->stats.flushes++;
    }
    if (fake_vm_on_flush)
        fake_vm_on_flush(flush, false);
    pt_flush_done(&vm->tables, flush);
    if (fake_vm_on_flush)
        fake_vm_on_flush(flush, true);
}

void vm_stop(struct vm *vm, const struct hv_exit *exit, enum vm_stop_cause cause)
{
    (void)exit;
    vm->stop = cause;
}

hv_status_t hv_effective_memtype(struct vp *vp, gva_t gva, struct hv_memtype_report *report)
{
    (void)vp;
    *report = fake_vm_report;
    report->gpa = GPA(gva.v);
    return HV_OK;
}

const void *cpu_current(void)
{
    static _Thread_local char cpu;

    return &cpu;
}

uint64_t bench_clock(void)
{
    static uint64_t now;

    return now += CLOCK_STEP;
}

/* ---- what a guest does ---- */

static bool has_leaf(const struct vm *vm, uint64_t gpa, uint8_t rights, struct pt_leaf *leaf)
{
    return vm_leaf_lookup(vm, GPA(gpa), leaf) && (leaf->attr.rights & rights) == rights;
}

static const struct mmio_handler *find_region(struct vm *vm, uint64_t gpa, uint64_t *offset)
{
    unsigned last = 0;
    unsigned region = mmio_region_find(&vm->regions, GPA(gpa), &last);

    fake_vm_way = region == MMIO_NONE ? FAKE_NOBODY : FAKE_TRAPPED;
    if (region == MMIO_NONE)
        return NULL;
    *offset = gpa - vm->regions.key[region].start;
    return &vm->regions.handler[region];
}

uint64_t fake_vm_read(struct vm *vm, uint64_t gpa, unsigned bytes)
{
    const struct mmio_handler *handler;
    struct pt_leaf leaf;
    uint64_t offset, value = 0;

    if (has_leaf(vm, gpa, PT_R, &leaf)) {
        fake_vm_way = FAKE_DIRECT;
        window_read(HPA(leaf.frame.v + (gpa & PAGE_MASK)), (enum memtype)leaf.attr.memtype, &value,
                    bytes);
        return value;
    }
    handler = find_region(vm, gpa, &offset);
    return (handler ? handler->read(handler->owner, offset, bytes) : ~0ull) & ones_of(bytes);
}

void fake_vm_write(struct vm *vm, uint64_t gpa, unsigned bytes, uint64_t value)
{
    const struct mmio_handler *handler;
    const struct hv_bar_state *bar;
    struct pt_leaf leaf;
    uint64_t offset, rings;

    if (has_leaf(vm, gpa, PT_R | PT_W, &leaf)) {
        fake_vm_way = FAKE_DIRECT;
        window_write(HPA(leaf.frame.v + (gpa & PAGE_MASK)), (enum memtype)leaf.attr.memtype, &value,
                     bytes);
        return;
    }
    handler = find_region(vm, gpa, &offset);
    if (!handler)
        return;
    value &= ones_of(bytes);
    if (!IS_ALIGNED(offset, bytes) || handler->write_whole == handler->write) {
        handler->write(handler->owner, offset, bytes, value);
        return;
    }
    bar = handler->owner;
    rings = bar->rings;
    handler->write_whole(handler->owner, offset, bytes, value);
    if (bar->rings != rings)
        fake_vm_way = FAKE_RANG;
}

uint32_t fake_vm_in(struct vm *vm, uint16_t port, unsigned bytes)
{
    const struct vm_port *range = vm_port_find(vm, port);
    uint32_t value = UINT32_MAX;

    if (range)
        value = range->in(range->owner, (uint16_t)(port - range->first), bytes);
    return value & (uint32_t)ones_of(bytes);
}

void fake_vm_out(struct vm *vm, uint16_t port, unsigned bytes, uint32_t value)
{
    const struct vm_port *range = vm_port_find(vm, port);

    if (range)
        range->out(range->owner, (uint16_t)(port - range->first), bytes, value);
}
