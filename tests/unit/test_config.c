/* barvisor.cfg: what is accepted, every error with its line and text, truncations and mutants. */
#include "tests/fake/host.h"

#include <stdlib.h>
#include <string.h>

#include "boot/config.h"

static char *text;
static struct config config;
static struct config_error error;

/* The file in a block of its length and the one byte that the contract grants. */
static bool parse_bytes(const char *bytes, size_t count)
{
    free(text);
    text = malloc(count + 1);
    memcpy(text, bytes, count);
    memset(&config, 0x5A, sizeof(config));
    error = (struct config_error){12345, NULL};
    return config_parse(text, count, &config, &error);
}

static bool parse(const char *file)
{
    return parse_bytes(file, strlen(file));
}

static int drop_text(void **state)
{
    (void)state;
    free(text);
    text = NULL;
    return 0;
}

static void the_least_file(void **state)
{
    (void)state;
    assert_true(parse("guest=\\g.elf"));
    assert_string_equal(config.guest, "\\g.elf");
    assert_null(config.module);
    assert_string_equal(config.cmdline, "");
    assert_int_equal(config.ram_bytes, MIB(64));
    assert_int_equal(config.split_bytes, MIB(3072));
    assert_int_equal(config.device_count, 0);
    assert_true(config.serial);
    assert_false(config.screen);
    assert_false(config.quiet);
    assert_int_equal(error.line, 12345); /* success leaves the error alone */
}

static const char full[] = "# a comment, then a blank line\r\n"
                           "\r\n"
                           "  guest\t=  \\boot dir/guest.elf \t # behind a value\r\n"
                           "module = disk#1.img\r\n"
                           "cmdline =  root=/dev/x # not a comment  a=b \t\r\n"
                           "ram = 128 split 32 # and a hole\r\n"
                           "device = lab 4M wc=1\tx#y #comment\r\n"
                           "\t#indented\r\n"
                           "device=ivshmem\r\n"
                           "console = none\r\n"
                           "screen = on\r\n"
                           "log = quiet\r\n";

static void expect_full(void)
{
    assert_string_equal(config.guest, "\\boot dir\\guest.elf");
    assert_string_equal(config.module, "disk#1.img");
    assert_string_equal(config.cmdline, "root=/dev/x # not a comment  a=b");
    assert_int_equal(config.ram_bytes, MIB(128));
    assert_int_equal(config.split_bytes, MIB(32));
    assert_int_equal(config.device_count, 2);
    assert_string_equal(config.device[0].name, "lab");
    assert_int_equal(config.device[0].option_count, 3);
    assert_string_equal(config.device[0].option[0], "4M");
    assert_string_equal(config.device[0].option[1], "wc=1");
    assert_string_equal(config.device[0].option[2], "x#y");
    assert_string_equal(config.device[1].name, "ivshmem");
    assert_int_equal(config.device[1].option_count, 0);
    assert_false(config.serial);
    assert_true(config.screen);
    assert_true(config.quiet);
}

static void the_full_file(void **state)
{
    char unix_lines[sizeof(full)];
    size_t length = 0;

    (void)state;
    assert_true(parse(full));
    expect_full();
    for (const char *c = full; *c != '\0'; c++)
        if (*c != '\r')
            unix_lines[length++] = *c;
    assert_true(parse_bytes(unix_lines, length));
    expect_full();
    assert_true(parse_bytes(unix_lines, length - 1)); /* no newline at the end */
    expect_full();
    assert_true(parse_bytes(full, sizeof(full) - 2)); /* a CR without its LF */
    expect_full();
}

static void ram_amounts(void **state)
{
    static const struct {
        const char *line;
        uint64_t ram, split;
    } cases[] = {
        {"ram = 1", 1, 3072},
        {"ram = 007M", 7, 3072},
        {"ram = 2G", 2048, 3072},
        {"ram = 1024G split 3G", 1048576, 3072},
        {"ram = 1048576 split 3072", 1048576, 3072},
        {"ram=64\tsplit\t1", 64, 1},
        {"ram = 8 split 16M", 8, 16},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char file[100] = "guest = g\n";

        assert_true(parse(strcat(file, cases[i].line)));
        assert_int_equal(config.ram_bytes, MIB(cases[i].ram));
        assert_int_equal(config.split_bytes, MIB(cases[i].split));
    }
}

static void small_things(void **state)
{
    (void)state;
    assert_true(parse("cmdline =\nguest = g"));
    assert_string_equal(config.cmdline, "");
    assert_true(parse("cmdline =\t # x \nguest = g"));
    assert_string_equal(config.cmdline, "# x");
    assert_true(parse("guest =#g"));
    assert_string_equal(config.guest, "#g");
    assert_true(parse("guest = g\nconsole = serial\nlog = normal\n"));
    assert_true(config.serial);
    assert_false(config.quiet);
    assert_true(parse("guest = g\ndevice = lab 1 2 3 4 5 6 7 8\n"));
    assert_int_equal(config.device[0].option_count, 8);
    assert_string_equal(config.device[0].option[7], "8");
}

