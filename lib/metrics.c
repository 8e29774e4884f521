/*
 * metrics.c - counters, gauges and histograms in memory that other processes map too. Every process.
 */
#include "lib/metrics.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

_Static_assert(sizeof(struct sl_metrics_cell) == 256, "cells are whole cache lines");
_Static_assert(sizeof(struct sl_metrics) == SL_METRICS_BYTES, "the table fills its memory");

const struct sl_metrics_shape sl_metrics_latency = {
	.scale = 1000000,
	.n = 16,
	.bound = {50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000,
                  10000000},
};
const struct sl_metrics_shape sl_metrics_size = {
	.scale = 1,
	.n = 11,
	.bound = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024},
};

static uint64_t metrics_nowhere;
static struct sl_metrics_cell metrics_nowhere_histogram[SL_METRICS_BUCKETS + 2]; /* without a bucket of its kind: only a sum */

static void *metrics_mmap(int fd, int prot)
{
	struct stat st;
	void *m;

	if (fd >= 0 && (fstat(fd, &st) || st.st_size < (off_t)SL_METRICS_BYTES))
		return NULL;
	m = mmap(NULL, SL_METRICS_BYTES, prot, fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
	return m == MAP_FAILED ? NULL : m;
}

static bool metrics_valid(const struct sl_metrics *m)
{
	return m->magic == SL_METRICS_MAGIC && m->cells == SL_METRICS_CELLS && m->used <= SL_METRICS_CELLS;
}

struct sl_metrics *sl_metrics_map(int fd)
{
	struct sl_metrics *m = metrics_mmap(fd, PROT_READ | PROT_WRITE);

	if (m && !metrics_valid(m)) {
		m->used = 0;
		m->cells = SL_METRICS_CELLS;
		__atomic_store_n(&m->magic, SL_METRICS_MAGIC, __ATOMIC_RELEASE);
	}
	return m;
}

const struct sl_metrics *sl_metrics_look(int fd)
{
	return fd < 0 ? NULL : metrics_mmap(fd, PROT_READ);
}

void sl_metrics_unmap(const struct sl_metrics *m)
{
	if (m)
		munmap((void *)(uintptr_t)m, SL_METRICS_BYTES);
}

/* A name that was cut when it was registered is found again by its beginning. */
static bool metrics_same(const char *cell, const char *text)
{
	return strncmp(cell, text, SL_METRICS_NAME - 1) == 0;
}

static struct sl_metrics_cell *metrics_find(struct sl_metrics *m, const char *name, const char *mount)
{
	for (uint32_t i = 0; i < m->used; i++) {
		struct sl_metrics_cell *c = &m->cell[i];

		if (c->kind != SL_METRICS_BUCKET && metrics_same(c->name, name) && metrics_same(c->mount, mount))
			return c;
	}
	return NULL;
}

static void metrics_fill(struct sl_metrics_cell *c, const char *name, const char *mount, enum sl_metrics_kind kind,
                         const char *help)
{
	memset(c, 0, sizeof *c);
	snprintf(c->name, sizeof c->name, "%s", name);
	snprintf(c->mount, sizeof c->mount, "%s", mount);
	snprintf(c->help, sizeof c->help, "%s", help ? help : "");
	c->kind = (char)kind;
	c->scale = 1;
}

uint64_t *sl_metrics_get_at(struct sl_metrics *m, const char *name, const char *mount, enum sl_metrics_kind kind,
                            const char *help)
{
	struct sl_metrics_cell *c = metrics_find(m, name, mount);

	if (c)
		return &c->value;
	if (m->used >= SL_METRICS_CELLS)
		return &metrics_nowhere;
	c = &m->cell[m->used];
	metrics_fill(c, name, mount, kind, help);
	__atomic_store_n(&m->used, m->used + 1, __ATOMIC_RELEASE);
	return &c->value;
}

uint64_t *sl_metrics_get(struct sl_metrics *m, const char *name, enum sl_metrics_kind kind, const char *help)
{
	return sl_metrics_get_at(m, name, "", kind, help);
}

struct sl_metrics_cell *sl_metrics_histogram(struct sl_metrics *m, const char *name, const char *help,
                                             const struct sl_metrics_shape *shape)
{
	struct sl_metrics_cell *c = metrics_find(m, name, "");

	if (c && c->kind == SL_METRICS_HISTOGRAM)
		return c;
	if (c || m->used + shape->n + 2 > SL_METRICS_CELLS)
		return metrics_nowhere_histogram;
	c = &m->cell[m->used];
	metrics_fill(c, name, "", SL_METRICS_HISTOGRAM, help);
	c->scale = shape->scale;
	for (uint32_t i = 0; i <= shape->n; i++) {
		metrics_fill(&c[i + 1], name, "", SL_METRICS_BUCKET, NULL);
		c[i + 1].bound = i < shape->n ? shape->bound[i] : UINT64_MAX;
	}
	__atomic_store_n(&m->used, m->used + shape->n + 2, __ATOMIC_RELEASE);
	return c;
}

void sl_metrics_observe(struct sl_metrics_cell *histogram, uint64_t value)
{
	struct sl_metrics_cell *c = histogram + 1;

	histogram->value += value;
	while (c->bound < value && c->kind == SL_METRICS_BUCKET)
		c++;
	c->value++;
}

const struct sl_metrics_cell *sl_metrics_at(const struct sl_metrics *m, size_t i)
{
	if (m->magic != SL_METRICS_MAGIC || i >= SL_METRICS_CELLS)
		return NULL;
	return i < __atomic_load_n(&m->used, __ATOMIC_ACQUIRE) ? &m->cell[i] : NULL;
}
