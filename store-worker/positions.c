/*
 * positions.c - the step of the schema that gives every row its position. Store-writer.
 *
 * A position counts payload bytes, an offset 5 more for each record before it. What retention removed before this step counts with those:
 * how many records there were is no longer known, and positions need only be one order for all who read the stream.
 */
#include "lib/marks.h"
#include "store-worker/store.h"

struct filler { /* its statements */
	sqlite3 *db;
	sqlite3_stmt *streams, *stream, *row, *first, *shift, *put;
};

/* The last row of the stream that begins at or before the offset, as far as it is before the offset; 0 when there is none. */
static int fill_before(struct filler *f, uint64_t stream, uint64_t offset, uint64_t *stop, uint64_t *pos)
{
	struct sl_cur marks;
	struct sl_mark m;
	int rc;

	volume_bind_u64(f->row, 1, stream);
	volume_bind_u64(f->row, 2, offset);
	rc = sqlite3_step(f->row);
	if (rc == SQLITE_ROW) {
		*stop = (uint64_t)sqlite3_column_int64(f->row, 0);
		*pos = (uint64_t)sqlite3_column_int64(f->row, 1);
		marks = sl_cur_of(SL_SLICE(sqlite3_column_blob(f->row, 2), (size_t)sqlite3_column_bytes(f->row, 2)));
		while (*stop < offset && sl_marks_next(&marks, &m) == 1) {
			*stop += m.bytes + SLUICE_RECORD_OVERHEAD;
			*pos += m.bytes;
		}
	}
	sqlite3_reset(f->row);
	return rc == SQLITE_DONE ? SQLITE_OK : rc == SQLITE_ROW ? SQLITE_ROW : rc;
}

/* The position of an offset, looked up in the stream and then in those it was forked from; all of them are done already, or just
 * this one's rows. */
static int fill_place(struct filler *f, uint64_t stream, uint64_t offset, uint64_t *pos)
{
	uint64_t base = 0, base_pos = 0, parent = stream, stop;
	int rc;

	do {
		stream = parent;
		volume_bind_u64(f->stream, 1, stream);
		rc = sqlite3_step(f->stream);
		if (rc == SQLITE_ROW) {
			base = (uint64_t)sqlite3_column_int64(f->stream, 0);
			base_pos = (uint64_t)sqlite3_column_int64(f->stream, 1);
			parent = (uint64_t)sqlite3_column_int64(f->stream, 2);
		}
		sqlite3_reset(f->stream);
		if (rc != SQLITE_ROW)
			return rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
	} while (offset < base && parent && parent < stream);
	stop = base;
	*pos = base_pos;
	rc = fill_before(f, stream, offset, &stop, pos);
	if (rc != SQLITE_OK && rc != SQLITE_ROW)
		return rc;
	if (offset > stop)
		*pos += offset - stop;
	return SQLITE_OK;
}

static int fill_run(sqlite3_stmt *q)
{
	int rc = sqlite3_step(q);

	sqlite3_reset(q);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Moves the rows of a stream behind what lies before the first of them. */
static int fill_shift(struct filler *f, uint64_t id, uint64_t base, uint64_t base_pos)
{
	uint64_t first;
	int rc;

	volume_bind_u64(f->first, 1, id);
	rc = sqlite3_step(f->first);
	first = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(f->first, 0) : 0;
	sqlite3_reset(f->first);
	if (rc != SQLITE_ROW)
		return rc;
	volume_bind_u64(f->shift, 1, id);
	volume_bind_u64(f->shift, 2, base_pos + (first > base ? first - base : 0));
	return fill_run(f->shift);
}

static int fill_put(struct filler *f, uint64_t id, uint64_t base_pos, uint64_t earliest_pos)
{
	volume_bind_u64(f->put, 1, id);
	volume_bind_u64(f->put, 2, base_pos);
	volume_bind_u64(f->put, 3, earliest_pos);
	return fill_run(f->put);
}

static int fill_stream(struct filler *f)
{
	uint64_t id = (uint64_t)sqlite3_column_int64(f->streams, 0);
	uint64_t base = (uint64_t)sqlite3_column_int64(f->streams, 1);
	uint64_t earliest = (uint64_t)sqlite3_column_int64(f->streams, 2);
	uint64_t parent = (uint64_t)sqlite3_column_int64(f->streams, 3);
	uint64_t base_pos = base, earliest_pos = 0;
	int rc = parent ? fill_place(f, parent, base, &base_pos) : SQLITE_OK;

	if (rc == SQLITE_OK)
		rc = fill_shift(f, id, base, base_pos);
	if (rc == SQLITE_OK)
		rc = fill_put(f, id, base_pos, 0);
	if (rc == SQLITE_OK)
		rc = fill_place(f, id, earliest, &earliest_pos);
	return rc == SQLITE_OK ? fill_put(f, id, base_pos, earliest_pos) : rc;
}

int positions_fill(sqlite3 *db)
{
	struct filler f = {.db = db};
	const struct {
		sqlite3_stmt **q;
		const char *sql;
	} all[] = {
		/* Sources are older than their forks. */
		{&f.streams, "SELECT id, base, earliest, fork_of FROM stream ORDER BY id"},
		{&f.stream, "SELECT base, base_pos, fork_of FROM stream WHERE id = ?1"},
		{&f.row,
	         "SELECT start, pos, marks FROM chunk WHERE stream = ?1 AND start <= ?2 ORDER BY start DESC LIMIT 1"},
		{&f.first, "SELECT coalesce(min(start), 0) FROM chunk WHERE stream = ?1"},
		{&f.shift, "UPDATE chunk SET pos = pos + ?2 WHERE stream = ?1"},
		{&f.put, "UPDATE stream SET base_pos = ?2, earliest_pos = ?3 WHERE id = ?1"},
	};
	int rc = SQLITE_OK, step = SQLITE_DONE;

	for (size_t i = 0; rc == SQLITE_OK && i < sizeof all / sizeof *all; i++)
		rc = sqlite3_prepare_v2(db, all[i].sql, -1, all[i].q, NULL);
	while (rc == SQLITE_OK && (step = sqlite3_step(f.streams)) == SQLITE_ROW)
		rc = fill_stream(&f);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		sqlite3_finalize(*all[i].q);
	return rc == SQLITE_OK && step != SQLITE_DONE ? step : rc;
}
