/*
 * store_check_rows.c - checking streams, their rows of records, and producers: one walk over three tables side by side. sluicectl, tests.
 *
 * A stream's own rows lie end to end from its first to its tail, in offsets and in positions. What may be missing in front is
 * what trimming freed: nothing from the earliest offset on, nothing that a fork still reads. After a finding the walk goes on with what
 * the next row says.
 */

#include "lib/crc.h"
#include "lib/marks.h"
#include "lib/schema.h"
#include "lib/store_check_internal.h"

struct rows { /* the walk */
	struct check *c;
	sqlite3_stmt *streams, *chunks, *producers;
	bool chunk, producer; /* stand on a row */
	struct check_row row;
};

static const char rows_streams[] =
	"SELECT id, name, state, base, earliest, base_pos, earliest_pos, coalesce(fork_of, 0), fork_at, forks, coalesce(reap_to, 0),"
	" closed, close_producer IS NOT NULL, reap_ms IS NULL, fork_name IS NULL, ttl_s, expires_ms, accessed_ms, deadline_ms,"
	" snapshot IS NOT NULL"
	" FROM stream ORDER BY id";
static const char rows_chunks[] =
	"SELECT stream, start, stop, bytes, records, messages, coalesce(segment, 0), coalesce(seg_off, 0), pos, segment IS NOT NULL,"
	" data IS NOT NULL, crc IS NOT NULL, coalesce(crc, 0), marks, data FROM chunk ORDER BY stream, start";
static const char rows_producers[] = "SELECT stream, epoch, seq, length(id), updated_ms FROM producer ORDER BY stream";

static uint64_t number(sqlite3_stmt *q, int i)
{
	return (uint64_t)sqlite3_column_int64(q, i);
}

/* ---- one row of records ---- */

bool check_boundary(const struct check_row *r, uint64_t offset, uint64_t *pos)
{
	struct sl_cur marks = sl_cur_of(r->marks);
	uint64_t at = r->start;
	struct sl_mark m;

	*pos = r->pos;
	while (at < offset && sl_marks_next(&marks, &m) == 1) {
		at += m.bytes + SLUICE_RECORD_OVERHEAD;
		*pos += m.bytes;
	}
	return at == offset;
}

static void row_marks(struct check *c, const struct check_row *r, struct check_at at)
{
	struct sl_cur marks = sl_cur_of(r->marks);
	uint64_t bytes = 0, records = 0, messages = 0;
	struct sl_mark m;
	int got;

	while ((got = sl_marks_next(&marks, &m)) == 1 && m.bytes <= r->bytes - bytes) {
		bytes += m.bytes;
		messages += m.messages;
		records++;
	}
	if (got != 0 || bytes != r->bytes || records != r->records || messages != r->messages)
		check_found(
			c, SL_FINDING_RECORDS, at,
			"the marks of the row tell of %llu records, %llu messages and %llu bytes%s; it should have %llu, %llu and %llu",
			(unsigned long long)records, (unsigned long long)messages, (unsigned long long)bytes,
			got < 0 ? " and are damaged then" : "", (unsigned long long)r->records,
			(unsigned long long)r->messages, (unsigned long long)r->bytes);
}

/* false: its numbers make no sense, so nothing else is asked of it. */
static bool row_numbers(struct check *c, const struct check_row *r, struct check_at at)
{
	if (r->start < r->stop && r->stop <= CHECK_OFFSET_MAX && r->bytes < r->stop && r->records <= r->bytes &&
	    r->stop - r->start == r->bytes + r->records * SLUICE_RECORD_OVERHEAD && r->records > 0 &&
	    r->pos <= r->start && r->marks.len <= INT32_MAX)
		return true;
	check_found(
		c, SL_FINDING_RECORDS, at,
		"a row that ends at %llu cannot have %llu records of %llu bytes that lie behind %llu bytes of the stream",
		(unsigned long long)r->stop, (unsigned long long)r->records, (unsigned long long)r->bytes,
		(unsigned long long)r->pos);
	return false;
}

