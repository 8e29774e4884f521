/*
 * metrics.h - counters, gauges and histograms in memory that other processes map too. Their process writes, others read. Every process.
 *
 * Layout: a head, then cells in order of registration. A histogram is one cell and its buckets behind it. A cell is complete before
 * `used` counts it, so a reader in another process never sees a half-made one. Values survive the writer of the cells.
 */
#ifndef SL_METRICS_H
#define SL_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SL_METRICS_MAGIC 0x4d657432u
#define SL_METRICS_CELLS 511u
#define SL_METRICS_BYTES ((SL_METRICS_CELLS + 1) * 256u)
#define SL_METRICS_NAME 64
#define SL_METRICS_HELP 104
#define SL_METRICS_BUCKETS 20 /* of one histogram, without the one for everything above */

enum sl_metrics_kind {
	SL_METRICS_COUNTER = 'c',
	SL_METRICS_GAUGE = 'g',
	SL_METRICS_HISTOGRAM = 'h', /* value: the sum of what was observed */
	SL_METRICS_BUCKET = 'b'     /* of the histogram before it; value: observations up to bound and above the bucket before */
};

struct sl_metrics_cell {
	uint64_t value;
	uint64_t bound;             /* BUCKET; UINT64_MAX: everything above */
	char name[SL_METRICS_NAME]; /* NUL-terminated: "streams.appends" */
	char mount[SL_METRICS_NAME]; /* of a plugin that its frontend has twice; "" otherwise */
	char help[SL_METRICS_HELP];  /* a sentence */
	uint32_t scale;              /* HISTOGRAM: what was observed divided by this is in the unit that the name says */
	char kind;
	char unused[3];
};

struct sl_metrics {
	uint32_t magic, cells, used, unused[61];
	struct sl_metrics_cell cell[SL_METRICS_CELLS];
};

/* What a histogram looks like: bounds in ascending order, in 1/scale of the name's unit. */
struct sl_metrics_shape {
	uint32_t scale, n;
	uint64_t bound[SL_METRICS_BUCKETS];
};
extern const struct sl_metrics_shape sl_metrics_latency; /* microseconds, shown as seconds */
extern const struct sl_metrics_shape sl_metrics_size;    /* counts, by powers of two */

/* Maps fd (it stays the caller's) or, with fd -1, private memory, and lays it out when it is new. NULL: cannot. */
struct sl_metrics *sl_metrics_map(int fd);
/* Of another process, read-only; nothing is written or laid out. NULL: cannot, or it is none. */
const struct sl_metrics *sl_metrics_look(int fd);
void sl_metrics_unmap(const struct sl_metrics *); /* NULL is fine */
/* The cell of that name, made when it is new; long texts are cut. Table full: one cell that nobody reads. help NULL: none. */
uint64_t *sl_metrics_get(struct sl_metrics *, const char *name, enum sl_metrics_kind, const char *help);
uint64_t *sl_metrics_get_at(struct sl_metrics *, const char *name, const char *mount, enum sl_metrics_kind,
                            const char *help);
/* Table full: one that nobody reads, in which may be counted all the same. */
struct sl_metrics_cell *sl_metrics_histogram(struct sl_metrics *, const char *name, const char *help,
                                             const struct sl_metrics_shape *);
void sl_metrics_observe(struct sl_metrics_cell *histogram, uint64_t value);
/* The i-th cell, in order; NULL behind the last. */
const struct sl_metrics_cell *sl_metrics_at(const struct sl_metrics *, size_t i);

#endif
