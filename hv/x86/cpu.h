/*
 * Owns:     one wrapper per privileged instruction.
 * Promises: each is the instruction and nothing else; memory clobbers where ordering matters.
 * Needs:    ring 0. Operand order and flags as in SDM 2.
 * Never:    policy.
 */
#ifndef HV_X86_CPU_H
#define HV_X86_CPU_H

#include "hv/base/types.h"

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs r;

    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t low, high;

    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return low | (uint64_t)high << 32;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

static inline uint64_t rdtsc(void)
{
    uint32_t low, high;

    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high)::"memory");
    return low | (uint64_t)high << 32;
}

static inline uint64_t xgetbv(uint32_t index)
{
    uint32_t lo, hi;

    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(index));
    return ((uint64_t)hi << 32) | lo;
}

static inline void xsetbv(uint32_t index, uint64_t value)
{
    __asm__ volatile("xsetbv" ::"c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

#define CR_ACCESSORS(n)                                             \
    static inline uint64_t read_cr##n(void)                         \
    {                                                               \
        uint64_t v;                                                 \
        __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v)::"memory"); \
        return v;                                                   \
    }                                                               \
    static inline void write_cr##n(uint64_t v)                      \
    {                                                               \
        __asm__ volatile("mov %0, %%cr" #n ::"r"(v) : "memory");    \
    }
CR_ACCESSORS(0)
CR_ACCESSORS(2)
CR_ACCESSORS(3)
CR_ACCESSORS(4)
#undef CR_ACCESSORS

static inline uint64_t read_dr6(void)
{
    uint64_t v;

    __asm__ volatile("mov %%dr6, %0" : "=r"(v));
    return v;
}

static inline void write_dr6(uint64_t v)
{
    __asm__ volatile("mov %0, %%dr6" ::"r"(v));
}

static inline void invlpg(hva_t address)
{
    __asm__ volatile("invlpg (%0)" ::"r"(address.v) : "memory");
}

static inline void clflush(const void *line)
{
    __asm__ volatile("clflush (%0)" ::"r"(line) : "memory");
}

static inline void mfence(void)
{
    __asm__ volatile("mfence" ::: "memory");
}

static inline void wbinvd(void)
{
    __asm__ volatile("wbinvd" ::: "memory");
}

NORETURN static inline void halt_forever(void)
{
    for (;;)
        __asm__ volatile("cli; hlt" ::: "memory");
}

static inline uint8_t in8(uint16_t port)
{
    uint8_t v;

    __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline void out8(uint16_t port, uint8_t v)
{
    __asm__ volatile("outb %0, %1" ::"a"(v), "Nd"(port));
}

static inline uint32_t in32(uint16_t port)
{
    uint32_t v;

    __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
    return v;
}

static inline void out32(uint16_t port, uint32_t v)
{
    __asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}

#endif