#define KEYS   "one of the keys guest, module, cmdline, ram, device, console, screen, log"
#define PATH   "a path on the boot volume, such as \\guest.elf"
#define CHARS  "a path without any of \" * : < > ? |"
#define RAM    "an amount of RAM from 1 to 1048576 MiB, such as 64 or 2G"
#define EIGHT  "device=a\ndevice=a\ndevice=a\ndevice=a\ndevice=a\ndevice=a\ndevice=a\ndevice=a\n"
#define SPLIT  "an amount from 1 to 3072 MiB after \"split\""
#define DEVICE "a device name of lower-case letters, digits and '-', such as lab"
#define ASCII  "printable ASCII characters and tabs only"
#define BOM    "plain ASCII text without a byte-order mark"

static const struct {
    const char *file;
    unsigned line;
    const char *expected;
} mistakes[] = {
    {"", 0, "a line guest = path"},
    {"ram = 64\n# guest = g\n", 0, "a line guest = path"},
    {"gest = x", 1, KEYS},
    {"guest = g\nGuest = x", 2, KEYS},
    {"= x", 1, KEYS},
    {"guests = x", 1, KEYS},
    {"gues = x", 1, KEYS},
    {"guest#= x", 1, KEYS},
    {"split = 32", 1, KEYS},
    {"\n\nguest", 3, "'=' after the key"},
    {"guest g", 1, "'=' after the key"},
    {"guest # = g", 1, "'=' after the key"},
    {"guest =", 1, PATH},
    {"guest = # none", 1, PATH},
    {"module =  \nguest = g", 1, PATH},
    {"guest = \"a\"", 1, CHARS},
    {"guest = fs0:\\a", 1, CHARS},
    {"guest = g\nmodule = a|b", 2, CHARS},
    {"guest = a\nguest = b", 2, "only one guest line"},
    {"module = a\nmodule = a", 2, "only one module line"},
    {"cmdline =\ncmdline = a", 2, "only one cmdline line"},
    {"ram = 1\nguest = g\nram = 1", 3, "only one ram line"},
    {"console = none\n\nconsole = none", 3, "only one console line"},
    {"log = quiet\nlog = bad", 2, "only one log line"},
    {"ram =", 1, RAM},
    {"ram = 0", 1, RAM},
    {"ram = 0G", 1, RAM},
    {"ram = -1", 1, RAM},
    {"ram = +1", 1, RAM},
    {"ram = 0x40", 1, RAM},
    {"ram = 64k", 1, RAM},
    {"ram = 64MB", 1, RAM},
    {"ram = G", 1, RAM},
    {"ram = 1.5G", 1, RAM},
    {"ram = 1048577", 1, RAM},
    {"ram = 1025G", 1, RAM},
    {"ram = 18446744073709551617", 1, RAM},
    {"ram = 18014398509481985G", 1, RAM},
    {"ram = split 32", 1, RAM},
    {"ram = 64 32", 1, "nothing or \"split\" after the amount of RAM"},
    {"ram = 64 MiB", 1, "nothing or \"split\" after the amount of RAM"},
    {"ram = 64 split", 1, SPLIT},
    {"ram = 64 split 0", 1, SPLIT},
    {"ram = 64 split 3073", 1, SPLIT},
    {"ram = 64 split 4G", 1, SPLIT},
    {"ram = 64 split x", 1, SPLIT},
    {"ram = 64 split # 32", 1, SPLIT},
    {"ram = 64 split 32 32", 1, "nothing after the amount of \"split\""},
    {"device =", 1, DEVICE},
    {"device = Lab", 1, DEVICE},
    {"device = 8lab", 1, DEVICE},
    {"device = lab,x", 1, DEVICE},
    {"device = lab 1 2 3 4 5 6 7 8 9", 1, "at most 8 options for a device"},
    {EIGHT EIGHT EIGHT EIGHT "device=a", 33, "at most 32 devices"},
    {"console =", 1, "serial or none"},
    {"console = Serial", 1, "serial or none"},
    {"console = serial none", 1, "serial or none"},
    {"screen =", 1, "on or off"},
    {"screen = On", 1, "on or off"},
    {"screen = on off", 1, "on or off"},
    {"screen = off\nscreen = off", 2, "only one screen line"},
    {"log = loud", 1, "quiet or normal"},
    {"guest = g\nram = 1\x7F", 2, ASCII},
    {"# caf\xC3\xA9", 1, ASCII},
    {"guest = g\rram = 1", 1, ASCII},
    {"guest = g\r\r\n", 1, ASCII},
    {"guest = g\n\x1A", 2, ASCII},
    {"\xEF\xBB\xBFguest = g", 1, BOM},
    {"\xFF\xFEg", 1, BOM},
    {"\xFE\xFFg", 1, BOM},
    {"\xFF", 1, ASCII},
    /* the first mistake is the one that counts */
    {"ram = 0\nfoo\n\xFF", 1, RAM},
};

