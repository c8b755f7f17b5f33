#include "boot/config.h"

#include "hv/base/string.h"

/* A parser returns NULL, or what it expected. `value` is trimmed, NUL-terminated and may be changed. */
struct key {
    const char *name;
    const char *(*parse)(struct config *config, char *value);
    const char *once; /* NULL: may be repeated */
    bool verbatim;    /* '#' is text */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char *skip_blank(char *at)
{
    while (is_blank(*at))
        at++;
    return at;
}

/* Cut the next word out of *at; NULL when only blank space is left. */
static char *word_next(char **at)
{
    char *word = skip_blank(*at);
    char *end = word;

    while (*end != '\0' && !is_blank(*end))
        end++;
    *at = end;
    if (end == word)
        return NULL;
    if (*end != '\0') {
        *end = '\0';
        *at = end + 1;
    }
    return word;
}

static const char *path_parse(char *value, const char **path)
{
    size_t length = strlen(value);

    if (length == 0)
        return "a path on the boot volume, such as \\guest.elf";
    if (length > CONFIG_MAX_PATH_BYTES)
        return "a path of at most 255 characters";
    for (char *c = value; *c != '\0'; c++) {
        switch (*c) {
        case '/':
            *c = '\\';
            break;
        case '"':
        case '*':
        case ':':
        case '<':
        case '>':
        case '?':
        case '|':
            return "a path without any of \" * : < > ? |";
        default:
            break;
        }
    }
    *path = value;
    return NULL;
}

static const char *guest_parse(struct config *config, char *value)
{
    return path_parse(value, &config->guest);
}

static const char *module_parse(struct config *config, char *value)
{
    return path_parse(value, &config->module);
}

static const char *cmdline_parse(struct config *config, char *value)
{
    config->cmdline = value;
    return NULL;
}

/* Decimal, with M or G; false when malformed, zero, or above max_mib. */
static bool amount_parse(const char *word, uint64_t max_mib, uint64_t *bytes)
{
    uint64_t mib = 0;

    if (word == NULL || !is_digit(*word))
        return false;
    for (; is_digit(*word); word++) {
        mib = mib * 10 + (uint64_t)(*word - '0');
        if (mib > max_mib)
            return false;
    }
    if (*word == 'G')
        mib *= MIB(1) / KIB(1);
    if (*word == 'G' || *word == 'M')
        word++;
    if (*word != '\0' || mib == 0 || mib > max_mib)
        return false;
    *bytes = MIB(mib);
    return true;
}

static const char *ram_parse(struct config *config, char *value)
{
    char *at = value;

    if (!amount_parse(word_next(&at), CONFIG_MAX_RAM_MIB, &config->ram_bytes))
        return "an amount of RAM from 1 to 1048576 MiB, such as 64 or 2G";

    const char *word = word_next(&at);
    if (word == NULL)
        return NULL;
    if (strcmp(word, "split") != 0)
        return "nothing or \"split\" after the amount of RAM";
    if (!amount_parse(word_next(&at), CONFIG_MAX_SPLIT_MIB, &config->split_bytes))
        return "an amount from 1 to 3072 MiB after \"split\"";
    if (word_next(&at) != NULL)
        return "nothing after the amount of \"split\"";
    return NULL;
}

static bool is_device_name(const char *word)
{
    if (!(*word >= 'a' && *word <= 'z'))
        return false;
    for (; *word != '\0'; word++)
        if (!(*word >= 'a' && *word <= 'z') && !is_digit(*word) && *word != '-')
            return false;
    return true;
}

static const char *device_parse(struct config *config, char *value)
{
    char *at = value;
    const char *word = word_next(&at);

    if (word == NULL || !is_device_name(word))
        return "a device name of lower-case letters, digits and '-', such as lab";
    if (config->device_count == CONFIG_MAX_DEVICES)
        return "at most 32 devices";

    struct config_device *device = &config->device[config->device_count++];
    device->name = word;
    while ((word = word_next(&at)) != NULL) {
        if (device->option_count == CONFIG_MAX_OPTIONS)
            return "at most 8 options for a device";
        device->option[device->option_count++] = word;
    }
    return NULL;
}

static const char *console_parse(struct config *config, char *value)
{
    config->serial = strcmp(value, "serial") == 0;
    return config->serial || strcmp(value, "none") == 0 ? NULL : "serial or none";
}

static const char *screen_parse(struct config *config, char *value)
{
    config->screen = strcmp(value, "on") == 0;
    return config->screen || strcmp(value, "off") == 0 ? NULL : "on or off";
}

static const char *log_parse(struct config *config, char *value)
{
    config->quiet = strcmp(value, "quiet") == 0;
    return config->quiet || strcmp(value, "normal") == 0 ? NULL : "quiet or normal";
}

static const struct key keys[] = {
    {"guest", guest_parse, "only one guest line", false},
    {"module", module_parse, "only one module line", false},
    {"cmdline", cmdline_parse, "only one cmdline line", true},
    {"ram", ram_parse, "only one ram line", false},
    {"device", device_parse, NULL, false},
    {"console", console_parse, "only one console line", false},
    {"screen", screen_parse, "only one screen line", false},
    {"log", log_parse, "only one log line", false},
};

static const char *text_check(const char *at, const char *end)
{
    for (; at < end; at++)
        if (!(*at >= ' ' && *at <= '~') && *at != '\t')
            return "printable ASCII characters and tabs only";
    return NULL;
}

/* Take the comment, unless it is text, and the blank space off the end. */
static void value_trim(char *value, bool verbatim)
{
    char *end = value + strlen(value);

    /* value[-1] is the '=' or a blank: the key stands before it. */
    for (char *c = value; !verbatim && *c != '\0'; c++) {
        if (*c == '#' && is_blank(c[-1])) {
            end = c;
            break;
        }
    }
    while (end > value && is_blank(end[-1]))
        end--;
    *end = '\0';
}

/* One line without its end, NUL-terminated. `seen` has a bit for each key. */
static const char *line_parse(struct config *config, uint32_t *seen, char *line)
{
    char *name = skip_blank(line);
    if (*name == '\0' || *name == '#')
        return NULL;

    char *end = name;
    while (*end != '\0' && *end != '=' && !is_blank(*end))
        end++;

    const struct key *key = NULL;
    for (unsigned i = 0; i < ARRAY_COUNT(keys); i++) {
        if (strlen(keys[i].name) == (size_t)(end - name) &&
            strncmp(keys[i].name, name, (size_t)(end - name)) == 0)
            key = &keys[i];
    }
    if (key == NULL)
        return "one of the keys guest, module, cmdline, ram, device, console, screen, log";

    char *value = skip_blank(end);
    if (*value != '=')
        return "'=' after the key";
    value = skip_blank(value + 1);
    value_trim(value, key->verbatim);

    uint32_t bit = 1u << (key - keys);
    if (key->once != NULL && (*seen & bit) != 0)
        return key->once;
    *seen |= bit;
    return key->parse(config, value);
}

/* Editors put these first; to us they would only be "not ASCII". */
static bool has_byte_order_mark(const char *text, size_t bytes)
{
    return (bytes >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) ||
           (bytes >= 2 && memcmp(text, "\xFF\xFE", 2) == 0) ||
           (bytes >= 2 && memcmp(text, "\xFE\xFF", 2) == 0);
}

static const char *lines_parse(char *text, size_t bytes, struct config *config, unsigned *line)
{
    char *end = text + bytes;
    uint32_t seen = 0;

    for (char *at = text, *next; at < end; at = next) {
        char *stop = at;

        ++*line;
        while (stop < end && *stop != '\n')
            stop++;
        next = stop < end ? stop + 1 : end;
        if (stop > at && stop[-1] == '\r')
            stop--;

        const char *expected = text_check(at, stop);
        if (expected != NULL)
            return expected;
        *stop = '\0';
        expected = line_parse(config, &seen, at);
        if (expected != NULL)
            return expected;
    }
    return NULL;
}

bool config_parse(char *text, size_t bytes, struct config *config, struct config_error *error)
{
    unsigned line = 0;
    const char *expected;

    *config = (struct config){
        .cmdline = "",
        .ram_bytes = MIB(CONFIG_DEFAULT_RAM_MIB),
        .split_bytes = MIB(CONFIG_DEFAULT_SPLIT_MIB),
        .serial = true,
    };
    if (has_byte_order_mark(text, bytes)) {
        line = 1;
        expected = "plain ASCII text without a byte-order mark";
    } else {
        expected = lines_parse(text, bytes, config, &line);
    }
    if (expected == NULL && config->guest == NULL) {
        line = 0;
        expected = "a line guest = path";
    }
    if (expected == NULL)
        return true;
    *error = (struct config_error){.line = line, .expected = expected};
    return false;
}
