#include "tests/unit/vm_kit.h"

#include "hv/vm/usual.h"

#include <string.h>

#include "tests/fake/alarm.h"
#include "tests/fake/blocks.h"
#include "tests/fake/phys.h"

#define PHYS_BYTES   MIB(64)
#define LOW_FRAMES   MIB(16)
#define HIGH_FRAMES  MIB(32)
#define DEVICE_FRAME MIB(48)

struct kit kit;
char kit_is_telling;

static void second_level(uint64_t gpa, hpa_t frame, uint64_t pages, uint8_t rights,
                         enum memtype memtype)
{
    const struct pt_attr attr = {.rights = rights, .memtype = (uint8_t)memtype, .max_level = 3};
    struct pt_flush flush = {0};
    uint64_t needed = rights ? pt_tables_needed(&kit.vm.tables, gpa, frame, pages, 3)
                             : pt_tables_needed_unmap(&kit.vm.tables, gpa, pages);

    assert_int_equal(pt_pool_reserve(&kit.vm.pool, needed), HV_OK);
    if (rights)
        pt_map(&kit.vm.tables, gpa, frame, pages, &attr, &flush);
    else
        pt_unmap(&kit.vm.tables, gpa, pages, &flush);
    pt_pool_unreserve(&kit.vm.pool, kit.vm.pool.reserved);
    vm_flush(&kit.vm, &flush);
}

static void add_ram(uint64_t gpa, uint64_t bytes, uint64_t frames)
{
    kit.vm.ram[kit.vm.ram_count++] = (struct vm_ram){GPA(gpa), bytes, direct(HPA(frames))};
    second_level(gpa, HPA(frames), bytes / PAGE_BYTES, PT_R | PT_W | PT_X, MEMTYPE_WB);
}

int kit_open(void **state)
{
    const unsigned burst = 4;
    static bool mapped;

    if (!mapped)
        fake_phys_init(PHYS_BYTES);
    else
        fake_phys_reset();
    mapped = true;
    fake_backend_reset();
    memset(&kit, 0, sizeof(kit));
    kit.tells_linear = state != NULL && *state == &kit_is_telling;
    hv_caps = (struct hv_caps){.large_2m = true,
                               .large_1g = true,
                               .large_executable = true,
                               .physical_bits = KIT_PHYSICAL_BITS};
    kit.vm.vp = &kit.vp;
    kit.vp.vm = &kit.vm;
    kit.vp.apic = &kit.apic;
    fake_alarm_reset();
    kit.vm.unclaimed_log.burst = kit.vm.unsupported_log.burst = kit.vp.msr_log.burst = burst;
    assert_int_equal(pt_root_create(&kit.vm.tables, &pt_format_ept, &kit.vm.pool, 3), HV_OK);
    add_ram(0, KIT_LOW_BYTES, LOW_FRAMES);
    add_ram(KIT_HIGH, KIT_HIGH_BYTES, HIGH_FRAMES);
    assert_int_equal(apic_create(&kit.vp), HV_OK);
    kit.cr3 = KIT_TABLES;
    kit.next_table = KIT_TABLES + PAGE_BYTES;
    fake_backend.state = (struct vp_state){.cr0 = CR0_PE | CR0_PG | CR0_WP,
                                           .cr3 = kit.cr3,
                                           .cr4 = CR4_PAE,
                                           .efer = EFER_LME | EFER_LMA | EFER_NXE,
                                           .pat = PAT_RESET};
    for (unsigned i = 0; i < ARRAY_COUNT(fake_backend.state.seg); i++)
        fake_backend.state.seg[i] =
            (struct vp_segment){.limit = UINT32_MAX, .attributes = i == INSN_CS ? 0xa09b : 0xc093};
    for (unsigned page = 0; page < 2; page++)
        kit_map(KIT_CODE + page * PAGE_BYTES, KIT_CODE_RAM + page * PAGE_BYTES, 1, KIT_LINK);
    return 0;
}