static void each_error_has_its_line_and_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(mistakes); i++) {
        assert_false(parse(mistakes[i].file));
        assert_string_equal(error.expected, mistakes[i].expected);
        assert_int_equal(error.line, mistakes[i].line);
    }
}

static void nul_bytes_are_refused(void **state)
{
    static const char in_value[] = "guest = g\ncmdline = a\0b\n";
    static const char in_comment[] = "# \0\nguest = g";
    static const char alone[] = "";

    (void)state;
    assert_false(parse_bytes(in_value, sizeof(in_value) - 1));
    assert_int_equal(error.line, 2);
    assert_string_equal(error.expected, ASCII);
    assert_false(parse_bytes(in_comment, sizeof(in_comment) - 1));
    assert_int_equal(error.line, 1);
    assert_string_equal(error.expected, ASCII);
    assert_false(parse_bytes(alone, 1));
    assert_int_equal(error.line, 1);
    assert_string_equal(error.expected, ASCII);
}

static void path_length(void **state)
{
    char file[] = "guest = ";
    char line[sizeof(file) + 300];

    (void)state;
    for (size_t length = 250; length < 260; length++) {
        memcpy(line, file, sizeof(file) - 1);
        memset(line + sizeof(file) - 1, 'a', length);
        assert_int_equal(parse_bytes(line, sizeof(file) - 1 + length), length <= 255);
        if (length > 255)
            assert_string_equal(error.expected, "a path of at most 255 characters");
    }
}

/* Whatever comes: no byte out of bounds, and a result that can be used. */
static void use_result(bool good)
{
    if (!good) {
        assert_non_null(error.expected);
        return;
    }
    assert_true(strlen(config.guest) > 0);
    assert_true(config.ram_bytes >= MIB(1) && config.ram_bytes <= MIB(CONFIG_MAX_RAM_MIB));
    assert_true(config.split_bytes >= MIB(1) && config.split_bytes <= MIB(3072));
    assert_true(strlen(config.cmdline) < 10000);
    assert_true(config.device_count <= CONFIG_MAX_DEVICES);
    for (unsigned i = 0; i < config.device_count; i++) {
        assert_true(strlen(config.device[i].name) > 0);
        assert_true(config.device[i].option_count <= CONFIG_MAX_OPTIONS);
        for (unsigned j = 0; j < config.device[i].option_count; j++)
            assert_true(strlen(config.device[i].option[j]) > 0);
    }
}

static uint64_t seed = 0xD1B54A32D192ED03ull;

static uint64_t random_below(uint64_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (seed >> 11) % n;
}

static void truncations_and_mutants(void **state)
{
    static const char spice[] = "\n\r\t #=\0\x7F\xFF"
                                "0G9split";
    unsigned good = 0, bad = 0;

    (void)state;
    for (size_t count = 0; count < sizeof(full); count++)
        use_result(parse_bytes(full, count));
    for (unsigned round = 0; round < 20000; round++) {
        char mutant[sizeof(full)];
        size_t count = sizeof(full) - 1;

        memcpy(mutant, full, sizeof(full));
        for (uint64_t n = random_below(4) + 1; n > 0; n--) {
            size_t at = random_below(count);
            size_t other = random_below(count);

            if (random_below(3) == 0)
                memmove(mutant + at, mutant + other, count - MAX(at, other));
            else
                mutant[at] = spice[random_below(sizeof(spice) - 1)];
        }
        bool ok = parse_bytes(mutant, random_below(3) == 0 ? random_below(count) : count);
        use_result(ok);
        good += ok;
        bad += !ok;
    }
    assert_true(good > 500 && bad > 500); /* else the mutants teach nothing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_file),
        cmocka_unit_test(the_full_file),
        cmocka_unit_test(ram_amounts),
        cmocka_unit_test(small_things),
        cmocka_unit_test(each_error_has_its_line_and_text),
        cmocka_unit_test(nul_bytes_are_refused),
        cmocka_unit_test(path_length),
        cmocka_unit_test(truncations_and_mutants),
    };
    return cmocka_run_group_tests(tests, NULL, drop_text);
}
