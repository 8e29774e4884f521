/*
 * fuzz_ephemeral.c - fuzz target: updates of ephemeral channels as clients send them. Tests only.
 *
 * The first byte says how many updates the rest is cut into; each is merged into a small map. What is accepted is encoded to an
 * update that another map takes and then says the same; what is refused has changed nothing; bounds hold; values of what
 * was accepted become JSON.
 */
#include <stdlib.h>

#include "frontend/ephemeral/ephemeral.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

enum { BYTES_MAX = 4096, KEYS_MAX = 16, TIMEOUT_MS = 1000 };

static const int64_t now = 1700000000000;

static void must(bool good)
{
	if (!good)
		abort();
}

static struct eph_map *map_new(void)
{
	struct eph_limits limits = {.timeout_ms = TIMEOUT_MS, .max_bytes = BYTES_MAX, .max_keys = KEYS_MAX};
	struct eph_map *m = eph_map_new(&limits);

	must(m != NULL);
	return m;
}

static void check_entries(sl_slice update)
{
	struct eph_walk w = {0};
	struct eph_entry e;
	struct sl_buf json;
	int rc;

	sl_buf_init(&json);
	must(eph_walk_begin(&w, update) == 0);
	while ((rc = eph_walk_next(&w, &e)) == 1)
		if (e.value.data)
			must(eph_put_json(&json, e.value) == 0 && json.len > 0);
	must(rc == 0);
	sl_buf_fini(&json);
}

/* Everything of the map at a moment, as an update. */
static void say(const struct eph_map *m, struct sl_buf *all)
{
	sl_buf_init(all);
	must(eph_map_encode_all(m, now, all) == 0);
}

static void apply(struct eph_map *m, sl_slice update)
{
	struct sl_buf all, after;
	int good = eph_check(update), rc;

	say(m, &all);
	rc = eph_map_apply(m, update, now);
	must(rc == 0 || rc == SLUICE_EINVAL || rc == SLUICE_ETOOBIG);
	must((rc == SLUICE_EINVAL) == (good != 0));
	if (good == 0)
		check_entries(update);
	must(eph_map_bytes(m) <= BYTES_MAX && eph_map_count(m) <= KEYS_MAX);
	say(m, &after);
	if (rc)
		must(sl_slice_eq(sl_buf_slice(&all), sl_buf_slice(&after)));
	sl_buf_fini(&all);
	sl_buf_fini(&after);
}

/* A newcomer that gets everything knows what the others know. */
static void check_newcomer(struct eph_map *m)
{
	struct eph_map *other = map_new();
	struct sl_buf all, theirs;

	say(m, &all);
	must(eph_check(sl_buf_slice(&all)) == 0 && eph_map_apply(other, sl_buf_slice(&all), now) == 0);
	say(other, &theirs);
	must(sl_slice_eq(sl_buf_slice(&all), sl_buf_slice(&theirs)));
	sl_buf_fini(&all);
	sl_buf_fini(&theirs);
	eph_map_free(other);
}

/* Only what claims to come from later is there once its time is over; the difference wraps, as in the library. */
static void check_young(void *arg, const struct eph_entry *e)
{
	(void)arg;
	must((int64_t)((uint64_t)now + 2 * TIMEOUT_MS - (uint64_t)e->timestamp) <= TIMEOUT_MS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct eph_map *m = map_new();
	size_t pieces = n ? 1 + (data[0] & 3) : 0;

	/* The pieces have lengths of their own, in a byte, but for the last. */
	for (size_t at = 1; pieces > 0 && at <= n; pieces--) {
		size_t len = n - at;

		if (pieces > 1 && at < n) {
			len = data[at] < n - at - 1 ? data[at] : n - at - 1;
			at++;
		}
		apply(m, SL_SLICE(data + at, len));
		at += len;
	}
	check_newcomer(m);
	eph_map_purge(m, now + 2 * TIMEOUT_MS);
	eph_map_each(m, check_young, NULL);
	eph_map_free(m);
	return 0;
}
