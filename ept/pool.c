#include "ept/pool.h"

#include "hv/base/assert.h"
#include "hv/base/bits.h"
#include "hv/base/direct.h"
#include "hv/base/string.h"

#define BLOCK_TABLES (PT_BLOCK_FRAMES - 1)
#define ALL_TABLES \
    ((uint32_t)BITS(PT_BLOCK_FRAMES - 1, 1)) /* bit n: frame n; frame 0 is the header */

_Static_assert(sizeof(struct pt_block) <= PAGE_BYTES, "the header fits frame 0");

static hpa_t table_of(const struct pt_block *block, unsigned index)
{
    return HPA(direct_to_hpa(block).v + index * PAGE_BYTES);
}

static void list_push(struct pt_block **list, struct pt_block *block)
{
    block->prev = NULL;
    block->next = *list;
    if (*list != NULL)
        (*list)->prev = block;
    *list = block;
}

static void list_remove(struct pt_block **list, struct pt_block *block)
{
    if (block->next != NULL)
        block->next->prev = block->prev;
    if (block->prev != NULL)
        block->prev->next = block->next;
    else
        *list = block->next;
}

static hv_status_t block_add(struct pt_pool *pool)
{
    struct pt_block *block;
    hpa_t base;
    hv_status_t status = pt_block_alloc(&base);

    if (status != HV_OK)
        return status;
    ASSERT(IS_ALIGNED(base.v, PT_BLOCK_BYTES));
    block = direct(base);
    memset(block, 0, sizeof(*block));
    block->free_bits = ALL_TABLES;
    block->raw_bits = ALL_TABLES;
    list_push(&pool->unused, block);
    pool->unused_blocks++;
    pool->blocks++;
    pool->free_tables += BLOCK_TABLES;
    return HV_OK;
}

static void block_drop(struct pt_pool *pool)
{
    struct pt_block *block = pool->unused;

    list_remove(&pool->unused, block);
    pool->unused_blocks--;
    pool->blocks--;
    pool->free_tables -= BLOCK_TABLES;
    pt_block_free(direct_to_hpa(block));
}

/* Drop unused blocks beyond `warm` ones, as far as reservations allow. */
static void trim(struct pt_pool *pool, uint64_t warm)
{
    while (pool->unused_blocks > warm && pt_pool_spare(pool) >= BLOCK_TABLES)
        block_drop(pool);
}

hv_status_t pt_pool_grow(struct pt_pool *pool, uint64_t tables)
{
    uint64_t added = 0;

    while (pt_pool_spare(pool) < tables) {
        if (block_add(pool) != HV_OK) {
            for (; added > 0; added--)
                block_drop(pool);
            return HV_E_NO_MEMORY;
        }
        added++;
    }
    return HV_OK;
}

void pt_pool_trim(struct pt_pool *pool)
{
    trim(pool, 1);
}

void pt_pool_drain(struct pt_pool *pool)
{
    trim(pool, 0);
}

hpa_t pt_pool_take(struct pt_pool *pool)
{
    struct pt_block *block = pool->partial;
    unsigned index;
    hpa_t table;

    ASSERT(pool->reserved > 0);
    if (block == NULL) {
        block = pool->unused;
        list_remove(&pool->unused, block);
        pool->unused_blocks--;
        list_push(&pool->partial, block);
    }
    index = MASK_SHIFT(block->free_bits);
    block->free_bits &= block->free_bits - 1;
    if (block->free_bits == 0)
        list_remove(&pool->partial, block);
    pool->reserved--;
    pool->free_tables--;
    pool->used_tables++;
    table = table_of(block, index);
    if (block->raw_bits & (1u << index)) {
        block->raw_bits &= ~(1u << index);
        memset(direct(table), 0, PAGE_BYTES);
    }
    return table;
}

void pt_pool_give(struct pt_pool *pool, hpa_t table)
{
    struct pt_block *block = pt_pool_block(table);
    unsigned index = pt_pool_index(table);

    ASSERT(index != 0 && !(block->free_bits & (1u << index)) && block->live[index] == 0);
    if (block->free_bits == 0)
        list_push(&pool->partial, block);
    block->free_bits |= 1u << index;
    block->link[index] = 0;
    pool->free_tables++;
    pool->used_tables--;
    if (block->free_bits == ALL_TABLES) {
        list_remove(&pool->partial, block);
        list_push(&pool->unused, block);
        pool->unused_blocks++;
    }
}
