#include "hv/vm/vm.h"

struct hv_caps hv_caps;

bool vm_ram_overlaps(const struct vm *vm, gpa_t gpa, uint64_t bytes)
{
    for (unsigned i = 0; i < vm->ram_count; i++) {
        uint64_t start = vm->ram[i].gpa.v;
        uint64_t end = start + vm->ram[i].bytes;

        if (gpa.v < end && bytes > 0 && gpa.v + (bytes - 1) >= start)
            return true;
    }
    return false;
}

/* Dead tables go back, a bounded number for each hold of the lock. */
static __attribute__((noinline)) void bury_tables(struct vm *vm, struct pt_flush *flush)
{
    const unsigned tables_per_hold = 64;
    bool more;

    pt_flush_clean(flush);
    do {
        lock_acquire(&vm->tables_lock);
        more = pt_flush_done_step(&vm->tables, flush, tables_per_hold);
        lock_release(&vm->tables_lock);
    } while (more);
}

/*
 * One VP on one CPU in this version: the caller is on that CPU, so the VP is out of the guest and will see
 * the new generation before its next entry (enter_next() in the backend). With more CPUs, the kick
 * and the wait for "out of guest" go before the tables' burial.
 */
void vm_flush(struct vm *vm, struct pt_flush *flush)
{
    if (flush->needed) {
        __atomic_fetch_add(&vm->stats.flushes, 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&vm->generation, 1, __ATOMIC_SEQ_CST);
        flush->needed = false;
    }
    if (UNLIKELY(flush->dead.v != 0))
        bury_tables(vm, flush);
}

void vm_stop(struct vm *vm, const struct hv_exit *exit, enum vm_stop_cause cause)
{
    if (vm->stop != VM_STOP_NONE)
        return;
    vm->stop = cause;
    if (exit)
        vm->stop_exit = *exit;
}

/* A changed generation is what every entry sees. */
void vm_end_at_entry(struct vm *vm, enum vm_stop_cause cause)
{
    vm_stop(vm, NULL, cause);
    __atomic_add_fetch(&vm->generation, 1, __ATOMIC_SEQ_CST);
}

static const char *const stop_texts[] = {
#define STOP_TEXT(name, text) text,
    VM_STOP_LIST(STOP_TEXT)
#undef STOP_TEXT
};

const char *vm_stop_text(enum vm_stop_cause cause)
{
    return (unsigned)cause < VM_STOP_COUNT ? stop_texts[cause] : "?";
}
