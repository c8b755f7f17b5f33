#include "hv/base/log.h"

#include "hv/base/string.h"

/*
 * Widths and precisions saturate here: a wild '*' must not turn a report into a long loop. Twice the
 * longest line is more than any caller can see.
 */
#define FIELD_MAX 512

/* Where output goes. `length` runs on past `bytes`, so that it ends as the length needed. */
struct out {
    char *text;
    size_t bytes;
    size_t length;
};

/* One conversion as written: %[-][0][width][.precision][length]type. */
struct spec {
    bool left, zero, alternate;
    int width;
    int precision;  /* -1: none given */
    unsigned bytes; /* of an integer argument */
    char type;
};

static void put(struct out *out, char c)
{
    if (out->length < out->bytes)
        out->text[out->length] = c;
    out->length++;
}

static void put_run(struct out *out, char c, int count)
{
    while (count-- > 0)
        put(out, c);
}

static int take_number(const char **fmt)
{
    int n = 0;

    for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++)
        n = MIN(n * 10 + (**fmt - '0'), FIELD_MAX);
    return n;
}

static unsigned take_length(const char **fmt)
{
    switch (**fmt) {
    case 'z':
        (*fmt)++;
        return sizeof(size_t);
    case 'l':
        (*fmt)++;
        if (**fmt != 'l')
            return sizeof(long);
        (*fmt)++;
        return sizeof(long long);
    case 'h':
        (*fmt)++;
        if (**fmt != 'h')
            return sizeof(short);
        (*fmt)++;
        return sizeof(char);
    default:
        return sizeof(int);
    }
}

/* A va_list is passed on as a member, because as a parameter it may be an array or not. */
struct arguments {
    va_list list;
};

static struct spec take_spec(const char **fmt, struct arguments *args)
{
    struct spec spec = {.precision = -1};

    for (; **fmt == '-' || **fmt == '0' || **fmt == '#'; (*fmt)++) {
        spec.left |= **fmt == '-';
        spec.zero |= **fmt == '0';
        spec.alternate |= **fmt == '#';
    }
    if (**fmt == '*') {
        (*fmt)++;
        spec.width = va_arg(args->list, int);
        spec.width = MIN(MAX(spec.width, -FIELD_MAX), FIELD_MAX);
        if (spec.width < 0) {
            spec.left = true;
            spec.width = -spec.width;
        }
    } else {
        spec.width = take_number(fmt);
    }
    if (**fmt == '.') {
        (*fmt)++;
        if (**fmt == '*') {
            (*fmt)++;
            spec.precision = va_arg(args->list, int);
            spec.precision = MIN(MAX(spec.precision, -1), FIELD_MAX);
        } else {
            spec.precision = take_number(fmt);
        }
    }
    spec.bytes = take_length(fmt);
    spec.type = **fmt;
    if (spec.type != '\0')
        (*fmt)++;
    return spec;
}

static void put_string(struct out *out, const struct spec *spec, const char *text)
{
    int length = 0;

    /* With a precision the text need not end with a NUL. */
    while (length != spec->precision && text[length] != '\0')
        length++;
    if (!spec->left)
        put_run(out, ' ', spec->width - length);
    for (int i = 0; i < length; i++)
        put(out, text[i]);
    if (spec->left)
        put_run(out, ' ', spec->width - length);
}

/* prefix: "", "-" or "0x". */
static void put_integer(struct out *out, const struct spec *spec, uint64_t value, unsigned base,
                        const char *prefix)
{
    const char *digit = spec->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    char reversed[20]; /* 2^64 has 20 decimal digits */
    int count = 0, zeros, blanks;

    for (; value != 0; value /= base)
        reversed[count++] = digit[value % base];

    zeros = spec->precision >= 0 ? spec->precision - count : count == 0;
    zeros = MAX(zeros, 0);
    blanks = spec->width - zeros - count - (int)strlen(prefix);
    if (spec->zero && !spec->left && spec->precision < 0 && blanks > 0) {
        zeros += blanks;
        blanks = 0;
    }
    if (!spec->left)
        put_run(out, ' ', blanks);
    while (*prefix != '\0')
        put(out, *prefix++);
    put_run(out, '0', zeros);
    while (count > 0)
        put(out, reversed[--count]);
    if (spec->left)
        put_run(out, ' ', blanks);
}