static int row_check(struct check *c, const struct check_stream *s, const struct check_row *r)
{
	struct check_at at = {.stream = s, .offset = &r->start};

	if (!row_numbers(c, r, at))
		return c->stopped;
	c->result->records += r->records;
	c->result->bytes += r->bytes;
	row_marks(c, r, at);
	if (r->in_segment == r->has_data || (r->has_data && r->data.len != r->bytes))
		check_found(c, SL_FINDING_RECORDS, at, "the row has %llu bytes of payload%s, not %llu",
		            (unsigned long long)r->data.len, r->in_segment ? " beside those in a segment" : "",
		            (unsigned long long)r->bytes);
	else if (r->has_crc && r->has_data &&
	         r->crc != sl_row_crc(r->marks, r->data))
		check_found(c, SL_FINDING_PAYLOAD, at, "the %llu bytes of the row are not those that were written",
		            (unsigned long long)r->bytes);
	return r->in_segment ? check_payload(c, s, r) : c->stopped;
}

static void rows_next(struct rows *w)
{
	sqlite3_stmt *q = w->chunks;
	struct check_row *r = &w->row;
	int rc = sqlite3_step(q);

	w->chunk = rc == SQLITE_ROW;
	if (!w->chunk) {
		if (rc != SQLITE_DONE)
			check_sqlite(w->c, "the table of records");
		return;
	}
	*r = (struct check_row){.stream = number(q, 0),
	                        .start = number(q, 1),
	                        .stop = number(q, 2),
	                        .bytes = number(q, 3),
	                        .records = number(q, 4),
	                        .messages = number(q, 5),
	                        .segment = number(q, 6),
	                        .seg_off = number(q, 7),
	                        .pos = number(q, 8),
	                        .in_segment = sqlite3_column_int(q, 9) != 0,
	                        .has_data = sqlite3_column_int(q, 10) != 0,
	                        .has_crc = sqlite3_column_int(q, 11) != 0,
	                        .crc = (uint32_t)sqlite3_column_int64(q, 12)};
	r->marks = SL_SLICE(sqlite3_column_blob(q, 13), (size_t)sqlite3_column_bytes(q, 13));
	r->data = SL_SLICE(sqlite3_column_blob(q, 14), (size_t)sqlite3_column_bytes(q, 14));
}

/* ---- the rows of one stream ---- */

struct end { /* where the rows end so far */
	uint64_t stop, pos;
	bool any;
};

/* The first row that is left: what is missing before it was freed. */
static void rows_front(struct check *c, const struct check_stream *s, const struct check_row *r)
{
	const struct check_source *source = check_source(c, s->id);
	uint64_t need = s->state == SL_LIVE ? s->earliest : CHECK_OFFSET_MAX, from = s->base;
	struct check_at at = {.stream = s, .offset = &from};

	if (source && source->need < need)
		need = source->need;
	if (r->start == s->base && r->pos != s->base_pos)
		check_found(c, SL_FINDING_POSITION, at, "the first record is at position %llu, and should be at %llu",
		            (unsigned long long)r->pos, (unsigned long long)s->base_pos);
	if (r->start < s->base)
		check_found(c, SL_FINDING_GAP, (struct check_at){.stream = s, .offset = &r->start},
		            "there is a record before the beginning of the stream, which is %llu",
		            (unsigned long long)s->base);
	if (need > from)
		from = need;
	if (r->start > from && need < CHECK_OFFSET_MAX)
		check_found(c, SL_FINDING_GAP, at, "records are missing from here to %llu",
		            (unsigned long long)r->start);
}

static void rows_join(struct check *c, const struct check_stream *s, const struct check_row *r, const struct end *end)
{
	struct check_at at = {.stream = s, .offset = &end->stop};

	if (!end->any)
		rows_front(c, s, r);
	else if (r->start > end->stop)
		check_found(c, SL_FINDING_GAP, at, "records are missing from here to %llu",
		            (unsigned long long)r->start);
	else if (r->start < end->stop)
		check_found(c, SL_FINDING_GAP, (struct check_at){.stream = s, .offset = &r->start},
		            "records are there twice: the row before this one ends at %llu",
		            (unsigned long long)end->stop);
	else if (r->pos != end->pos)
		check_found(c, SL_FINDING_POSITION, at, "the record is at position %llu, and should be at %llu",
		            (unsigned long long)r->pos, (unsigned long long)end->pos);
}

/* The earliest offset is the beginning of a record, and its position that record's. */
static void rows_earliest(struct check *c, const struct check_stream *s, const struct check_row *r)
{
	struct check_at at = {.stream = s, .offset = &s->earliest};
	uint64_t pos;

	if (s->earliest < r->start || s->earliest >= r->stop)
		return;
	if (!check_boundary(r, s->earliest, &pos))
		check_found(c, SL_FINDING_STREAM, at, "the earliest offset is inside a record");
	else if (pos != s->earliest_pos && !(s->inside && s->earliest_pos > pos && s->earliest_pos < r->pos + r->bytes))
		check_found(c, SL_FINDING_POSITION, at,
		            "the earliest offset is at position %llu, and should be at %llu",
		            (unsigned long long)s->earliest_pos, (unsigned long long)pos);
}

