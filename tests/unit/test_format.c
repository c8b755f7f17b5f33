/* format() against the C library's snprintf, and the shape of log lines. */
#include "tests/fake/host.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "hv/base/log.h"

/* Same text, same length, for every size of the buffer; nothing behind it is touched. */
#define SAME(...)                                                           \
    do {                                                                    \
        char want_[600], got_[600];                                         \
        int length_ = snprintf(want_, sizeof(want_), __VA_ARGS__);          \
                                                                            \
        assert_int_equal(format(got_, sizeof(got_), __VA_ARGS__), length_); \
        assert_string_equal(got_, want_);                                   \
        for (size_t bytes_ = 0; bytes_ <= (size_t)length_ + 2; bytes_++) {  \
            memset(got_, 0x5a, sizeof(got_));                               \
            memset(want_, 0x5a, sizeof(want_));                             \
            assert_int_equal(format(got_, bytes_, __VA_ARGS__), length_);   \
            snprintf(want_, bytes_, __VA_ARGS__);                           \
            assert_memory_equal(got_, want_, sizeof(got_));                 \
        }                                                                   \
    } while (0)

#define SAME_INTEGER(length, value)                                                           \
    do {                                                                                      \
        SAME("%" length "d", value);                                                          \
        SAME("%" length "i|%5" length "d|%-5" length "d|%05" length "d", value, value, value, \
             value);                                                                          \
        SAME("%24" length "d|%-24" length "d|%024" length "d", value, value, value);          \
        SAME("%.0" length "d|%.5" length "d|%9.5" length "d|%-9.5" length "d", value, value,  \
             value, value);                                                                   \
    } while (0)

#define SAME_UNSIGNED(length, value)                                                   \
    do {                                                                               \
        SAME("%" length "u|%" length "x|%" length "X", value, value, value);           \
        SAME("%016" length "x|%-16" length "x|%16" length "X", value, value, value);   \
        SAME("%.0" length "x|%.12" length "u|%20.12" length "x", value, value, value); \
    } while (0)

static void test_signed(void **state)
{
    static const long long value[] = {0,     1,      -1,      9,       10,        -10,
                                      99999, -99999, INT_MAX, INT_MIN, LLONG_MAX, LLONG_MIN};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(value); i++) {
        SAME_INTEGER("", (int)value[i]);
        SAME_INTEGER("l", (long)value[i]);
        SAME_INTEGER("ll", value[i]);
        SAME_INTEGER("h", (short)value[i]);
        SAME_INTEGER("hh", (signed char)value[i]);
        SAME_INTEGER("z", (ssize_t)value[i]);
    }
}

static void test_unsigned(void **state)
{
    static const unsigned long long value[] = {0,
                                               1,
                                               7,
                                               15,
                                               16,
                                               255,
                                               256,
                                               65535,
                                               65536,
                                               UINT_MAX,
                                               ULLONG_MAX,
                                               0x0123456789abcdef,
                                               10000000000000000000ull};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(value); i++) {
        SAME_UNSIGNED("", (unsigned)value[i]);
        SAME_UNSIGNED("l", (unsigned long)value[i]);
        SAME_UNSIGNED("ll", value[i]);
        SAME_UNSIGNED("h", (unsigned short)value[i]);
        SAME_UNSIGNED("hh", (unsigned char)value[i]);
        SAME_UNSIGNED("z", (size_t)value[i]);
    }
}

static void test_text(void **state)
{
    static const char open[] = {'a', 'b', 'c'}; /* no NUL: the precision must hold */

    (void)state;
    SAME("no conversions");
    SAME("%%|%c|%3c|%-3c|", 'x', 'y', 'z');
    SAME("%s|%10s|%-10s|%.2s|%10.2s|%-10.2s|%.0s|", "text", "text", "text", "text", "text", "text",
         "text");
    SAME("%2s|%.9s|%s", "longer", "longer", "");
    SAME("%.3s|%.*s", open, 2, open);
    SAME("%*d|%*d|%-*d|%.*d|%.*d|%*.*x", 6, 1, -6, 2, 6, 3, 4, 4, -1, 5, 9, 5, 0xabcu);
    SAME("%s %llu of %-8s at %016llx%c", "one", 2ull, "three", 0x4000ull, '.');
}

