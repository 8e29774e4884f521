/*
 * store_place.c - from a position, which counts payload bytes, to the record and the message it is in. Workers, sluicectl.
 *
 * Rows know their position, but only offsets are indexed. Both grow together, so the row is found by halving the range of offsets it
 * may begin at: a look at a row for each bit of the stream's length at most, whatever the rows of a damaged volume say.
 */
#include "lib/marks.h"
#include "lib/schema.h"
#include "lib/store_reader_internal.h"

struct place_row {
	uint64_t start, stop, pos, bytes;
	sl_slice marks; /* inside the statement, until it is reset */
};

/* The last row that begins at or before the offset: 1, 0, or an error. The statement is left standing on it. */
static int place_row(struct sl_reader *r, uint64_t stream, uint64_t offset, struct place_row *row)
{
	sqlite3_stmt *q = r->stmt[R_ROW];
	int rc;

	sqlite3_reset(q);
	sqlite3_bind_int64(q, 1, (sqlite3_int64)stream);
	sqlite3_bind_int64(q, 2, (sqlite3_int64)offset);
	rc = sqlite3_step(q);
	if (rc != SQLITE_ROW)
		return rc == SQLITE_DONE ? 0 : SLUICE_EINTERNAL;
	row->start = (uint64_t)sqlite3_column_int64(q, 0);
	row->stop = (uint64_t)sqlite3_column_int64(q, 1);
	row->pos = (uint64_t)sqlite3_column_int64(q, 2);
	row->bytes = (uint64_t)sqlite3_column_int64(q, 3);
	row->marks = SL_SLICE(sqlite3_column_blob(q, 4), (size_t)sqlite3_column_bytes(q, 4));
	return 1;
}

/* The row of one stream that contains the position; [low, high]: where it may begin or contain. SLUICE_EGONE: it was reaped. */
static int place_search(struct sl_reader *r, uint64_t stream, uint64_t low, uint64_t high, uint64_t pos,
                        struct place_row *row)
{
	if (high > INT64_MAX) /* more than a column can hold */
		return SLUICE_EINTERNAL;
	while (low <= high) {
		uint64_t middle = low + (high - low) / 2;
		int rc = place_row(r, stream, middle, row);

		if (rc < 0)
			return rc;
		if (rc == 1 && row->start > middle)
			return SLUICE_EINTERNAL;
		if (rc == 0) {
			low = middle + 1;
		} else if (row->pos > pos) {
			if (row->start == 0)
				return SLUICE_EINTERNAL;
			high = row->start - 1;
		} else if (pos - row->pos < row->bytes) {
			return 0;
		} else {
			low = row->stop > middle ? row->stop : middle + 1;
		}
	}
	return SLUICE_EGONE;
}

/* How much of a record's messages lies before the position inside it. */
static void place_messages(const struct sl_mark *m, struct sl_place *at)
{
	struct sl_cur lengths = m->lengths;
	uint64_t end = 0;

	at->inside = at->skip > 0;
	if (m->messages < 2)
		return;
	while (end < at->skip && at->messages < m->messages) {
		end += sl_cur_varint(&lengths);
		at->messages += end <= at->skip;
	}
	at->inside = end != at->skip;
}

static int place_record(const struct place_row *row, uint64_t pos, struct sl_place *at)
{
	struct sl_cur marks = sl_cur_of(row->marks);
	uint64_t offset = row->start, before = row->pos;
	struct sl_mark m;

	while (sl_marks_next(&marks, &m) == 1) {
		if (pos - before < m.bytes) {
			*at = (struct sl_place){.offset = offset, .skip = pos - before};
			place_messages(&m, at);
			return 0;
		}
		offset += m.bytes + SLUICE_RECORD_OVERHEAD;
		before += m.bytes;
	}
	return SLUICE_EINTERNAL;
}

/* The stream of a chain of forks whose own records contain the position; below *cap. */
static int place_level(struct sl_reader *r, uint64_t pos, struct reader_stream *s, uint64_t *cap)
{
	while (pos < s->base_pos && s->fork_of) {
		uint64_t child = s->id;
		bool found;
		int rc;

		*cap = s->base < *cap ? s->base : *cap;
		rc = reader_by_id(r, s->fork_of, s, &found);
		if (rc == 0 && !found)
			rc = SLUICE_EGONE;
		if (rc == 0 && s->id >= child) /* of a damaged volume: a source is older than its forks */
			rc = SLUICE_EINTERNAL;
		if (rc)
			return rc;
	}
	return 0;
}

int sl_reader_place(struct sl_reader *r, const struct sl_facts *f, uint64_t pos, struct sl_place *at)
{
	uint64_t cap = f->tail;
	struct reader_stream s;
	struct place_row row;
	bool found;
	int rc;

	*at = (struct sl_place){.offset = pos < f->earliest_pos ? f->earliest : f->tail};
	if (pos < f->earliest_pos)
		return SLUICE_EGONE;
	if (pos >= f->tail_pos)
		return pos > f->tail_pos ? SLUICE_ETOOBIG : 0;
	rc = reader_by_id(r, f->incarnation, &s, &found);
	if (rc == 0 && !found)
		rc = SLUICE_EGONE;
	if (rc == 0)
		rc = place_level(r, pos, &s, &cap);
	if (rc == 0)
		rc = place_search(r, s.id, pos, cap - 1, pos, &row);
	if (rc == 0)
		rc = place_record(&row, pos, at);
	sqlite3_reset(r->stmt[R_ROW]);
	return rc;
}
