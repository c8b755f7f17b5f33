/* Offsets for assembly. Compiled to text only; the Makefile turns each marked line into a %define. */
#include "hv/vm/vp.h"

#define VALUE(name, value)         __asm__ volatile("\n->" #name " %0" : : "i"(value))
#define OFFSET(name, type, member) VALUE(name, offsetof(type, member))

void offsets(void);

void offsets(void)
{
    OFFSET(VP_HOST_RSP, struct vp, host_rsp);
    OFFSET(VP_BACKEND, struct vp, backend);
    VALUE(VP_GPR_BYTES, GPR_COUNT * sizeof(uint64_t));
}

_Static_assert(offsetof(struct vp, gpr) == 0,
               "the exit stub pushes the registers at the VP's start");