int kit_close(void **state)
{
    (void)state;
    second_level(0, HPA(0), KIT_LOW_BYTES / PAGE_BYTES, 0, MEMTYPE_WB);
    second_level(KIT_HIGH, HPA(0), KIT_HIGH_BYTES / PAGE_BYTES, 0, MEMTYPE_WB);
    second_level(KIT_BAR, HPA(0), KIT_BAR_PAGES, 0, MEMTYPE_WB);
    assert_int_equal(kit.vm.pool.used_tables, 1);
    pt_root_destroy(&kit.vm.tables);
    pt_pool_drain(&kit.vm.pool);
    assert_int_equal(fake_blocks_live(), 0);
    return 0;
}

uint8_t *kit_byte(uint64_t gpa)
{
    uint8_t *ram = vm_ram_pointer(&kit.vm, GPA(gpa), 1);

    if (ram)
        return ram;
    assert_true(gpa >= KIT_BAR && gpa < KIT_BAR + KIT_BAR_PAGES * PAGE_BYTES);
    return direct(HPA(DEVICE_FRAME + (gpa - KIT_BAR)));
}

uint64_t *kit_entry(uint64_t gva, unsigned level)
{
    uint64_t table = kit.cr3;

    for (unsigned at = 4;; at--) {
        uint64_t index = (gva >> (PAGE_SHIFT + 9 * (at - 1))) & 511;
        uint64_t *entry =
            (uint64_t *)(void *)kit_byte((table & BITS(51, 12)) + index * sizeof(*entry));

        if (at == level)
            return entry;
        if (*entry == 0) {
            *entry = kit.next_table | KIT_LINK;
            kit.next_table += PAGE_BYTES;
        }
        table = *entry;
    }
}

void kit_map(uint64_t gva, uint64_t gpa, unsigned level, uint64_t bits)
{
    *kit_entry(gva, level) = gpa | bits | (level > 1 ? PTE_PS : 0);
}

void kit_direct(unsigned page, uint8_t rights, enum memtype memtype)
{
    second_level(KIT_BAR + page * PAGE_BYTES, HPA(DEVICE_FRAME + page * PAGE_BYTES), 1, rights,
                 memtype);
}

/* ---- devices ---- */

uint8_t kit_answer(unsigned who, uint64_t offset)
{
    return (uint8_t)(who * 59 + offset * 7 + (offset >> 8) * 13 + 1);
}

/* The handler's owner is an address in here, so it tells who is called. */
static char owners[KIT_DEVICES];
static unsigned wide_bytes[KIT_DEVICES];
static uint64_t region_bytes[KIT_DEVICES];

static struct kit_access *note(void *owner, bool write, uint64_t offset, unsigned bytes)
{
    unsigned who = (unsigned)((char *)owner - owners), n = kit.seen_count;

    assert_true(who < KIT_DEVICES && n < KIT_ACCESSES);
    assert_true(kit.there[who]); /* or a stale handler was called */
    assert_true(bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8 || bytes == 16 || bytes == 32);
    assert_true(bytes <= 8 || bytes <= wide_bytes[who]);
    assert_true(offset < region_bytes[who] && bytes <= region_bytes[who] - offset);
    assert_true(offset % bytes == 0);
    kit.seen[n] = (struct kit_access){.who = who, .write = write, .offset = offset, .bytes = bytes};
    kit.seen_count++;
    if (kit.on_access)
        kit.on_access(n);
    return &kit.seen[n];
}

static uint64_t device_read(void *owner, uint64_t offset, unsigned bytes)
{
    struct kit_access *access = note(owner, false, offset, bytes);
    uint64_t above = bytes < 8 ? 0xa5a5a5a5a5a5a5a5ull << (bytes * 8) : 0;

    for (unsigned i = 0; i < bytes; i++)
        access->value |= (uint64_t)kit_answer(access->who, offset + i) << (i * 8);
    return access->value | above; /* the bytes above are nobody's business */
}

