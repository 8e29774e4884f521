/*
 * wrap_memory.h - malloc(), calloc() and realloc() of a test linked with --wrap for them: each asks the test whether it fails. Tests only.
 */
#ifndef WRAP_MEMORY_H
#define WRAP_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

static bool allocation_fails(void); /* the test has it */

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);

void *__wrap_malloc(size_t n)
{
	return allocation_fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return allocation_fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return allocation_fails() ? NULL : __real_realloc(p, n);
}

#endif
