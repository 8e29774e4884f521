/* Metric cells: names, kinds, sharing between two mappings, a full table. */
#include <sys/mman.h>
#include <unistd.h>

#include "lib/metrics.h"
#include "tests/unit/tap.h"

int main(void)
{
	int fd = memfd_create("m", MFD_CLOEXEC);
	struct sl_metrics *a, *b;
	uint64_t *x, *y;
	char name[64];
	size_t n = 0;

	ok(fd >= 0 && !sl_metrics_map(fd), "too small a memory is refused");
	ok(ftruncate(fd, SL_METRICS_BYTES) == 0, "sized");
	a = sl_metrics_map(fd);
	b = sl_metrics_map(fd);
	ok(a && b && a != b, "two mappings");
	x = sl_metrics_get(a, "p.appends", SL_METRICS_COUNTER);
	y = sl_metrics_get(a, "p.open", SL_METRICS_GAUGE);
	ok(x && y && x != y, "two cells");
	*x += 3;
	ok(sl_metrics_get(a, "p.appends", SL_METRICS_COUNTER) == x, "the same name is the same cell");
	ok(sl_metrics_at(b, 0) && sl_metrics_at(b, 0)->value == 3, "seen through the other mapping");
	is_str(sl_metrics_at(b, 1)->name, "p.open", "with its name");
	is_int(sl_metrics_at(b, 1)->kind, 'g', "and kind");
	ok(!sl_metrics_at(b, 2), "no third");
	memset(name, 'n', sizeof name);
	name[sizeof name - 1] = '\0';
	sl_metrics_get(a, name, SL_METRICS_COUNTER);
	is_int(strlen(sl_metrics_at(b, 2)->name), SL_METRICS_NAME - 1, "a long name is cut");
	sl_metrics_unmap(b);
	b = sl_metrics_map(fd);
	is_int(sl_metrics_at(b, 0)->value, 3, "values survive a new mapping");
	for (size_t i = 0; i < (size_t)2 * SL_METRICS_CELLS; i++) {
		snprintf(name, sizeof name, "c%zu", i);
		*sl_metrics_get(a, name, SL_METRICS_COUNTER) = 1;
	}
	while (sl_metrics_at(a, n))
		n++;
	is_int(n, SL_METRICS_CELLS, "a full table stays full");
	is_int(sl_metrics_at(a, 0)->value, 3, "and its first cell what it was");
	sl_metrics_unmap(a);
	sl_metrics_unmap(b);
	a = sl_metrics_map(-1);
	ok(a && !sl_metrics_at(a, 0), "private memory works too");
	sl_metrics_unmap(a);
	close(fd);
	return tap_done();
}
