/*
 * Without nRIP and decode assists an exit does not say how long its instruction is, nor which register a MOV CR names:
 * the bytes do. All these instructions are a few prefixes, 0F and an opcode, or one byte.
 */
#include "hv/svm/svm.h"

#include "hv/vm/walk.h"
#include "hv/x86/regs.h"

#define MOST_BYTES 15u

static unsigned fetch(const struct vp *vp, uint8_t bytes[MOST_BYTES])
{
    const struct vmcb *vmcb = svm_of(vp)->vmcb;
    const struct guest_paging paging = {
        .cr0 = vmcb->cr0, .cr3 = vmcb->cr3, .cr4 = vmcb->cr4, .efer = vmcb->efer};
    uint64_t rip = svm_is_code_64(vmcb) ? vmcb->rip : (uint32_t)(vmcb->cs.base + vmcb->rip);
    unsigned have = 0;

    while (have < MOST_BYTES) {
        unsigned part = (unsigned)MIN(MOST_BYTES - have, PAGE_BYTES - (rip & PAGE_MASK));
        struct guest_walk walk;

        if (guest_walk(vp->vm, &paging, GVA(rip), &walk) != WALK_OK ||
            !guest_physical_read(vp->vm, walk.gpa, bytes + have, part))
            break;
        have += part;
        rip += part;
    }
    return have;
}

static bool is_legacy_prefix(uint8_t byte)
{
    switch (byte) {
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:
    case 0x66:
    case 0x67:
    case 0xf0:
    case 0xf2:
    case 0xf3:
        return true;
    default:
        return false;
    }
}

/* Bytes behind 0F and the opcode: MOV CR and LMSW have a ModRM (registers, or LMSW's memory form). */
static unsigned tail_bytes(uint8_t second, bool *modrm)
{
    *modrm = second == 0x20 || second == 0x22 || second == 0x01;
    return *modrm ? 1 : 0;
}

bool svm_fetch_insn(const struct vp *vp, struct svm_insn *insn)
{
    const struct vmcb *vmcb = svm_of(vp)->vmcb;
    bool code_64 = svm_is_code_64(vmcb), modrm = false;
    uint8_t bytes[MOST_BYTES];
    unsigned have = fetch(vp, bytes), at = 0;

    *insn = (struct svm_insn){0};
    while (at < have && (is_legacy_prefix(bytes[at]) || (code_64 && (bytes[at] & 0xf0) == 0x40))) {
        insn->rex = code_64 && (bytes[at] & 0xf0) == 0x40 ? bytes[at] : 0;
        at++;
    }
    if (at >= have)
        return false;
    insn->opcode[0] = bytes[at++];
    if (insn->opcode[0] == 0x0f) {
        if (at >= have)
            return false;
        insn->opcode[1] = bytes[at++];
        if (at + tail_bytes(insn->opcode[1], &modrm) > have)
            return false;
        if (modrm)
            insn->modrm = bytes[at++];
    }
    insn->length = (uint8_t)at;
    return true;
}
