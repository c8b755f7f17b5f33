#include "tests/guest/guest.h"

struct cpuid cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid r;

    __asm__ volatile("cpuid"
                     : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;

    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
    return ((uint64_t)hi << 32) | lo;
}

void wrmsr(uint32_t msr, uint64_t v)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

struct request {
    uint32_t index;
    uint64_t value;
};

static void do_rdmsr(void *arg)
{
    struct request *r = arg;

    r->value = rdmsr(r->index);
}

static void do_wrmsr(void *arg)
{
    const struct request *r = arg;

    wrmsr(r->index, r->value);
}

static void do_cr(void *arg)
{
    const struct request *r = arg;

    if (r->index == 0)
        __asm__ volatile("mov %0, %%cr0" ::"r"(r->value) : "memory");
    else if (r->index == 4)
        __asm__ volatile("mov %0, %%cr4" ::"r"(r->value) : "memory");
    else
        __asm__ volatile("mov %0, %%cr8" ::"r"(r->value) : "memory");
}

static void do_xsetbv(void *arg)
{
    const struct request *r = arg;

    __asm__ volatile("xsetbv" ::"c"(r->index), "a"((uint32_t)r->value),
                     "d"((uint32_t)(r->value >> 32))
                     : "memory");
}

int try_rdmsr(uint32_t msr, uint64_t *v)
{
    struct request r = {msr, 0};
    int vector = trap_try(do_rdmsr, &r);

    *v = r.value;
    return vector;
}

int try_wrmsr(uint32_t msr, uint64_t v)
{
    struct request r = {msr, v};

    return trap_try(do_wrmsr, &r);
}

int try_write_cr0(uint64_t v)
{
    struct request r = {0, v};

    return trap_try(do_cr, &r);
}

int try_write_cr4(uint64_t v)
{
    struct request r = {4, v};

    return trap_try(do_cr, &r);
}

int try_write_cr8(uint64_t v)
{
    struct request r = {8, v};

    return trap_try(do_cr, &r);
}

uint64_t read_cr8(void)
{
    uint64_t v;

    __asm__ volatile("mov %%cr8, %0" : "=r"(v));
    return v;
}

int try_xsetbv(uint32_t index, uint64_t v)
{
    struct request r = {index, v};

    return trap_try(do_xsetbv, &r);
}

uint64_t xgetbv(uint32_t index)
{
    uint32_t lo, hi;

    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(index));
    return ((uint64_t)hi << 32) | lo;
}

bool on_barvisor(void)
{
    struct cpuid r;

    if (!(cpuid(1, 0).c >> 31))
        return false;
    r = cpuid(0x40000000u, 0);
    return r.b == 0x76726142u && r.c == 0x726f7369u && r.d == 0x73767242u; /* Barv isor Brvs */
}

uint64_t load(uint64_t gva, unsigned bytes)
{
    uint64_t v = 0;

    switch (bytes) {
    case 1:
        __asm__ volatile("movb (%1), %b0" : "+q"(v) : "r"(gva) : "memory");
        break;
    case 2:
        __asm__ volatile("movw (%1), %w0" : "+r"(v) : "r"(gva) : "memory");
        break;
    case 4:
        __asm__ volatile("movl (%1), %k0" : "=r"(v) : "r"(gva) : "memory");
        break;
    default:
        __asm__ volatile("movq (%1), %0" : "=r"(v) : "r"(gva) : "memory");
        break;
    }
    return v;
}

void store(uint64_t gva, unsigned bytes, uint64_t value)
{
    switch (bytes) {
    case 1:
        __asm__ volatile("movb %b0, (%1)" ::"q"(value), "r"(gva) : "memory");
        break;
    case 2:
        __asm__ volatile("movw %w0, (%1)" ::"r"(value), "r"(gva) : "memory");
        break;
    case 4:
        __asm__ volatile("movl %k0, (%1)" ::"r"(value), "r"(gva) : "memory");
        break;
    default:
        __asm__ volatile("movq %0, (%1)" ::"r"(value), "r"(gva) : "memory");
        break;
    }
}

uint64_t ones(unsigned bytes)
{
    return bytes >= 8 ? ~0ull : (1ull << (bytes * 8)) - 1;
}