/* Narrower types come promoted to int; hh and h cut them back. */
static uint64_t take_unsigned(const struct spec *spec, struct arguments *args)
{
    if (spec->bytes == sizeof(long long))
        return va_arg(args->list, unsigned long long);
    switch (spec->bytes) {
    case sizeof(char):
        return (unsigned char)va_arg(args->list, unsigned);
    case sizeof(short):
        return (unsigned short)va_arg(args->list, unsigned);
    default:
        return va_arg(args->list, unsigned);
    }
}

static int64_t take_signed(const struct spec *spec, struct arguments *args)
{
    uint64_t value = take_unsigned(spec, args);
    unsigned shift = 64 - 8 * spec->bytes;

    return (int64_t)(value << shift) >> shift;
}

/* Print one conversion. False: not one that we know, and its argument is still there. */
static bool put_conversion(struct out *out, const struct spec *spec, struct arguments *args)
{
    const char *text;
    uint64_t value;
    int64_t n;
    char c;

    switch (spec->type) {
    case 'd':
    case 'i':
        n = take_signed(spec, args);
        put_integer(out, spec, n < 0 ? 0 - (uint64_t)n : (uint64_t)n, 10, n < 0 ? "-" : "");
        return true;
    case 'u':
        put_integer(out, spec, take_unsigned(spec, args), 10, "");
        return true;
    case 'x':
    case 'X':
        value = take_unsigned(spec, args);
        put_integer(out, spec, value, 16, spec->alternate && value != 0 ? "0x" : "");
        return true;
    case 'p':
        put_integer(out, spec, (uintptr_t)va_arg(args->list, void *), 16, "0x");
        return true;
    case 'c':
        c = (char)va_arg(args->list, int);
        put_string(out, &(struct spec){.left = spec->left, .width = spec->width, .precision = 1},
                   &c);
        return true;
    case 's':
        text = va_arg(args->list, const char *);
        put_string(out, spec, text != NULL ? text : "(null)");
        return true;
    case '%':
        put(out, '%');
        return true;
    default:
        return false;
    }
}

int vformat(char *text, size_t bytes, const char *fmt, va_list list)
{
    struct out out = {.text = text, .bytes = bytes};
    struct arguments args;

    va_copy(args.list, list);
    while (*fmt != '\0') {
        const char *start = fmt;
        struct spec spec;

        if (*fmt != '%') {
            put(&out, *fmt++);
            continue;
        }
        fmt++;
        spec = take_spec(&fmt, &args);
        if (!put_conversion(&out, &spec, &args)) {
            /* The size of its argument is unknown, so nothing after it can be trusted: show it as text. */
            while (*start != '\0')
                put(&out, *start++);
            break;
        }
    }
    va_end(args.list);
    if (bytes != 0)
        text[MIN(out.length, bytes - 1)] = '\0';
    return (int)out.length;
}

int format(char *out, size_t bytes, const char *fmt, ...)
{
    va_list args;
    int length;

    va_start(args, fmt);
    length = vformat(out, bytes, fmt, args);
    va_end(args);
    return length;
}

void log_line(const char *room, const char *fmt, ...)
{
    static const char ellipsis[] = "...";
    char line[LOG_LINE_BYTES]; /* the NUL's place is where the newline goes */
    size_t length;
    va_list args;

    length = MIN((size_t)format(line, sizeof(line), "%s: ", room), sizeof(line) - 1);
    va_start(args, fmt);
    length += (size_t)vformat(line + length, sizeof(line) - length, fmt, args);
    va_end(args);

    if (length > sizeof(line) - 1) {
        length = sizeof(line) - 1;
        memcpy(line + length - strlen(ellipsis), ellipsis, strlen(ellipsis));
    }
    /* Guests name things: no text of theirs may begin a line of its own or steer a terminal. */
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == '\x7f')
            line[i] = '?';
    line[length] = '\n';
    log_sink(line, length + 1);
}
