/*
 * metrics.c - named 64-bit cells in memory that the supervisor maps too. Workers write, the supervisor reads.
 */
#include "lib/metrics.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

_Static_assert(sizeof(struct sl_metrics_cell) == 64, "cells are one cache line");
_Static_assert(sizeof(struct sl_metrics) == SL_METRICS_BYTES, "the table fills its memory");

static uint64_t metrics_nowhere;

struct sl_metrics *sl_metrics_map(int fd)
{
	struct sl_metrics *m;
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) || st.st_size < (off_t)SL_METRICS_BYTES))
		return NULL;
	m = mmap(NULL, SL_METRICS_BYTES, PROT_READ | PROT_WRITE, fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd,
	         0);
	if (m == MAP_FAILED)
		return NULL;
	if (m->magic != SL_METRICS_MAGIC || m->cells != SL_METRICS_CELLS || m->used > SL_METRICS_CELLS) {
		memset(m, 0, sizeof *m);
		m->cells = SL_METRICS_CELLS;
		m->magic = SL_METRICS_MAGIC;
	}
	return m;
}

void sl_metrics_unmap(struct sl_metrics *m)
{
	if (m)
		munmap(m, SL_METRICS_BYTES);
}

uint64_t *sl_metrics_get(struct sl_metrics *m, const char *name, enum sl_metrics_kind kind)
{
	struct sl_metrics_cell *c;

	for (uint32_t i = 0; i < m->used; i++)
		if (strncmp(m->cell[i].name, name, SL_METRICS_NAME - 1) == 0)
			return &m->cell[i].value;
	if (m->used >= SL_METRICS_CELLS)
		return &metrics_nowhere;
	c = &m->cell[m->used];
	snprintf(c->name, sizeof c->name, "%s", name);
	c->kind = (char)kind;
	c->value = 0;
	__atomic_store_n(&m->used, m->used + 1, __ATOMIC_RELEASE);
	return &c->value;
}

const struct sl_metrics_cell *sl_metrics_at(const struct sl_metrics *m, size_t i)
{
	return i < __atomic_load_n(&m->used, __ATOMIC_ACQUIRE) && i < SL_METRICS_CELLS ? &m->cell[i] : NULL;
}
