/*
 * stats.c - latencies and the line of JSON a case ends with. Program bench/load.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/load.h"

enum { KEPT_MAX = 1 << 22 };

void stats_add(struct stats *s, uint64_t us)
{
	s->count++;
	if (s->n == s->cap && s->cap < KEPT_MAX) {
		s->cap = s->cap ? 2 * s->cap : 1 << 16;
		s->us = realloc(s->us, s->cap * sizeof *s->us);
		if (!s->us)
			die("out of memory");
	}
	if (s->n < s->cap)
		s->us[s->n++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
	else /* a fair sample of all */
		s->us[(uint64_t)rand() % s->cap] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void stats_print(struct stats *s, double seconds, const char *more, ...)
{
	va_list ap;

	if (s->n)
		qsort(s->us, s->n, sizeof *s->us, compare);
	printf("{\"per_second\":%.1f,\"done\":%llu,\"seconds\":%.3f,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u,\"mb_per_second\":%.2f",
	       (double)s->count / seconds, (unsigned long long)s->count, seconds, s->n ? s->us[s->n / 2] : 0,
	       s->n ? s->us[s->n * 99 / 100] : 0, s->n ? s->us[s->n - 1] : 0, (double)s->bytes / seconds / 1e6);
	va_start(ap, more);
	vprintf(more, ap);
	va_end(ap);
	puts("}");
	fflush(stdout);
	free(s->us);
}
