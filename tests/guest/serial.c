#include "tests/guest/guest.h"

#include <stdarg.h>

#define COM1     0x3f8u
#define COM_LSR  (COM1 + 5u)
#define LSR_THRE 0x20u
#define SPIN_MAX 100000u

void serial_init(void)
{
    outb(COM1 + 1, 0x00); /* no interrupts */
    outb(COM1 + 3, 0x80); /* divisor */
    outb(COM1 + 0, 0x01);
    outb(COM1 + 1, 0x00);
    outb(COM1 + 3, 0x03); /* 8n1 */
    outb(COM1 + 2, 0x07); /* FIFOs */
}

static void put(char c)
{
    for (unsigned i = 0; i < SPIN_MAX && !(inb(COM_LSR) & LSR_THRE); i++)
        ;
    outb(COM1, (uint8_t)c);
}

struct sink {
    char *out; /* NULL: the serial line */
    unsigned used, room;
};

static void emit(struct sink *s, char c)
{
    if (s->out == NULL) {
        if (c == '\n')
            put('\r');
        put(c);
    } else if (s->used + 1 < s->room) {
        s->out[s->used] = c;
    }
    s->used++;
}

static void emit_number(struct sink *s, uint64_t v, unsigned radix, unsigned width)
{
    char digits[24];
    unsigned n = 0;

    do {
        digits[n++] = "0123456789abcdef"[v % radix];
        v /= radix;
    } while (v != 0);
    while (n < width && n < sizeof(digits))
        digits[n++] = '0';
    while (n > 0)
        emit(s, digits[--n]);
}

static void emit_signed(struct sink *s, int64_t v, unsigned width)
{
    if (v < 0)
        emit(s, '-');
    emit_number(s, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, 10, width);
}

/* %s %c %d %u %x, each number with an optional l and 0-padded width. */
static void format_into(struct sink *s, const char *f, va_list *args)
{
    for (; *f != '\0'; f++) {
        unsigned width = 0;
        bool is_long = false;

        if (*f != '%') {
            emit(s, *f);
            continue;
        }
        for (f++; *f >= '0' && *f <= '9'; f++)
            width = width * 10 + (unsigned)(*f - '0');
        for (; *f == 'l'; f++)
            is_long = true;
        if (*f == 's') {
            for (const char *t = va_arg(*args, const char *); *t != '\0'; t++)
                emit(s, *t);
        } else if (*f == 'c') {
            emit(s, (char)va_arg(*args, int));
        } else if (*f == 'd') {
            emit_signed(s, is_long ? va_arg(*args, int64_t) : va_arg(*args, int), width);
        } else if (*f == 'u' || *f == 'x') {
            uint64_t v = is_long ? va_arg(*args, uint64_t) : va_arg(*args, unsigned);
            emit_number(s, v, *f == 'x' ? 16 : 10, width);
        } else {
            emit(s, *f);
        }
    }
}

void say(const char *format, ...)
{
    struct sink s = {NULL, 0, 0};
    va_list args;

    va_start(args, format);
    format_into(&s, format, &args);
    va_end(args);
}

unsigned format_text(char *out, unsigned room, const char *format, ...)
{
    struct sink s = {out, 0, room};
    va_list args;

    va_start(args, format);
    format_into(&s, format, &args);
    va_end(args);
    out[s.used < room ? s.used : room - 1] = '\0';
    return s.used;
}

bool text_equal(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* '*' stands for any text. */
bool text_match(const char *glob, const char *text)
{
    if (*glob == '\0')
        return *text == '\0';
    if (*glob == '*') {
        for (;; text++) {
            if (text_match(glob + 1, text))
                return true;
            if (*text == '\0')
                return false;
        }
    }
    return *glob == *text && text_match(glob + 1, text + 1);
}

void *memcpy(void *to, const void *from, size_t bytes)
{
    void *t = to;
    size_t words = bytes / 8, rest = bytes % 8;

    __asm__ volatile("rep movsq\n\tmov %3, %2\n\trep movsb"
                     : "+D"(t), "+S"(from), "+c"(words)
                     : "r"(rest)
                     : "memory");
    return to;
}

void *memset(void *to, int byte, size_t bytes)
{
    uint8_t *t = to;

    while (bytes-- > 0)
        *t++ = (uint8_t)byte;
    return to;
}
