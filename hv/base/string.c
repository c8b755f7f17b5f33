/*
 * The memory and string functions of the image; host programs use their libc's. The one file of this room
 * with inline assembly: an emulator that counts instructions counts an iteration of REP MOVSQ or STOSQ
 * as one, a quarter of what a loop in C takes for the same eight bytes. Small blocks take the loop,
 * because starting a REP is slow on a real CPU.
 *
 * Direction flag: clear, as the ABI has it.
 */
#include "hv/base/string.h"

/* gcc would recognise the loops below as memset, memcpy and strlen, and call them from themselves. */
#ifndef __clang__
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif

#define WORD      sizeof(word_t)
#define REP_BYTES 128u /* from this size on REP wins */

/* A word at any address, of memory of any type. */
typedef uint64_t __attribute__((may_alias, aligned(1))) word_t;

/* From the first byte up; `to` may lie below `from` and overlap it, so neither is `restrict`. */
static void copy_up(unsigned char *to, const unsigned char *from, size_t bytes)
{
    if (bytes >= REP_BYTES) {
        size_t words = bytes / WORD;

        __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
        bytes %= WORD;
    }
    for (; bytes >= WORD; bytes -= WORD, to += WORD, from += WORD)
        *(word_t *)(void *)to = *(const word_t *)(const void *)from;
    while (bytes-- != 0)
        *to++ = *from++;
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    copy_up(to, from, bytes);
    return to;
}

void *memmove(void *to, const void *from, size_t bytes)
{
    unsigned char *t = to;
    const unsigned char *f = from;

    /* Upwards is safe unless `to` begins inside the source; the subtraction wraps when it is below. */
    if ((uintptr_t)t - (uintptr_t)f >= bytes) {
        copy_up(t, f, bytes);
        return to;
    }
    for (; bytes >= WORD; bytes -= WORD)
        *(word_t *)(void *)(t + bytes - WORD) = *(const word_t *)(const void *)(f + bytes - WORD);
    while (bytes-- != 0)
        t[bytes] = f[bytes];
    return to;
}

void *memset(void *to, int byte, size_t bytes)
{
    unsigned char *t = to;
    uint64_t word = (unsigned char)byte * (~0ull / 0xff);

    if (bytes >= REP_BYTES) {
        size_t words = bytes / WORD;

        __asm__ volatile("rep stosq" : "+D"(t), "+c"(words) : "a"(word) : "memory");
        bytes %= WORD;
    }
    for (; bytes >= WORD; bytes -= WORD, t += WORD)
        *(word_t *)(void *)t = word;
    while (bytes-- != 0)
        *t++ = (unsigned char)byte;
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const unsigned char *p = a, *q = b;

    /* Equal words are skipped; the first pair that differs is settled byte by byte. */
    while (bytes >= WORD && *(const word_t *)(const void *)p == *(const word_t *)(const void *)q) {
        p += WORD;
        q += WORD;
        bytes -= WORD;
    }
    for (; bytes != 0; bytes--, p++, q++)
        if (*p != *q)
            return *p - *q;
    return 0;
}

size_t strlen(const char *s)
{
    size_t n = 0;

    while (s[n] != '\0')
        n++;
    return n;
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n != 0; n--, a++, b++) {
        if (*a != *b)
            return (unsigned char)*a - (unsigned char)*b;
        if (*a == '\0')
            break;
    }
    return 0;
}
