/*
 * metrics.h - named 64-bit cells in memory that the supervisor maps too. Workers write, the supervisor reads.
 *
 * Layout: a head of one cell, then fixed cells in order of registration. A cell's name is complete before `used`
 * counts it, so a reader in another process never sees a half-made one. Values survive the writer of the cells.
 */
#ifndef SL_METRICS_H
#define SL_METRICS_H

#include <stddef.h>
#include <stdint.h>

#define SL_METRICS_MAGIC 0x4d657431u
#define SL_METRICS_BYTES 65536u
#define SL_METRICS_CELLS (SL_METRICS_BYTES / 64 - 1)
#define SL_METRICS_NAME 55

enum sl_metrics_kind { SL_METRICS_COUNTER = 'c', SL_METRICS_GAUGE = 'g' };

struct sl_metrics_cell {
	char name[SL_METRICS_NAME]; /* NUL-terminated: "streams.appends" */
	char kind;
	uint64_t value;
};

struct sl_metrics {
	uint32_t magic, cells, used, unused[13];
	struct sl_metrics_cell cell[SL_METRICS_CELLS];
};

/* Maps fd (it stays the caller's) or, with fd -1, private memory, and lays it out when it is new. NULL: cannot. */
struct sl_metrics *sl_metrics_map(int fd);
void sl_metrics_unmap(struct sl_metrics *);
/* The cell of that name, made when it is new; long names are cut. Table full: one cell that nobody reads. */
uint64_t *sl_metrics_get(struct sl_metrics *, const char *name, enum sl_metrics_kind);
/* The i-th cell, in order; NULL behind the last. */
const struct sl_metrics_cell *sl_metrics_at(const struct sl_metrics *, size_t i);

#endif