static void device_write(void *owner, uint64_t offset, unsigned bytes, uint64_t value)
{
    note(owner, true, offset, bytes)->value = value;
}

static void device_read_wide(void *owner, uint64_t offset, unsigned bytes, void *value)
{
    struct kit_access *access = note(owner, false, offset, bytes);

    assert_true(bytes > 8);
    for (unsigned i = 0; i < bytes; i++)
        access->wide[i] = kit_answer(access->who, offset + i);
    memcpy(value, access->wide, bytes);
}

static void device_write_wide(void *owner, uint64_t offset, unsigned bytes, const void *value)
{
    assert_true(bytes > 8);
    memcpy(note(owner, true, offset, bytes)->wide, value, bytes);
}

/* Only a doorbell that rings keeps the write from the callback. */
static void ask_bell(void *owner, uint64_t offset, unsigned bytes, uint64_t value)
{
    unsigned who = (unsigned)((char *)owner - owners);

    assert_true(who < KIT_DEVICES && kit.there[who] && kit.asked_count < KIT_ACCESSES);
    assert_true((bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8) && offset % bytes == 0);
    kit.asked[kit.asked_count++] = (struct kit_access){
        .who = who, .write = true, .offset = offset, .bytes = bytes, .value = value};
    if (!kit.rings)
        device_write(owner, offset, bytes, value);
}

void kit_attach_as(unsigned who, uint64_t start, uint64_t bytes, bool bell, unsigned wide)
{
    const struct mmio_handler handler = {.read = device_read,
                                         .write = device_write,
                                         .owner = &owners[who],
                                         .write_whole = bell ? ask_bell : device_write,
                                         .read_wide = wide ? device_read_wide : NULL,
                                         .write_wide = wide ? device_write_wide : NULL,
                                         .wide_bytes = wide,
                                         .has_leaves = true};

    assert_int_equal(mmio_region_add(&kit.vm.regions, GPA(start), bytes, &handler), HV_OK);
    kit.there[who] = true;
    wide_bytes[who] = wide;
    region_bytes[who] = bytes;
}

void kit_attach(unsigned who, uint64_t start, uint64_t bytes)
{
    kit_attach_as(who, start, bytes, false, 0);
}

void kit_detach(unsigned who, uint64_t start)
{
    assert_int_equal(mmio_region_remove(&kit.vm.regions, GPA(start)), HV_OK);
    kit.there[who] = false;
}

void kit_forget(void)
{
    memset(kit.seen, 0, sizeof(kit.seen));
    kit.seen_count = kit.asked_count = 0;
    kit.vp.event = (struct vp_event){0};
    kit.vm.stats = (struct vm_stats){0};
    kit.vm.stop = VM_STOP_NONE;
    fake_backend.state_gets = fake_backend.rsp_loads = fake_backend.rsp_stores = 0;
}

uint64_t kit_random(void)
{
    static uint64_t word = 0x9e3779b97f4a7c15ull;

    word ^= word << 13;
    word ^= word >> 7;
    word ^= word << 17;
    return word * 0x2545f4914f6cdd1dull;
}

/* ---- trapped accesses ---- */

unsigned kit_length;
bool kit_short;

void kit_code(uint64_t rip, const void *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++, rip++) {
        uint64_t page = *kit_entry(rip, 1) & BITS(51, 12);

        *kit_byte(page + (rip & PAGE_MASK)) = ((const uint8_t *)bytes)[i];
    }
}

