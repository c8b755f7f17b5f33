/*
 * The guest's own 4-level tables. Tables lie in the identity map, so an entry's address is its table's.
 * SDM 3A "4-Level Paging".
 */
#include "tests/guest/guest.h"

#define PTE_P       0x001ull
#define PTE_RW      0x002ull
#define PTE_US      0x004ull
#define PTE_PWT     0x008ull
#define PTE_PCD     0x010ull
#define PTE_PS      0x080ull
#define PAT_BIT_4K  0x080ull
#define PAT_BIT_2M  0x1000ull
#define PTE_FRAME   0x000ffffffffff000ull

#define POOL_TABLES 192u

extern uint64_t guest_pml4[512];
static uint64_t pool[POOL_TABLES][512] __attribute__((aligned(4096)));
static unsigned pool_used;
uint64_t pat_at_entry;

void paging_init(void)
{
    pat_at_entry = rdmsr(MSR_PAT);
    wrmsr(MSR_PAT, GUEST_PAT);
}

bool have_huge_pages(void)
{
    return (cpuid(0x80000001u, 0).d >> 26) & 1;
}

unsigned pat_index_of(unsigned type)
{
    for (unsigned i = 0; i < 8; i++)
        if (((GUEST_PAT >> (i * 8)) & 7) == type)
            return i;
    return 0;
}

static uint64_t *table_under(uint64_t *entry)
{
    if (!(*entry & PTE_P) || (*entry & PTE_PS)) {
        if (pool_used == POOL_TABLES) {
            say("Bail out! no page tables left\n");
            guest_exit(1);
        }
        *entry = (uint64_t)(uintptr_t)pool[pool_used++] | PTE_P | PTE_RW;
    }
    return (uint64_t *)(uintptr_t)(*entry & PTE_FRAME);
}

uint64_t *entry_of(uint64_t gva, unsigned level)
{
    uint64_t *table = guest_pml4;

    for (unsigned l = 4; l > level; l--)
        table = table_under(&table[(gva >> (12 + 9 * (l - 1))) & 511]);
    return &table[(gva >> (12 + 9 * (level - 1))) & 511];
}

static unsigned level_of(uint64_t leaf)
{
    return leaf == HUGE ? 3 : leaf == LARGE ? 2 : 1;
}

void map(uint64_t gva, uint64_t gpa, uint64_t bytes, uint64_t leaf, unsigned pat_index)
{
    uint64_t bits = PTE_P | PTE_RW;

    if (pat_index & 1)
        bits |= PTE_PWT;
    if (pat_index & 2)
        bits |= PTE_PCD;
    if (leaf != PAGE)
        bits |= PTE_PS;
    if (pat_index & 4)
        bits |= leaf == PAGE ? PAT_BIT_4K : PAT_BIT_2M;
    for (uint64_t o = 0; o < bytes; o += leaf) {
        *entry_of(gva + o, level_of(leaf)) = (gpa + o) | bits;
        invlpg(gva + o);
    }
}

void unmap(uint64_t gva, uint64_t bytes, uint64_t leaf)
{
    for (uint64_t o = 0; o < bytes; o += leaf) {
        *entry_of(gva + o, level_of(leaf)) = 0;
        invlpg(gva + o);
    }
}

void allow_user(uint64_t gva, uint64_t bytes)
{
    for (uint64_t o = 0; o < bytes; o += PAGE) {
        for (unsigned level = 1; level <= 4; level++)
            *entry_of(gva + o, level) |= PTE_US;
        invlpg(gva + o);
    }
}