/* What the C library leaves open. */
static void test_ours(void **state)
{
    char out[64];
    volatile int widest = INT_MAX; /* volatile: the compiler would see through these */
    const char *volatile nothing = NULL;
    const char *volatile narrow = "%hhx|%hhd|%hx|%hd";
    volatile int wide = -200 * 256 - 200; /* 0x..ff3738: only the low part may show */
    const char *volatile zero_and_precision = "%09.5d|%-09d|";
    const char *volatile unknown = "a %d b %y %d %s";
    const char *volatile cut = "100%";

    (void)state;
    assert_int_equal(format(out, sizeof(out), "%p|%p", (void *)0xabcd, (void *)0), 10);
    assert_string_equal(out, "0xabcd|0x0");
    assert_int_equal(format(out, sizeof(out), "%10p|%-8p|", (void *)0xabcd, (void *)1), 20);
    assert_string_equal(out, "    0xabcd|0x1     |");
    format(out, sizeof(out), "%s", nothing);
    assert_string_equal(out, "(null)");
    assert_int_equal(format(NULL, 0, "%d", 12345), 5);
    assert_true(format(out, sizeof(out), "%*d", widest, 1) < 1024);
    assert_true(format(out, sizeof(out), "%*d", -widest - 1, 1) < 1024);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
    format(out, sizeof(out), unknown, 7, 8, 9);
    assert_string_equal(out, "a 7 b %y %d %s");
    format(out, sizeof(out), narrow, wide, wide, wide, wide);
    assert_string_equal(out, "38|56|3738|14136");
    format(out, sizeof(out), zero_and_precision, 42, -7);
    assert_string_equal(out, "    00042|-7       |");
    format(out, sizeof(out), cut);
    assert_string_equal(out, "100%");
#pragma GCC diagnostic pop
}

static void test_line(void **state)
{
    unsigned before = fake_log_lines;

    (void)state;
    log_line("pci", "bar %d", 2);
    assert_string_equal(fake_log_last, "pci: bar 2\n");
    assert_int_equal(fake_log_lines, before + 1);
    log_line("vm", "%s", "");
    assert_string_equal(fake_log_last, "vm: \n");
    /* A guest's text does not begin a line of its own, nor steer a terminal. */
    log_line("vm", "name %s", "x\nept: forged\r\x1b[2J\x7f");
    assert_string_equal(fake_log_last, "vm: name x?ept: forged??[2J?\n");
}

/* Around the limit: the last that fits, the first that does not, and far beyond. */
static void test_long_line(void **state)
{
    char text[1000];

    (void)state;
    for (size_t length = 240; length < 300; length++) {
        size_t whole = strlen("vm: ") + length + 1;

        memset(text, 'x', length);
        text[length] = '\0';
        log_line("vm", "%s", text);
        assert_int_equal(strlen(fake_log_last), MIN(whole, LOG_LINE_BYTES));
        assert_int_equal(fake_log_last[strlen(fake_log_last) - 1], '\n');
        if (whole > LOG_LINE_BYTES)
            assert_string_equal(fake_log_last + LOG_LINE_BYTES - 6, "xx...\n");
        else
            assert_null(strchr(fake_log_last, '.'));
    }
    memset(text, 'r', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    log_line(text, "never seen %d", 1);
    assert_int_equal(strlen(fake_log_last), LOG_LINE_BYTES);
    assert_string_equal(fake_log_last + LOG_LINE_BYTES - 6, "rr...\n");
}

static void test_limit(void **state)
{
    struct log_limit limit = {.burst = 2};

    (void)state;
    assert_true(log_limit_pass(&limit));
    assert_true(log_limit_pass(&limit));
    assert_false(log_limit_pass(&limit));
    assert_false(log_limit_pass(&limit));
    assert_int_equal(limit.dropped, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signed), cmocka_unit_test(test_unsigned),
        cmocka_unit_test(test_text),   cmocka_unit_test(test_ours),
        cmocka_unit_test(test_line),   cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