/* Where the guest's 4-level tables show gpa: the lowest such address. */
static bool linear_of(uint64_t table, unsigned level, uint64_t gpa, uint64_t *linear)
{
    const uint64_t *entry = vm_ram_pointer(&kit.vm, GPA(table), PAGE_BYTES);
    const unsigned shift = PAGE_SHIFT + 9 * (level - 1);

    for (unsigned i = 0; entry != NULL && i < 512; i++) {
        uint64_t to = entry[i] & BITS(51, 12), below = gpa & (BIT(shift) - 1);
        bool leaf = level == 1 || (level < 4 && (entry[i] & PTE_PS));

        if (!(entry[i] & PTE_P) ||
            (leaf ? (gpa ^ to) >> shift != 0 : !linear_of(to, level - 1, gpa, &below)))
            continue;
        *linear = (uint64_t)((int64_t)((uint64_t)i << (shift + 16)) >> 16) | below;
        return true;
    }
    return false;
}

void kit_exit(struct hv_exit *exit, uint64_t rip, uint64_t gpa, uint8_t access)
{
    memset(exit, 0xa5, sizeof(*exit)); /* what a backend does not fill */
    exit->reason = HV_EXIT_MEMORY;
    exit->rip = rip;
    exit->memory = (struct hv_exit_memory){.gpa = GPA(gpa),
                                           .cr3 = kit.cr3,
                                           .efer = fake_backend.state.efer,
                                           .access = access,
                                           .plain = true,
                                           .final = true,
                                           .code_64 = true};
    exit->memory.gla_valid = kit.tells_linear && linear_of(kit.cr3, 4, gpa, &exit->memory.gla.v);
}

/* The backends' fast exit. */
static unsigned usual(const struct hv_exit *exit)
{
    const struct hv_exit_memory *m = &exit->memory;
    const struct hv_usual usual = {.rip = exit->rip,
                                   .cr3 = m->cr3,
                                   .gpa = m->gpa,
                                   .gla = m->gla,
                                   .code = m->code_given == INSN_MAX_BYTES ? m->code : NULL,
                                   .access = m->access & (HV_ACCESS_READ | HV_ACCESS_WRITE),
                                   .gla_valid = m->gla_valid,
                                   .code_64 = m->code_64};

    uint64_t next;

    if (!m->plain || vp_access_usual(&kit.vp, &usual, &next) == USUAL_NOT)
        return 0;
    return (unsigned)(next - exit->rip);
}

enum hv_resume kit_run(struct hv_exit *exit)
{
    unsigned length = usual(exit);

    kit_short = length != 0;
    if (!kit_short)
        return vm_exit_memory(&kit.vp, exit);
    exit->length = (uint8_t)length;
    return HV_ADVANCE;
}

enum hv_resume kit_fault(uint64_t rip, uint64_t gpa, uint8_t access)
{
    struct hv_exit exit;
    enum hv_resume resume;

    kit_exit(&exit, rip, gpa, access);
    resume = kit_run(&exit);
    kit_length = exit.length;
    return resume;
}

unsigned kit_mov(uint8_t code[4], unsigned bytes, bool write)
{
    unsigned used = 0;

    if (bytes == 2)
        code[used++] = 0x66;
    if (bytes == 8)
        code[used++] = 0x48;
    code[used++] = (uint8_t)((write ? 0x88 : 0x8a) | (bytes > 1));
    code[used++] = 0x03;
    return used;
}

void kit_expect_event(uint8_t vector, bool has_error, uint32_t error)
{
    assert_int_equal(kit.vp.event.kind, VP_EVENT_EXCEPTION);
    assert_int_equal(kit.vp.event.vector, vector);
    assert_int_equal(kit.vp.event.has_error, has_error);
    assert_int_equal(kit.vp.event.error, error);
}

void kit_expect_untouched(const uint64_t gpr[GPR_COUNT])
{
    assert_int_equal(kit.seen_count + kit.asked_count, 0);
    assert_int_equal(kit.vm.stats.trapped_reads + kit.vm.stats.trapped_writes, 0);
    assert_int_equal(kit.vm.stats.unclaimed, 0);
    assert_memory_equal(kit.vp.gpr, gpr, sizeof(kit.vp.gpr));
    assert_int_equal(fake_backend.rsp_stores, 0);
}
