/* The table of ports. */
#include "hv/base/string.h"
#include "hv/vm/vm.h"

hv_status_t vm_port_register(struct vm *vm, const struct vm_port *port)
{
    for (unsigned i = 0; i < vm->port_count; i++) {
        const struct vm_port *other = &vm->port[i];

        if (port->first < other->first + other->count && other->first < port->first + port->count)
            return HV_E_CONFLICTING_ADDRESSES;
    }
    if (vm->port_count == VM_MAX_PORTS)
        return HV_E_QUOTA;
    vm->port[vm->port_count++] = *port;
    return HV_OK;
}

void vm_port_unregister(struct vm *vm, uint16_t first)
{
    unsigned i = 0;

    while (i < vm->port_count && vm->port[i].first != first)
        i++;
    ASSERT(i < vm->port_count);
    vm->port_count--;
    memmove(&vm->port[i], &vm->port[i + 1], (vm->port_count - i) * sizeof(vm->port[0]));
}
