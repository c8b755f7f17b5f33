#include "hv/vm/vp.h"

#include "hv/base/bits.h"
#include "hv/x86/regs.h"

/* Ports that nobody answers read all ones; writes are dropped. An IN keeps the upper bits as MOV does. */
enum hv_resume vp_port_access(struct vp *vp, const struct hv_exit_io *io)
{
    const struct vm_port *port = vm_port_find(vp->vm, io->port);
    uint64_t mask = ones_of(io->bytes), rax = vp->gpr[GPR_RAX];
    uint32_t value = ~0u;

    if (io->string) { /* INS and OUTS come with the string instructions */
        vp->vm->stats.unsupported++;
        if (log_limit_pass(&vp->vm->unsupported_log))
            log_line("vm", "string I/O on port %#x is not emulated: #UD", io->port);
        vp_inject(vp, VECTOR_UD, false, 0);
        return HV_RESUME;
    }
    if (io->in) {
        if (port)
            value = port->in(port->owner, (uint16_t)(io->port - port->first), io->bytes);
        vp->gpr[GPR_RAX] = io->bytes == 4 ? value : (rax & ~mask) | (value & mask);
    } else if (port) {
        port->out(port->owner, (uint16_t)(io->port - port->first), io->bytes,
                  (uint32_t)(rax & mask));
    }
    return vp->vm->stop == VM_STOP_NONE ? HV_ADVANCE : HV_STOP;
}
