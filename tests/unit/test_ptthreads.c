/*
 * Two CPUs change the halves of one table, each change under the lock, and join it when they can; a third walks all
 * the time, without a lock. What it sees of a page is one of that page's translations; pages that nobody changes are
 * always there.
 */
#include "tests/fake/host.h"

#include <pthread.h>
#include <sched.h>

#include "ept/ept.h"
#include "tests/fake/blocks.h"

#define AT           GIB(6)
#define FRAME        GIB(10)
#define PAGES        512u
#define HALF         (PAGES / 2)
#define CHANGES      20000u
#define MOST_CHANGES 2000000u
#define ENOUGH       100u

static const struct pt_attr rw = {PT_R | PT_W, MEMTYPE_WB, false, 3};
static const struct pt_attr ro = {PT_R, MEMTYPE_WB, false, 3};

static struct {
    pthread_mutex_t lock;
    struct pt_pool pool;
    struct pt_root root;
    struct pt_flush flush;
    unsigned joins, splits;
    unsigned walks;   /* odd while the walker is in the tables */
    unsigned writers; /* still at work */
    unsigned wrong;
} w = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* The flush: the walker has left the tables since, or was not there. */
static void flush_now(void)
{
    unsigned seen = __atomic_load_n(&w.walks, __ATOMIC_SEQ_CST);

    while (seen % 2 != 0 && __atomic_load_n(&w.walks, __ATOMIC_SEQ_CST) == seen)
        sched_yield();
    pt_flush_done(&w.root, &w.flush);
}

/* Odd pages come and go and change; even ones only ever get what they have. */
static void change(uint64_t first, uint64_t random)
{
    uint64_t inside = (first + (random >> 8) % HALF) * PAGE_BYTES;
    uint64_t half = first * PAGE_BYTES;
    uint64_t large = w.root.leaves[2];

    switch (random % 4) {
    case 0:
        pt_unmap(&w.root, (AT + inside) | PAGE_BYTES, 1, &w.flush);
        break;
    case 1:
        inside |= PAGE_BYTES;
        pt_map(&w.root, AT + inside, HPA(FRAME + inside), 1, &ro, &w.flush);
        break;
    default:
        pt_map(&w.root, AT + half, HPA(FRAME + half), HALF, &rw, &w.flush);
    }
    w.splits += w.root.leaves[2] < large;
    if (w.flush.filled && pt_joinable(&w.root, AT + inside, 2)) {
        pt_join(&w.root, AT + inside, 2, &w.flush);
        w.joins++;
    }
    w.flush.filled = false;
}

static bool is_enough(void)
{
    return __atomic_load_n(&w.joins, __ATOMIC_RELAXED) > ENOUGH &&
           __atomic_load_n(&w.splits, __ATOMIC_RELAXED) > ENOUGH;
}

static void *writer(void *half)
{
    uint64_t first = half != NULL ? HALF : 0, state = 1 + first;

    /* How often both halves are whole at once is a matter of who runs when: on a busy machine it takes longer. */
    for (unsigned i = 0; i < CHANGES || (!is_enough() && i < MOST_CHANGES); i++) {
        uint64_t random = next_random(&state);

        if (random % 64 == 0)
            sched_yield();
        pthread_mutex_lock(&w.lock);
        if (pt_pool_reserve(&w.pool, PT_LEVELS - 1) == HV_OK)
            change(first, random >> 8);
        pt_pool_unreserve(&w.pool, w.pool.reserved);
        if (random % 4 != 0) /* else it is due with a later change */
            flush_now();
        pthread_mutex_unlock(&w.lock);
    }
    __atomic_fetch_sub(&w.writers, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static bool is_right(uint64_t page)
{
    struct pt_leaf leaf;

    if (!pt_lookup(&w.root, AT + page * PAGE_BYTES, &leaf))
        return page % 2 != 0;
    if (leaf.frame.v != FRAME + page * PAGE_BYTES || leaf.attr.memtype != MEMTYPE_WB)
        return false;
    return leaf.attr.rights == (PT_R | PT_W) || (page % 2 != 0 && leaf.attr.rights == PT_R);
}

static void *walker(void *unused)
{
    (void)unused;
    for (uint64_t page = 0; __atomic_load_n(&w.writers, __ATOMIC_SEQ_CST) != 0; page += 37) {
        __atomic_fetch_add(&w.walks, 1, __ATOMIC_SEQ_CST);
        w.wrong += !is_right(page % PAGES);
        __atomic_fetch_add(&w.walks, 1, __ATOMIC_SEQ_CST);
    }
    return NULL;
}

static void merge_against_split_on_two_cpus(void **state)
{
    pthread_t threads[3];

    (void)state;
    assert_int_equal(pt_root_create(&w.root, &pt_format_ept, &w.pool, 3), HV_OK);
    assert_int_equal(pt_pool_reserve(&w.pool, 2), HV_OK);
    pt_map(&w.root, AT, HPA(FRAME), PAGES, &rw, &w.flush);
    w.writers = 2;
    assert_int_equal(pthread_create(&threads[0], NULL, walker, NULL), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, writer, NULL), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, writer, &w), 0);
    for (unsigned i = 0; i < ARRAY_COUNT(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(w.wrong, 0);
    assert_true(is_enough());
    pt_map(&w.root, AT, HPA(FRAME), PAGES, &rw, &w.flush);
    flush_now();
    assert_int_equal(w.pool.used_tables, 3);
    pt_root_destroy(&w.root);
    assert_int_equal(w.pool.used_tables, 0);
    pt_pool_drain(&w.pool);
    assert_int_equal(fake_blocks_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(merge_against_split_on_two_cpus)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