static void rows_tail(struct check *c, const struct check_stream *s, const struct end *end)
{
	struct check_at at = {.stream = s, .offset = &end->stop};

	if (s->earliest > end->stop)
		check_found(c, SL_FINDING_STREAM, at, "the stream ends here, before its earliest offset %llu",
		            (unsigned long long)s->earliest);
	else if (s->earliest == end->stop && s->earliest_pos != end->pos)
		check_found(c, SL_FINDING_POSITION, at,
		            "the earliest offset is at position %llu, and should be at %llu",
		            (unsigned long long)s->earliest_pos, (unsigned long long)end->pos);
}

static int rows_of(struct rows *w, const struct check_stream *s)
{
	struct check *c = w->c;
	struct end end = {.any = false};

	while (w->chunk && w->row.stream == s->id && !c->stopped) {
		const struct check_row *r = &w->row;

		rows_join(c, s, r, &end);
		if (s->earliest >= s->base)
			rows_earliest(c, s, r);
		row_check(c, s, r);
		end = (struct end){.stop = r->stop, .pos = r->pos + r->bytes, .any = true};
		c->inline_bytes += r->in_segment ? 0 : r->bytes;
		rows_next(w);
	}
	if (end.any && s->state == SL_LIVE)
		rows_tail(c, s, &end);
	return c->stopped;
}

/* ---- streams ---- */

static void stream_row(sqlite3_stmt *q, struct check_stream *s)
{
	*s = (struct check_stream){.id = number(q, 0),
	                           .state = sqlite3_column_int(q, 2),
	                           .base = number(q, 3),
	                           .earliest = number(q, 4),
	                           .base_pos = number(q, 5),
	                           .earliest_pos = number(q, 6),
	                           .fork_of = number(q, 7),
	                           .fork_at = number(q, 8),
	                           .forks = number(q, 9),
	                           .reap_to = number(q, 10)};
	/* A snapshot may be between two messages of one record; deleting the stream takes it away. */
	s->inside = sqlite3_column_int(q, 19) != 0 || s->state != SL_LIVE;
	s->name = SL_SLICE(sqlite3_column_text(q, 1), (size_t)sqlite3_column_bytes(q, 1));
}

/* When the row says that it expires, as the writer computes it. */
static bool stream_deadline(sqlite3_stmt *q)
{
	bool ttl = sqlite3_column_type(q, 15) != SQLITE_NULL, expires = sqlite3_column_type(q, 16) != SQLITE_NULL;
	bool set = sqlite3_column_type(q, 18) != SQLITE_NULL;
	uint64_t ttl_s = number(q, 15), accessed = number(q, 17), deadline = number(q, 18), most = INT64_MAX;

	if (accessed > most || set != (ttl || expires))
		return false;
	if (expires)
		return deadline == number(q, 16);
	return !ttl || deadline == (ttl_s > (most - accessed) / 1000 ? most : accessed + ttl_s * 1000);
}

static void stream_check(struct check *c, sqlite3_stmt *q, const struct check_stream *s)
{
	struct check_at at = {.stream = s};
	const struct check_source *source = check_source(c, s->id);
	uint64_t forks = source ? source->forks : 0;

	if (s->state < SL_LIVE || s->state > SL_DEAD)
		check_found(c, SL_FINDING_STREAM, at, "its state is %d, which means nothing", s->state);
	if (s->name.len == 0 || s->name.len > SL_NAME_MAX)
		check_found(c, SL_FINDING_STREAM, at, "its name has %zu bytes", s->name.len);
	if (s->base > CHECK_OFFSET_MAX || s->earliest > CHECK_OFFSET_MAX || s->base_pos > s->base ||
	    (s->earliest_pos > s->earliest && !s->inside) || s->earliest_pos > CHECK_OFFSET_MAX)
		check_found(c, SL_FINDING_STREAM, at,
		            "it begins at %llu (position %llu), its earliest offset is %llu (position %llu)",
		            (unsigned long long)s->base, (unsigned long long)s->base_pos,
		            (unsigned long long)s->earliest, (unsigned long long)s->earliest_pos);
	if (sqlite3_column_int64(q, 11) != 1 && (sqlite3_column_int64(q, 11) != 0 || sqlite3_column_int(q, 12)))
		check_found(c, SL_FINDING_STREAM, at, "it is neither open nor closed");
	if (s->state == SL_DEAD && sqlite3_column_int(q, 13))
		check_found(c, SL_FINDING_STREAM, at, "it was deleted and would never be freed");
	if (!stream_deadline(q))
		check_found(c, SL_FINDING_STREAM, at, "the time at which it expires is not what its life time says");
	if (s->fork_of ? s->fork_at != s->base || sqlite3_column_int(q, 14) : s->base || s->base_pos)
		check_found(c, SL_FINDING_FORK, at, "where it begins, %llu, is not where it was forked",
		            (unsigned long long)s->base);
	if (s->forks != forks)
		check_found(c, SL_FINDING_FORK, at, "it counts %llu forks, and there are %llu",
		            (unsigned long long)s->forks, (unsigned long long)forks);
}

