/*
 * Owns:     the few memory and string functions that compilers and we need.
 * Promises: standard semantics. In the image they are ours (string.c); host tests use libc's.
 * Needs:    nothing.
 * Never:    allocation, locale.
 */
#ifndef HV_BASE_STRING_H
#define HV_BASE_STRING_H

#include "hv/base/types.h"

void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memmove(void *to, const void *from, size_t bytes);
void *memset(void *to, int byte, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);

#endif
