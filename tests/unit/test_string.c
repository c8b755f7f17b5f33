/* The image's own memory functions, under names that leave the C library's alone. */
#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#define memcpy  image_memcpy
#define memmove image_memmove
#define memset  image_memset
#define memcmp  image_memcmp
#define strlen  image_strlen
#define strcmp  image_strcmp
#define strncmp image_strncmp
#include "hv/base/string.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strcmp
#undef strncmp

enum { ROOM = 512, LONGEST = 300 }; /* both sides of the size from which REP is used */

static void fill(uint8_t *bytes, unsigned seed)
{
    for (unsigned i = 0; i < ROOM; i++)
        bytes[i] = (uint8_t)((i + seed) * 167 >> 2);
}

static void test_copy(void **state)
{
    uint8_t from[ROOM], got[ROOM], want[ROOM];

    (void)state;
    fill(from, 1);
    for (unsigned bytes = 0; bytes <= LONGEST; bytes++) {
        for (unsigned shift = 0; shift < 64; shift++) {
            unsigned to = shift & 7, off = shift >> 3;

            fill(got, 99);
            fill(want, 99);
            memcpy(want + to, from + off, bytes);
            assert_ptr_equal(image_memcpy(got + to, from + off, bytes), got + to);
            assert_memory_equal(got, want, ROOM);
        }
    }
}

/* Every distance at which the two may overlap, both ways. */
static void test_move(void **state)
{
    uint8_t got[ROOM], want[ROOM];

    (void)state;
    for (unsigned bytes = 0; bytes <= 160; bytes++) {
        for (unsigned to = 0; to <= 340; to += 1 + (bytes % 3)) {
            fill(got, bytes);
            fill(want, bytes);
            memmove(want + to, want + 170, bytes);
            assert_ptr_equal(image_memmove(got + to, got + 170, bytes), got + to);
            assert_memory_equal(got, want, ROOM);
        }
    }
}

static void test_set(void **state)
{
    uint8_t got[ROOM], want[ROOM];

    (void)state;
    for (unsigned bytes = 0; bytes <= LONGEST; bytes++) {
        for (unsigned to = 0; to < 8; to++) {
            fill(got, 5);
            fill(want, 5);
            memset(want + to, (int)(0x1a5 + bytes), bytes);
            assert_ptr_equal(image_memset(got + to, (int)(0x1a5 + bytes), bytes), got + to);
            assert_memory_equal(got, want, ROOM);
        }
    }
}

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

static void test_compare(void **state)
{
    uint8_t a[ROOM], b[ROOM];

    (void)state;
    fill(a, 3);
    fill(b, 3);
    for (unsigned bytes = 0; bytes < 40; bytes++) {
        assert_int_equal(image_memcmp(a, b, bytes), 0);
        for (unsigned i = 0; i < 40; i++) {
            b[i] ^= 0x80;
            assert_int_equal(sign(image_memcmp(a, b, bytes)), sign(memcmp(a, b, bytes)));
            assert_int_equal(sign(image_memcmp(b, a, bytes)), sign(memcmp(b, a, bytes)));
            b[i] ^= 0x80;
        }
    }
}

static void test_strings(void **state)
{
    static const char *const text[] = {"", "a", "ab", "abc", "abd", "b", "\x80", "ab\xff"};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(text); i++) {
        assert_int_equal(image_strlen(text[i]), strlen(text[i]));
        for (unsigned j = 0; j < ARRAY_COUNT(text); j++) {
            assert_int_equal(sign(image_strcmp(text[i], text[j])), sign(strcmp(text[i], text[j])));
            for (unsigned n = 0; n < 5; n++)
                assert_int_equal(sign(image_strncmp(text[i], text[j], n)),
                                 sign(strncmp(text[i], text[j], n)));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy),    cmocka_unit_test(test_move),    cmocka_unit_test(test_set),
        cmocka_unit_test(test_compare), cmocka_unit_test(test_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
