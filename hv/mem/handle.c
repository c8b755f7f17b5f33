#include "hv/mem/handle.h"

#include "hv/base/assert.h"
#include "hv/base/bits.h"
#include "hv/mem/slab.h"

/*
 *  handle     31                    14 13      5 4      0
 *            [ generation, never 0    ][ chunk  ][ slot  ]
 *
 * One counter gives every new handle its generation, so a chunk without live handles has no history to
 * keep and goes back.
 */
#define HANDLE_SLOT       BITS(4, 0)
#define HANDLE_CHUNK      BITS(13, 5)
#define HANDLE_GENERATION BITS(31, 14)

#define CHUNK_SLOTS       (HANDLE_SLOT + 1)
#define CHUNKS            (FIELD_GET(HANDLE_CHUNK, HANDLE_CHUNK) + 1)
#define ALL_FREE          UINT32_MAX

struct slot {
    struct handle_entry entry;
    uint32_t generation; /* 0: free */
};

struct chunk_slots {
    struct slot slot[CHUNK_SLOTS];
};

static struct chunk {
    struct chunk_slots *slots; /* NULL: no live handle */
    uint32_t free;             /* bit per slot, when slots is not NULL */
} table[CHUNKS];

_Static_assert(CHUNK_SLOTS == 32, "free is a 32-bit word");

static struct slab chunk_slab = SLAB_INIT("handles", struct chunk_slots);
static uint32_t last_generation;
static uint64_t live;

static struct slot *find_slot(hv_handle_t handle)
{
    struct chunk *chunk = &table[FIELD_GET(HANDLE_CHUNK, handle)];
    uint64_t generation = FIELD_GET(HANDLE_GENERATION, handle);
    struct slot *slot;

    if (generation == 0 || chunk->slots == NULL)
        return NULL;
    slot = &chunk->slots->slot[FIELD_GET(HANDLE_SLOT, handle)];
    return slot->generation == generation ? slot : NULL;
}

/* A chunk with a free slot: one that has handles already, else the first empty place. */
static struct chunk *chunk_with_room(void)
{
    struct chunk *empty = NULL;

    for (unsigned i = 0; i < CHUNKS; i++) {
        if (table[i].slots == NULL)
            empty = empty != NULL ? empty : &table[i];
        else if (table[i].free != 0)
            return &table[i];
    }
    if (empty == NULL)
        return NULL;
    empty->slots = slab_alloc(&chunk_slab);
    empty->free = ALL_FREE;
    return empty->slots != NULL ? empty : NULL;
}

hv_status_t handle_create(const struct handle_entry *entry, hv_handle_t *handle)
{
    struct chunk *chunk = chunk_with_room();
    unsigned bit;

    if (chunk == NULL)
        return HV_E_NO_MEMORY;
    bit = (unsigned)__builtin_ctz(chunk->free);
    chunk->free &= chunk->free - 1;
    last_generation = (last_generation + 1) & (uint32_t)FIELD_GET(HANDLE_GENERATION, UINT32_MAX);
    if (last_generation == 0)
        last_generation = 1;
    chunk->slots->slot[bit].entry = *entry;
    chunk->slots->slot[bit].generation = last_generation;
    live++;
    *handle = (hv_handle_t)(FIELD_PREP(HANDLE_GENERATION, last_generation) |
                            FIELD_PREP(HANDLE_CHUNK, chunk - table) | bit);
    return HV_OK;
}

const struct handle_entry *handle_find(hv_handle_t handle)
{
    const struct slot *slot = find_slot(handle);

    return slot != NULL ? &slot->entry : NULL;
}

void handle_remove(hv_handle_t handle)
{
    struct chunk *chunk = &table[FIELD_GET(HANDLE_CHUNK, handle)];
    struct slot *slot = find_slot(handle);

    ASSERT(slot != NULL);
    slot->generation = 0;
    live--;
    chunk->free |= 1u << FIELD_GET(HANDLE_SLOT, handle);
    if (chunk->free == ALL_FREE) {
        slab_free(&chunk_slab, chunk->slots);
        chunk->slots = NULL;
    }
}

uint64_t handle_live_count(void)
{
    return live;
}

void handle_trim(void)
{
    slab_trim(&chunk_slab);
}
