/*
 * Owns:     the short way of a trapped access: what nearly every one is.
 * Promises: nothing has happened when it gives up; what it does is what the long way (access.c) would do.
 * Needs:    places that the long way has learnt; a backend that puts it into its exit path, where the arguments are
 *           in registers.
 * Never:    a guess: whatever it remembers is compared with what memory says now.
 */
#ifndef HV_VM_USUAL_H
#define HV_VM_USUAL_H

#include "hv/vm/vp.h"

/* A data access by an instruction to the translated address itself, no event in delivery. */
struct hv_usual {
    uint64_t rip, cr3;
    gpa_t gpa;
    gva_t gla;           /* when gla_valid */
    const uint8_t *code; /* INSN_MAX_BYTES that the CPU gives, or NULL */
    uint8_t access;      /* enum hv_access bits; those above say nothing */
    bool gla_valid;
    bool code_64; /* EFER.LMA, and CS is long */
};

static inline struct vp_place *vp_place_of(struct vp *vp, uint64_t rip)
{
    return &vp->place[rip % VP_PLACES];
}

/* All of the 15 bytes that an instruction may have. */
static inline bool vp_place_holds(const struct vp_place *place, const uint8_t *code)
{
    uint64_t first, second;

    __builtin_memcpy(&first, code, sizeof(first));
    __builtin_memcpy(&second, code + VP_PLACE_SECOND, sizeof(second));
    return first == place->bytes[0] && second == place->bytes[1];
}

/*
 * The instruction at rip, if it is one that was carried out before, and memory still says so. Bytes that the CPU
 * gives are what it has run, so they count and not the tables.
 */
static inline const struct vp_place *vp_place_find(struct vp *vp, const struct hv_usual *u)
{
    const struct vp_place *place = vp_place_of(vp, u->rip);
    const uint8_t *code = place->code;

    if (UNLIKELY(place->rip != u->rip || !u->code_64 || place->trail.cr3 != u->cr3))
        return NULL;
    if (u->code != NULL)
        code = u->code;
    else if (UNLIKELY(!guest_trail_holds(&place->trail, u->cr3)))
        return NULL;
    return LIKELY(vp_place_holds(place, code)) ? place : NULL;
}

/* mmio.c: what is not so usual. */
COLD bool vp_operand_learn(struct vp *vp, uint64_t cr3, uint64_t linear, struct vp_page *page);
COLD uint64_t vp_place_index(const struct vp_place *place, const uint64_t *gpr);
COLD void vp_place_load(struct vp *vp, const struct vp_place *place, uint64_t value);
COLD bool vp_fault_is_over(const struct vp *vp, gpa_t gpa, uint8_t access);

static inline struct vp_page *vp_page_of(struct vp *vp, uint64_t linear)
{
    return &vp->operand[(linear >> PAGE_SHIFT ^ linear >> 20) % VP_PAGES];
}

static inline bool vp_page_holds(const struct vp_page *page, uint64_t cr3, uint64_t linear)
{
    return page->linear == (linear & ~PAGE_MASK) && guest_trail_holds(&page->trail, cr3);
}

/*
 * Is the operand's address the one that has faulted? When the CPU does not tell the linear one, the guest's tables
 * must lead from this one to where the fault was.
 */
static inline bool vp_operand_is_at(struct vp *vp, const struct hv_usual *u, uint64_t linear)
{
    struct vp_page *page;

    if (u->gla_valid)
        return u->gla.v == linear;
    page = vp_page_of(vp, linear);
    if (UNLIKELY(!vp_page_holds(page, u->cr3, linear)) &&
        !vp_operand_learn(vp, u->cr3, linear, page))
        return false;
    return u->gpa.v == (page->gpa | (linear & PAGE_MASK));
}

static inline uint64_t vp_place_address(const struct vp_place *place, const uint64_t *gpr)
{
    uint64_t linear = place->disp;

    if (LIKELY(place->base != INSN_NO_REG))
        linear += gpr[place->base];
    if (UNLIKELY(place->index != INSN_NO_REG))
        linear += vp_place_index(place, gpr);
    return linear;
}

enum vp_usual { USUAL_NOT, USUAL_STORE, USUAL_LOAD };

/*
 * A MOV that was here before, and a naturally aligned operand, which therefore is one piece of one page, and a device
 * that answers. *next is where the instruction ends that has been carried out. USUAL_NOT: take the long way. A
 * store has changed no register.
 */
static inline __attribute__((always_inline)) enum vp_usual
vp_access_usual(struct vp *vp, const struct hv_usual *u, uint64_t *next)
{
    _Static_assert((int)HV_ACCESS_READ == INSN_READS && (int)HV_ACCESS_WRITE == INSN_WRITES,
                   "an access asks for what it does");
    const struct vp_place *place = vp_place_find(vp, u);
    struct vm *vm = vp->vm;
    const struct mmio_handler *handler;
    uint64_t linear, offset, value;
    unsigned region;

    if (UNLIKELY(place == NULL))
        return USUAL_NOT;
    linear = vp_place_address(place, vp->gpr);
    if (UNLIKELY((linear & place->unaligned) ||
                 (uint8_t)(u->access | place->not_needed) != UINT8_MAX ||
                 !vp_operand_is_at(vp, u, linear)))
        return USUAL_NOT;
    region = vp->last_region;
    offset = u->gpa.v - vm->regions.key[region].start;
    if (UNLIKELY(region >= vm->regions.count || offset >= vm->regions.key[region].bytes)) {
        region = mmio_region_search(&vm->regions, u->gpa, &vp->last_region);
        if (region == MMIO_NONE)
            return USUAL_NOT;
        offset = u->gpa.v - vm->regions.key[region].start;
    }
    handler = &vm->regions.handler[region];
    if (handler->has_leaves && UNLIKELY(vp_fault_is_over(vp, u->gpa, place->insn.access)))
        return USUAL_NOT;
    *next = u->rip + place->insn.length;
    vm->stats.exits[HV_EXIT_MEMORY]++;
    if (place->kind == PLACE_STORE) {
        value = (vp->gpr[place->reg] >> place->shift & place->mask) | place->imm;
        vm->stats.trapped_writes++;
        handler->write_whole(handler->owner, offset, place->insn.bytes, value);
        return USUAL_STORE;
    }
    vm->stats.trapped_reads++;
    value = handler->read(handler->owner, offset, place->insn.bytes);
    if (LIKELY(place->kind == PLACE_LOAD))
        vp->gpr[place->reg] = value & place->mask;
    else
        vp_place_load(vp, place, value);
    return USUAL_LOAD;
}

#endif
