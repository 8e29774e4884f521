/*
 * walk.c - chunk rows of a stream and of the ancestors it was forked from. Store-writer.
 *
 * A stream sees an ancestor's records below the lowest fork point on the way there; offsets are common to the whole
 * chain.
 */
#include <stdlib.h>

#include "lib/crc.h"
#include "lib/marks.h"
#include "store-worker/store.h"

/* Reads the row at or behind the offset among the stream's own ones. */
static int walk_own(struct volume *v, uint64_t stream, uint64_t offset, struct walk *w)
{
	sqlite3_stmt *q = volume_stmt(v, V_CHUNK_AT);
	struct chunk_row *r = &w->row;
	bool damaged = false;
	int rc;

	volume_bind_u64(q, 1, stream);
	volume_bind_u64(q, 2, offset);
	rc = sqlite3_step(q);
	w->found = rc == SQLITE_ROW;
	if (w->found) {
		uint64_t *const field[] = {&r->id,       &r->stream,  &r->start,   &r->stop,    &r->bytes, &r->records,
		                           &r->messages, &r->time_ms, &r->segment, &r->seg_off, &r->pos};

		for (int i = 0; i < 11; i++)
			*field[i] = (uint64_t)sqlite3_column_int64(q, i);
		sl_buf_drain(&v->row_marks, SIZE_MAX);
		sl_buf_drain(&v->row_data, SIZE_MAX);
		if (sl_buf_add(&v->row_marks, sqlite3_column_blob(q, 11), (size_t)sqlite3_column_bytes(q, 11)))
			rc = SQLITE_NOMEM;
		if (w->want_data && !r->segment &&
		    sl_buf_add(&v->row_data, sqlite3_column_blob(q, 12), (size_t)sqlite3_column_bytes(q, 12)))
			rc = SQLITE_NOMEM;
		r->marks = sl_buf_slice(&v->row_marks);
		r->data = r->segment ? SL_SLICE(NULL, 0) : sl_buf_slice(&v->row_data);
		/* What is copied would have a good checksum where it is copied to, and a boundary that is none would stay one. */
		damaged = w->want_data && !r->segment && sqlite3_column_type(q, 13) != SQLITE_NULL &&
		          sqlite3_column_int64(q, 13) != sl_row_crc(r->marks, r->data);
	}
	sqlite3_reset(q);
	rc = se_of_sqlite(rc);
	return rc == SE_OK && damaged ? SE_DAMAGED : rc;
}

int walk_at(struct volume *v, const struct stream *s, uint64_t offset, struct walk *w)
{
	for (;;) {
		uint64_t id = s->id, base = s->base, parent = s->fork_of;
		int rc;

		w->cap = STORE_OFFSET_MAX;
		while (offset < base && parent) {
			struct stream *up;

			if (base < w->cap)
				w->cap = base;
			rc = volume_by_id(v, parent, &up);
			if (rc)
				return rc;
			if (!up)
				return SE_CORRUPT; /* a fork holds its ancestors */
			id = up->id;
			base = up->base;
			parent = up->fork_of;
		}
		rc = walk_own(v, id, offset, w);
		if (rc)
			return rc;
		if (w->found && w->row.start < w->cap)
			return SE_OK;
		w->found = false;
		if (w->cap == STORE_OFFSET_MAX)
			return SE_OK;
		offset = w->cap; /* nothing more in that ancestor: on in its descendants */
	}
}

/* The marks of one record, from those of a run: everything but the leading byte count, or nothing for a single message. */
static sl_slice record_marks(const uint8_t *from, const uint8_t *to, uint32_t messages)
{
	struct sl_cur c = {.p = from, .end = to, .bad = false};

	sl_cur_varint(&c);
	return messages >= 2 ? SL_SLICE(c.p, (size_t)(to - c.p)) : SL_SLICE(NULL, 0);
}

