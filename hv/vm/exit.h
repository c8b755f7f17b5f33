/*
 * Owns:     the neutral exit: what a backend tells the core, and what the core answers.
 * Promises: complete: a backend fills everything that the reason needs, so the core reads no vendor state
 *           on the exit path and calls no function pointer.
 * Needs:    base.
 * Never:    encodings of a vendor's control structure.
 */
#ifndef HV_VM_EXIT_H
#define HV_VM_EXIT_H

#include "hv/base/types.h"

/* X(name, text): the statistics table prints text. */
#define HV_EXIT_LIST(X)                         \
    X(HV_EXIT_UNKNOWN, "unknown")               \
    X(HV_EXIT_CPUID, "cpuid")                   \
    X(HV_EXIT_MEMORY, "second-level fault")     \
    X(HV_EXIT_TABLES, "bad second-level entry") \
    X(HV_EXIT_IO, "port i/o")                   \
    X(HV_EXIT_MSR_READ, "rdmsr")                \
    X(HV_EXIT_MSR_WRITE, "wrmsr")               \
    X(HV_EXIT_CR, "control register")           \
    X(HV_EXIT_XSETBV, "xsetbv")                 \
    X(HV_EXIT_HLT, "hlt")                       \
    X(HV_EXIT_EXCEPTION, "exception")           \
    X(HV_EXIT_FPU, "x87 error")                 \
    X(HV_EXIT_TRAP, "int1")                     \
    X(HV_EXIT_NMI, "nmi")                       \
    X(HV_EXIT_INTERRUPT, "host interrupt")      \
    X(HV_EXIT_WINDOW, "event window")           \
    X(HV_EXIT_SHUTDOWN, "triple fault")         \
    X(HV_EXIT_CACHE, "cache flush")             \
    X(HV_EXIT_REFUSED, "refused instruction")   \
    X(HV_EXIT_UNDEFINED, "hidden instruction")  \
    X(HV_EXIT_FAILURE, "entry failure")

#define HV_EXIT_ENUM(name, text) name,
enum hv_exit_reason { HV_EXIT_LIST(HV_EXIT_ENUM) HV_EXIT_COUNT };
#undef HV_EXIT_ENUM

enum hv_access {
    HV_ACCESS_READ = 1,
    HV_ACCESS_WRITE = 2,
    HV_ACCESS_FETCH = 4,
};

/* A fault on second-level translation. */
struct hv_exit_memory {
    gpa_t gpa;
    uint64_t cr3, efer;
    const uint8_t
        *code; /* the instruction's bytes when the CPU gives them, else NULL: they are fetched */
    uint8_t code_given; /* how many */
    gva_t gla;
    uint8_t access; /* enum hv_access bits, as reported */
    bool plain; /* a data access by an instruction to the translated address itself: the usual case,
                            in which the three below need no look */
    bool gla_valid; /* gla is filled: on accesses that cannot be emulated, when the CPU tells it */
    bool final;     /* the access was to the translated address itself, not to a guest table */
    bool in_delivery; /* an event was being delivered: must not be emulated */
    bool code_64;     /* 64-bit code, so paging with LMA */
};

struct hv_exit_io {
    uint16_t port;
    uint8_t bytes; /* 1, 2 or 4 */
    bool in;
    bool string; /* INS, OUTS */
};

struct hv_exit_cr {
    uint8_t number; /* 0, 3, 4, 8 */
    bool write;     /* MOV to CR; else MOV from CR */
    bool clts, lmsw;
    uint8_t gpr;
    uint64_t value; /* what is written (LMSW: the low 16 bits) */
};

struct hv_exit {
    uint32_t reason;     /* enum hv_exit_reason */
    uint32_t raw_reason; /* the hardware's number, for reports */
    uint64_t raw_info;   /* exit qualification or EXITINFO1, for reports */
    uint64_t rip;
    uint8_t length; /* of the instruction; on memory faults the core sets it before HV_ADVANCE */
    union {
        struct hv_exit_memory memory;
        struct hv_exit_io io;
        struct hv_exit_cr cr;
        struct {
            uint8_t vector;
            bool has_error, replaces_event;
            uint32_t error;
        } exception;
        struct {
            uint8_t takes; /* VP_TAKES_* behind the HLT */
            bool stepped;  /* RFLAGS.TF: the trap behind it lets no CPU sleep */
        } halt;
    };
};

/* Where the instruction of a memory fault ends. Outside 64-bit mode 0 comes after the top. */
static inline uint64_t hv_exit_memory_next(const struct hv_exit *exit)
{
    uint64_t next = exit->rip + exit->length;

    return exit->memory.code_64 ? next : (uint32_t)next;
}

/* What the backend does next. */
enum hv_resume {
    HV_RESUME,  /* enter again at the same RIP (or at vp->event) */
    HV_ADVANCE, /* step over the instruction, then enter */
    HV_STOP,    /* the VM has ended; vm->stop says why */
};

struct vp;

/*
 * The core's entry from a backend, hv/vm/exit.c. Two reasons come so often that each has a door of its own, which
 * saves filling and sorting; everything else comes through vm_exit(). On memory faults the core sets exit->length
 * before HV_ADVANCE.
 */
enum hv_resume vm_exit_cpuid(struct vp *vp);
enum hv_resume vm_exit_memory(struct vp *vp, struct hv_exit *exit);
enum hv_resume vm_exit(struct vp *vp, struct hv_exit *exit);

const char *hv_exit_name(unsigned reason);

#endif
