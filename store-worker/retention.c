/*
 * retention.c - trimming streams by age and size, as the rules of the workers say. Store-writer.
 *
 * The longest prefix that matches a name decides. Bytes are counted as offsets count them: payload and 5 for each
 * record. Size never removes the newest record, age removes any. A pass over all names goes in slices and takes at most
 * a twentieth of the time.
 */
#include <stdlib.h>

#include "store-worker/store.h"

enum { AGE_ROWS = 256, PASS_REST = 20 };

const struct rule *retention_rule(const struct store *st, sl_slice name)
{
	const struct rule *best = NULL;

	for (struct sl_link *l = st->peers.next; l != &st->peers; l = l->next) {
		const struct peer *p = SL_OF(l, struct peer, all);

		for (size_t i = 0; i < p->n_rules; i++) {
			const struct rule *r = &p->rules[i];

			if ((!best || r->len > best->len) && sl_slice_prefix(name, SL_SLICE(r->prefix, r->len)))
				best = r;
		}
	}
	return best;
}

static bool retention_any(const struct store *st)
{
	for (struct sl_link *l = st->peers.next; l != &st->peers; l = l->next)
		if (SL_OF(l, struct peer, all)->n_rules)
			return true;
	return false;
}

/* The lowest boundary from which on at most max_bytes are left. */
static int retention_bytes(struct txn *t, const struct stream *s, uint64_t max_bytes, uint64_t *to)
{
	struct walk w = {0};
	struct walk_record rec = {0};
	uint64_t cut, end;
	bool found;
	int rc;

	if (s->tail - s->earliest <= max_bytes)
		return SE_OK;
	cut = s->tail - max_bytes;
	rc = walk_record(t->volume, s, cut, &w, &rec, &found);
	if (rc)
		return rc;
	end = found ? rec.start + rec.bytes + SLUICE_RECORD_OVERHEAD : s->tail;
	cut = found && (rec.start >= cut || end == s->tail) ? rec.start : end;
	if (cut > *to && cut < s->tail)
		*to = cut;
	return SE_OK;
}

static int retention_age(struct txn *t, const struct stream *s, uint64_t max_age_ms, uint64_t *to)
{
	struct walk w = {0};
	uint64_t at = s->earliest;

	for (unsigned i = 0; i < AGE_ROWS && at < s->tail; i++) {
		int rc = walk_at(t->volume, s, at, &w);

		if (rc)
			return rc;
		if (!w.found || w.row.time_ms >= t->now_ms || t->now_ms - w.row.time_ms <= max_age_ms)
			break;
		at = w.row.stop < w.cap ? w.row.stop : w.cap;
		if (at > *to)
			*to = at;
	}
	return SE_OK;
}

static int retention_stream(struct txn *t, const struct stream *s, const struct rule *r)
{
	uint64_t to = s->earliest;
	int rc = txn_settle(t);

	if (rc == SE_OK && r->max_bytes)
		rc = retention_bytes(t, s, r->max_bytes, &to);
	if (rc == SE_OK && r->max_age_ms)
		rc = retention_age(t, s, r->max_age_ms, &to);
	return rc || to <= s->earliest ? rc : txn_trim(t, s, to);
}

static int retention_names(struct txn *t, struct retention *pass, uint64_t *ids, int *n)
{
	sqlite3_stmt *q = sweep_stmt(t->store, SWEEP_NAMES);
	int rc;

	*n = 0;
	volume_bind_text(q, 1, SL_SLICE(pass->name, pass->len));
	while ((rc = sqlite3_step(q)) == SQLITE_ROW && *n < 64) {
		sl_slice name = SL_SLICE(sqlite3_column_blob(q, 1), (size_t)sqlite3_column_bytes(q, 1));
		char *copy = sl_slice_dup(name);

		if (!copy) {
			rc = SQLITE_NOMEM;
			break;
		}
		free(pass->name);
		pass->name = copy;
		pass->len = name.len;
		ids[(*n)++] = (uint64_t)sqlite3_column_int64(q, 0);
	}
	sqlite3_reset(q);
	return rc == SQLITE_ROW ? SE_OK : se_of_sqlite(rc);
}

int retention_slice(struct txn *t, struct retention *pass, bool *left)
{
	struct store *st = t->store;
	uint64_t ids[64], now = st->mono_ms(st->clock_arg);
	int n = 0, rc;

	*left = false;
	if (!retention_any(st) || (!pass->name && now < pass->next_ms))
		return SE_OK;
	rc = retention_names(t, pass, ids, &n);
	pass->slices++;
	for (int i = 0; rc == SE_OK && i < n; i++) {
		const struct rule *r;
		struct stream *s;

		rc = volume_by_id(t->volume, ids[i], &s);
		/* What has a snapshot is trimmed by the next one: without the records behind it, it would not be whole. */
		if (rc || !s || s->state != SL_LIVE || s->snapshot)
			continue;
		r = retention_rule(st, stream_name(s));
		if (r)
			rc = retention_stream(t, s, r);
		if (rc == SE_DAMAGED) { /* it keeps what it has; the others are not to wait for it */
			store_damaged(st, stream_name(s));
			rc = SE_OK;
		}
	}
	*left = n == 64;
	if (*left || rc)
		return rc;
	free(pass->name);
	/* A slice takes about a millisecond. */
	*pass = (struct retention){.next_ms = pass->slices > 1 ? now + PASS_REST * pass->slices : now};
	return rc;
}