/* The record of the row that contains an offset, or a position. */
static int walk_row(const struct walk *w, bool by_pos, uint64_t where, struct walk_record *r, bool *found)
{
	struct sl_cur c = sl_cur_of(w->row.marks);
	uint64_t at = w->row.start, bytes = 0;
	struct sl_mark m;

	for (;;) {
		const uint8_t *from = c.p;
		int rc = sl_marks_next(&c, &m);

		if (rc != 1)
			return rc == 0 ? SE_OK : SE_DAMAGED;
		if (at >= w->cap)
			return SE_OK;
		if (by_pos ? where < w->row.pos + bytes + m.bytes : where < at + m.bytes + SLUICE_RECORD_OVERHEAD) {
			*r = (struct walk_record){.start = at,
			                          .bytes = m.bytes,
			                          .at = bytes,
			                          .marks = record_marks(from, c.p, m.messages),
			                          .messages = m.messages};
			*found = true;
			return SE_OK;
		}
		at += m.bytes + SLUICE_RECORD_OVERHEAD;
		bytes += m.bytes;
	}
}

int walk_record(struct volume *v, const struct stream *s, uint64_t offset, struct walk *w, struct walk_record *r,
                bool *found)
{
	int rc;

	*found = false;
	w->want_data = true;
	rc = walk_at(v, s, offset, w);
	return rc || !w->found ? rc : walk_row(w, false, offset, r, found);
}

/* Only offsets are indexed, and they grow with positions: halving what is readable, through all ancestors, finds the row. */
int walk_position(struct volume *v, const struct stream *s, uint64_t pos, struct walk *w, struct walk_record *r,
                  bool *found)
{
	uint64_t low = s->earliest, high = s->tail;

	*found = false;
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		int rc;

		w->want_data = false;
		rc = walk_at(v, s, middle, w);
		if (rc)
			return rc;
		if (!w->found || w->row.pos > pos) {
			high = w->found && w->row.start < middle ? w->row.start : middle;
			continue;
		}
		w->want_data = pos - w->row.pos < w->row.bytes;
		if (w->want_data)
			rc = walk_at(v, s, middle, w);
		if (rc == SE_OK && w->want_data)
			rc = walk_row(w, true, pos, r, found);
		if (rc || *found)
			return rc;
		/* Behind this row, or behind what counts of it. */
		low = w->row.stop < w->cap ? w->row.stop : w->cap;
	}
	return SE_OK;
}

/* The ids of the forks of a stream, at most max. */
static int walk_forks(struct volume *v, uint64_t id, uint64_t *ids, unsigned max, unsigned *n)
{
	sqlite3_stmt *q = volume_stmt(v, V_FORKS_OF);
	int rc;

	*n = 0;
	volume_bind_u64(q, 1, id);
	while ((rc = sqlite3_step(q)) == SQLITE_ROW && *n < max)
		ids[(*n)++] = (uint64_t)sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	return rc == SQLITE_ROW ? SE_OK : se_of_sqlite(rc);
}

/* budget counts streams looked at. When it does not suffice everything is taken to be read: nothing is freed too early. */
static int reach(struct volume *v, uint64_t id, unsigned *budget, unsigned depth, uint64_t *lowest)
{
	struct stream *s;
	uint64_t *ids;
	unsigned n;
	int rc = volume_by_id(v, id, &s);

	*lowest = STORE_OFFSET_MAX;
	if (rc || !s)
		return rc;
	if (s->state == SL_LIVE)
		*lowest = s->earliest;
	if (s->forks == 0)
		return SE_OK;
	if (s->forks >= *budget || depth > 1000) {
		*lowest = 0;
		return SE_OK;
	}
	*budget -= (unsigned)s->forks;
	ids = malloc((s->forks + 1) * sizeof *ids);
	if (!ids)
		return SE_NOMEM;
	rc = walk_forks(v, id, ids, (unsigned)s->forks + 1, &n);
	for (unsigned i = 0; rc == SE_OK && i < n; i++) {
		struct stream *fork;
		uint64_t low;

		rc = reach(v, ids[i], budget, depth + 1, &low);
		if (rc == SE_OK)
			rc = volume_by_id(v, ids[i], &fork);
		if (rc == SE_OK && fork && low < fork->base && low < *lowest)
			*lowest = low;
	}
	free(ids);
	return rc;
}

int walk_reach(struct volume *v, uint64_t id, unsigned budget, uint64_t *lowest)
{
	return reach(v, id, &budget, 0, lowest);
}