/* ---- producers ---- */

static void producers_next(struct rows *w)
{
	int rc = sqlite3_step(w->producers);

	w->producer = rc == SQLITE_ROW;
	if (!w->producer && rc != SQLITE_DONE)
		check_sqlite(w->c, "the table of producers");
}

static void producers_of(struct rows *w, const struct check_stream *s)
{
	sqlite3_stmt *q = w->producers;

	while (w->producer && number(q, 0) == s->id) {
		if (sqlite3_column_int64(q, 1) < 0 || sqlite3_column_int64(q, 2) < 0 || sqlite3_column_int64(q, 4) < 0)
			check_found(w->c, SL_FINDING_PRODUCER, (struct check_at){.stream = s},
			            "a producer has epoch %lld and sequence %lld",
			            (long long)sqlite3_column_int64(q, 1), (long long)sqlite3_column_int64(q, 2));
		w->c->result->producers++;
		producers_next(w);
	}
}

/* ---- the walk ---- */

/* Rows of streams that are not there: those before the given one, or all that are left. */
static void rows_strays(struct rows *w, const struct check_stream *before)
{
	struct check *c = w->c;

	while (w->chunk && (!before || (int64_t)w->row.stream < (int64_t)before->id) && !c->stopped) {
		check_found(c, SL_FINDING_GAP, (struct check_at){.offset = &w->row.start},
		            "there are records of a stream with the number %llu, but no such stream",
		            (unsigned long long)w->row.stream);
		for (uint64_t id = w->row.stream; w->chunk && w->row.stream == id;)
			rows_next(w);
	}
	while (w->producer && (!before || sqlite3_column_int64(w->producers, 0) < (int64_t)before->id) && !c->stopped) {
		uint64_t id = number(w->producers, 0);

		check_found(c, SL_FINDING_PRODUCER, (struct check_at){0},
		            "there are producers of a stream with the number %llu, but no such stream",
		            (unsigned long long)id);
		while (w->producer && number(w->producers, 0) == id)
			producers_next(w);
	}
}

static int rows_stream(struct rows *w)
{
	struct check *c = w->c;
	struct check_stream s;

	stream_row(w->streams, &s);
	rows_strays(w, &s);
	stream_check(c, w->streams, &s);
	if (s.fork_of && s.state < SL_DEAD && !c->stopped)
		check_fork(c, &s);
	rows_of(w, &s);
	producers_of(w, &s);
	c->result->streams++;
	if ((c->result->streams & 255) == 0)
		check_progress(c);
	return c->stopped;
}

static int rows_all(struct rows *w)
{
	int rc = SQLITE_DONE;

	rows_next(w);
	producers_next(w);
	while (!w->c->stopped && (rc = sqlite3_step(w->streams)) == SQLITE_ROW)
		rows_stream(w);
	if (!w->c->stopped && rc != SQLITE_DONE)
		return check_sqlite(w->c, "the table of streams");
	rows_strays(w, NULL);
	return w->c->stopped;
}

int check_rows(struct check *c)
{
	struct rows w = {.c = c};
	int rc;

	w.streams = check_prepare(c, rows_streams, "the table of streams");
	w.chunks = w.streams ? check_prepare(c, rows_chunks, "the table of records") : NULL;
	w.producers = w.chunks ? check_prepare(c, rows_producers, "the table of producers") : NULL;
	rc = w.producers ? rows_all(&w) : c->stopped;
	sqlite3_finalize(w.streams);
	sqlite3_finalize(w.chunks);
	sqlite3_finalize(w.producers);
	return rc;
}
