/*
 * Pause and resume: a short barrier for changes of many pages that a guest must not see half of. Device callbacks are not
 * told, the guest's TSC goes on, and interrupts stay latched.
 *
 * "Paused" is a bit of vm->generation, which each VP compares with its own copy before every entry, after it has
 * published "in guest" (hv/x86/desc.h). So a VP that reads the old value is seen to be in the guest, and one that is not
 * seen there reads the new value. That is the order on which vm_flush() stands as well.
 */
#include "hv/vm/vm.h"

hv_status_t hv_vm_pause_vps(struct vm *vm, uint64_t timeout_us)
{
    hv_status_t status = HV_OK;

    (void)timeout_us; /* nobody is waited for */
    if (!vm)
        return HV_E_INVALID_PARAMETER_1;
    lock_acquire(&vm->tables_lock);
    if (vm->pauses == VM_MAX_PAUSES)
        status = HV_E_QUOTA;
    else if (vm->pauses++ == 0)
        __atomic_or_fetch(&vm->generation, VM_PAUSED, __ATOMIC_SEQ_CST);
    lock_release(&vm->tables_lock);
    /*
     * One VP on one CPU in this version, and the caller is on that CPU: in root mode, inside an exit or before the first
     * entry. With more VPs, the kick and the wait go here, with the lock released: kick every other CPU that is in this
     * VM's guest or runs one of its trapped accesses, and wait until each has come to vm_entry_allowed(). The VP of the
     * caller is not waited for. When the time is over, take the pause back as hv_vm_resume_vps() does and answer
     * HV_E_TIMEOUT. Two VPs that pause from their callbacks at once would wait for each other: whoever waits counts as
     * paused.
     */
    return status;
}

hv_status_t hv_vm_resume_vps(struct vm *vm)
{
    hv_status_t status = HV_OK;

    if (!vm)
        return HV_E_INVALID_PARAMETER_1;
    lock_acquire(&vm->tables_lock);
    if (vm->pauses == 0)
        status = HV_E_INVALID_STATE;
    else if (--vm->pauses == 0)
        __atomic_and_fetch(&vm->generation, ~VM_PAUSED, __ATOMIC_SEQ_CST);
    lock_release(&vm->tables_lock);
    return status;
}

/* With more VPs a paused one waits here, counted as arrived, until the bit is gone. The only one would wait forever. */
bool vm_entry_allowed(struct vm *vm, uint64_t generation)
{
    if (vm->stop != VM_STOP_NONE)
        return false;
    if ((generation & VM_PAUSED) == 0)
        return true;
    vm_stop(vm, NULL, VM_STOP_PAUSED);
    return false;
}
