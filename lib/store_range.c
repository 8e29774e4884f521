/*
 * store_range.c - records of a stream between two offsets, out of chunk rows, ancestors and segment files. Workers,
 * sluicectl.
 *
 * A stream sees an ancestor's records below the lowest fork point on the way there; offsets are common to the whole
 * chain (durable-streams 15). The rows of one stream follow each other without a gap, so a gap means that they were
 * reaped meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/crc.h"
#include "lib/marks.h"
#include "lib/schema.h"
#include "lib/segment.h"
#include "lib/store_reader_internal.h"

/* Rows that one plan sums up at most: an answer over very many small commits is shorter, not slower. */
enum { PLAN_ROWS = 8192 };

struct row {
	uint64_t start, stop, bytes, records, messages, segment, seg_off;
	sl_slice marks, data; /* inside the statement */
};

/* Walks rows from an offset on, through the chain of ancestors. */
struct rows {
	struct sl_reader *r;
	struct reader_stream top;
	uint64_t at;        /* offset wanted next */
	uint64_t cap;       /* the row's stream counts below this offset only */
	bool open, chained; /* chained: r->chain is this walk's */
};

/* One record of a row. */
struct piece {
	uint64_t start, stop; /* offsets */
	uint64_t off;         /* of its bytes inside the row's payload */
	struct sl_mark mark;
};

static void rows_close(struct rows *w)
{
	if (w->open)
		sqlite3_reset(w->r->stmt[R_CHUNKS]);
	w->open = false;
}

static int chain_add(struct sl_reader *r, uint64_t id, uint64_t cap)
{
	if (r->n_chain == r->cap_chain) {
		size_t more = r->cap_chain ? 2 * r->cap_chain : 16;
		struct reader_level *v = realloc(r->chain, more * sizeof *v);

		if (!v)
			return SLUICE_ENOMEM;
		r->chain = v;
		r->cap_chain = more;
	}
	r->chain[r->n_chain++] = (struct reader_level){.id = id, .cap = cap};
	return 0;
}

/* The ancestors down to the one that has the first offset wanted. Once per walk: chains may be very long. A source is older than its
 * forks, so that even the chain of a damaged volume ends. */
static int chain_find(struct rows *w)
{
	struct reader_stream s = w->top;
	uint64_t cap = UINT64_MAX;
	int rc;

	w->r->n_chain = 0;
	rc = chain_add(w->r, s.id, cap);
	while (rc == 0 && w->at < s.base && s.fork_of) {
		bool found;

		cap = s.base < cap ? s.base : cap;
		if (s.fork_of >= s.id)
			return SLUICE_EINTERNAL;
		rc = reader_by_id(w->r, s.fork_of, &s, &found);
		if (rc == 0 && !found)
			rc = SLUICE_EGONE;
		if (rc == 0)
			rc = chain_add(w->r, s.id, cap);
	}
	w->chained = rc == 0;
	return rc;
}

static int rows_open(struct rows *w)
{
	sqlite3_stmt *q = w->r->stmt[R_CHUNKS];
	const struct reader_level *level;
	int rc = w->chained ? 0 : chain_find(w);

	if (rc)
		return rc;
	/* Behind its cap an ancestor does not count: on in its nearest descendant that does. */
	while (w->r->n_chain > 1 && w->at >= w->r->chain[w->r->n_chain - 1].cap)
		w->r->n_chain--;
	level = &w->r->chain[w->r->n_chain - 1];
	w->cap = level->cap;
	sqlite3_bind_int64(q, 1, (sqlite3_int64)level->id);
	sqlite3_bind_int64(q, 2, (sqlite3_int64)w->at);
	w->open = true;
	return 0;
}

static void rows_take(sqlite3_stmt *q, struct row *row)
{
	uint64_t *const field[] = {&row->start,    &row->stop,    &row->bytes,  &row->records,
	                           &row->messages, &row->segment, &row->seg_off};

	for (int i = 0; i < 7; i++)
		*field[i] = (uint64_t)sqlite3_column_int64(q, i);
	row->marks = SL_SLICE(sqlite3_column_blob(q, 7), (size_t)sqlite3_column_bytes(q, 7));
}

/* The row that contains w->at: 1; 0: there is none behind it. The caller moves w->at to where the next row begins. */
static int rows_next(struct rows *w, struct row *row)
{
	for (;;) {
		sqlite3_stmt *q = w->r->stmt[R_CHUNKS];
		int rc = w->open ? 0 : rows_open(w);

		if (rc)
			return rc;
		if (w->at < w->cap) {
			rc = sqlite3_step(q);
			if (rc != SQLITE_ROW && rc != SQLITE_DONE)
				return SLUICE_EINTERNAL;
			if (rc == SQLITE_ROW) {
				rows_take(q, row);
				if (row->start > w->at)
					return SLUICE_EGONE;
				return 1;
			}
			if (w->cap == UINT64_MAX)
				return 0;
			return SLUICE_EGONE; /* an ancestor must reach up to the fork point */
		}
		rows_close(w); /* on in the descendants of that ancestor */
	}
}

/* Next record of a row below cap: 1, 0, or SLUICE_EINTERNAL for damaged marks. piece->stop and ->off must be those of the one before. */
static int piece_next(struct sl_cur *marks, uint64_t cap, struct piece *p)
{
	int rc;

	p->off += p->mark.bytes;
	p->start = p->stop;
	if (p->start >= cap)
		return 0;
	rc = sl_marks_next(marks, &p->mark);
	if (rc != 1)
		return rc ? SLUICE_EINTERNAL : 0;
	p->stop = p->start + p->mark.bytes + SLUICE_RECORD_OVERHEAD;
	return 1;
}

static struct piece piece_first(const struct row *row)
{
	return (struct piece){.stop = row->start};
}

/* The stream of the chain that the row of the walk under way is of. */
static uint64_t row_stream(const struct sl_reader *r)
{
	return r->chain[r->n_chain - 1].id;
}

static bool row_suspected(const struct sl_reader *r, const struct row *row)
{
	for (int i = 0; i < READER_SUSPECTS; i++)
		if (r->suspect[i].stream == row_stream(r) && r->suspect[i].start == row->start)
			return true;
	return false;
}

/* Adds records of a row to the plan. Returns 1 when the budget is used up. */
static int plan_records(struct rows *w, const struct row *row, uint64_t budget, struct sl_plan *plan, bool *any)
{
	struct sl_cur marks = sl_cur_of(row->marks);
	struct piece p = piece_first(row);
	int rc;

	while ((rc = piece_next(&marks, w->cap, &p)) == 1) {
		if (p.stop <= w->at)
			continue;
		if (*any && plan->payload_bytes + p.mark.bytes > budget)
			return 1;
		if (!*any)
			plan->from = p.start;
		*any = true;
		plan->end = w->at = p.stop;
		plan->payload_bytes += p.mark.bytes;
		plan->messages += p.mark.messages;
	}
	if (rc)
		return rc;
	/* The record the fork point cuts nothing off: the cap is a boundary. */
	return 0;
}

void reader_segments_close(struct sl_reader *r)
{
	for (int i = 0; i < READER_SEGMENTS; i++) {
		if (r->segment[i].fd >= 0)
			close(r->segment[i].fd);
		r->segment[i] = (struct reader_segment){.fd = -1};
	}
}

/* Rows that referred to such a file had gone before it went. */
void sl_reader_tidy(struct sl_reader *r)
{
	struct stat st;

	for (int i = 0; i < READER_SEGMENTS; i++) {
		int fd = r->segment[i].fd;

		if (fd < 0 || (fstat(fd, &st) == 0 && st.st_nlink > 0))
			continue;
		close(fd);
		r->segment[i] = (struct reader_segment){.fd = -1};
	}
}

static int segment_fd(struct sl_reader *r, uint64_t id)
{
	struct reader_segment *oldest = &r->segment[0];
	char name[SL_SEGMENT_NAME_MAX];

	for (int i = 0; i < READER_SEGMENTS; i++) {
		struct reader_segment *s = &r->segment[i];

		if (s->fd >= 0 && s->id == id) {
			s->used = ++r->segment_clock;
			return s->fd;
		}
		if (s->used < oldest->used)
			oldest = s;
	}
	if (oldest->fd >= 0)
		close(oldest->fd);
	sl_segment_name(id, name);
	oldest->fd = openat(r->segment_dir, name, O_RDONLY | O_CLOEXEC);
	oldest->id = id;
	oldest->used = oldest->fd >= 0 ? ++r->segment_clock : 0;
	return oldest->fd;
}

int reader_segment_read(struct sl_reader *r, uint64_t id, uint64_t off, void *to, size_t n)
{
	int fd = segment_fd(r, id);
	uint8_t *p = to;

	if (fd < 0)
		return errno == ENOENT ? SLUICE_EGONE : SLUICE_EINTERNAL;
	while (n > 0) {
		ssize_t got = pread(fd, p, n, (off_t)off);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return SLUICE_EINTERNAL;
		p += got;
		off += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

static int step_bytes(struct sl_reader *r, sqlite3_stmt *q, const struct row *row, uint64_t off, size_t n)
{
	void *room = sl_buf_room(&r->data, n);
	int rc = 0;

	if (n == 0)
		return 0;
	if (!room)
		return SLUICE_ENOMEM;
	if (row->segment) {
		rc = reader_segment_read(r, row->segment, row->seg_off + off, room, n);
	} else {
		const uint8_t *blob = sqlite3_column_blob(q, 8);

		if (!blob || off > (uint64_t)sqlite3_column_bytes(q, 8) ||
		    n > (uint64_t)sqlite3_column_bytes(q, 8) - off)
			return SLUICE_EINTERNAL;
		memcpy(room, blob + off, n);
	}
	if (rc == 0)
		sl_buf_added(&r->data, n);
	return rc;
}

static void *step_grow(void *v, size_t n, size_t *cap, size_t size)
{
	size_t more = *cap ? 2 * *cap : 64;
	void *p;

	if (n < *cap)
		return v;
	p = realloc(v, more * size);
	if (p)
		*cap = more;
	return p;
}

static int step_message(struct sl_reader *r, uint64_t end)
{
	uint32_t *v = step_grow(r->message_end, r->n_message_end, &r->cap_message_end, sizeof *v);

	if (!v)
		return SLUICE_ENOMEM;
	r->message_end = v;
	v[r->n_message_end++] = (uint32_t)end;
	return 0;
}

/* Notes the ends of messages that lie in (skip, skip + n] of the record whose bytes were added at `base` of the step. */
static int step_messages(struct sl_reader *r, const struct sl_mark *m, uint64_t skip, uint64_t n, uint64_t base)
{
	struct sl_cur lengths = m->lengths;
	uint64_t end = 0;

	if (m->messages == 1)
		return m->bytes == skip + n ? step_message(r, base + n) : 0;
	for (uint32_t i = 0; i < m->messages && end < skip + n; i++) {
		end += sl_cur_varint(&lengths);
		if (end > skip && end <= skip + n && step_message(r, base + end - skip))
			return SLUICE_ENOMEM;
	}
	return 0;
}

static int step_record(struct sl_reader *r, uint64_t end)
{
	struct sluice_record *v = step_grow(r->record, r->n_record, &r->cap_record, sizeof *v);

	if (!v)
		return SLUICE_ENOMEM;
	r->record = v;
	v[r->n_record++] = (struct sluice_record){.end = end, .data_end = (uint32_t)r->data.len};
	return 0;
}

/* A plan sums up many rows without their bytes. That it ends before those that are known to be damaged lets readers come up to the damage,
 * and learn of it, instead of being cut off on the way again and again. It is a hint: whoever begins there has the row looked at. */
static void row_suspect(struct sl_reader *r, const struct row *row)
{
	if (!row_suspected(r, row))
		r->suspect[r->next_suspect++ % READER_SUSPECTS] = (struct reader_suspect){row_stream(r), row->start};
}

/* What was damaged on the disk is not handed out. Rows from before there were checksums have none; what is in a segment has one for the
 * whole payload, which is more than a step: both are for sluicectl check. */
static bool row_good(sqlite3_stmt *q, const struct row *row)
{
	sl_slice data;

	if (row->segment || sqlite3_column_type(q, 9) == SQLITE_NULL)
		return true;
	data = SL_SLICE(sqlite3_column_blob(q, 8), (size_t)sqlite3_column_bytes(q, 8));
	return sqlite3_column_int64(q, 9) == sl_row_crc(row->marks, data);
}

static int step_records(struct rows *w, const struct row *row, uint64_t until, struct sl_step *out)
{
	struct sl_reader *r = w->r;
	struct sl_cur marks = sl_cur_of(row->marks);
	struct piece p = piece_first(row);
	int rc;

	if (!row_good(r->stmt[R_CHUNKS], row))
		return SLUICE_EINTERNAL;
	while ((rc = piece_next(&marks, w->cap < until ? w->cap : until, &p)) == 1) {
		uint64_t left, room = SL_READ_STEP - r->data.len, base = r->data.len;

		if (p.stop <= w->at)
			continue;
		if (p.start != w->at || out->skip > p.mark.bytes)
			return SLUICE_EINVAL; /* not a position that a step handed out */
		left = p.mark.bytes - out->skip;
		/* What fits into a step of its own is not cut into two. */
		if (left > room && (left <= SL_READ_STEP || room == 0))
			return base > 0;
		if (left > room)
			left = room;
		rc = step_bytes(r, r->stmt[R_CHUNKS], row, p.off + out->skip, (size_t)left);
		if (rc == 0)
			rc = step_messages(r, &p.mark, out->skip, left, base);
		if (rc)
			return rc;
		out->skip += left;
		if (out->skip < p.mark.bytes)
			return 1;
		out->skip = 0;
		out->next = w->at = p.stop;
		if (step_record(r, p.stop))
			return SLUICE_ENOMEM;
	}
	return rc;
}

/* Adds records of a row to the step; all that it can, or none when it fails. Returns 1 when the step is full. */
static int step_row(struct rows *w, const struct row *row, uint64_t until, struct sl_step *out)
{
	struct sl_reader *r = w->r;
	const struct sl_step was = *out;
	size_t len = r->data.len, n_message_end = r->n_message_end, n_record = r->n_record;
	int rc = step_records(w, row, until, out);

	if (rc < 0) {
		*out = was;
		r->data.len = len;
		r->n_message_end = n_message_end;
		r->n_record = n_record;
	}
	if (rc == SLUICE_EINTERNAL)
		row_suspect(r, row);
	return rc;
}

static void step_begin(struct sl_reader *r)
{
	sl_buf_drain(&r->data, SIZE_MAX);
	r->n_message_end = r->n_record = 0;
}

static void step_end(struct sl_reader *r, struct sl_step *out)
{
	out->data = sl_buf_slice(&r->data);
	out->message_end = r->message_end;
	out->n_message_end = r->n_message_end;
	out->record = r->record;
	out->n_record = r->n_record;
}

/* One row more in the plan: 1 when the budget is used up, or the row is known to be damaged. */
static int plan_row(struct rows *w, const struct row *row, uint64_t budget, struct sl_plan *plan, bool *any)
{
	if (*any && row_suspected(w->r, row))
		return 1;
	if (!*any || row->start != w->at || row->stop > w->cap || plan->payload_bytes + row->bytes > budget)
		return plan_records(w, row, budget, plan, any);
	plan->end = w->at = row->stop;
	plan->payload_bytes += row->bytes;
	plan->messages += row->messages;
	return 0;
}

int sl_reader_plan(struct sl_reader *r, const struct sl_facts *f, uint64_t from, uint64_t budget, struct sl_plan *plan,
                   struct sl_step *first)
{
	struct rows w = {.r = r, .at = from}, step = {.r = r};
	struct row row = {0};
	bool found, any = false;
	int rc, full = first ? 0 : 1;

	if (from > f->tail)
		w.at = from = f->tail;
	*plan = (struct sl_plan){.from = from, .end = from};
	if (from < f->earliest)
		return SLUICE_EGONE;
	if (from == f->tail || budget == 0)
		return 0;
	rc = reader_by_id(r, f->incarnation, &w.top, &found);
	if (rc == 0 && !found)
		rc = SLUICE_EGONE;
	step_begin(r);
	for (unsigned n = 0; rc == 0 && n < PLAN_ROWS; n++) {
		struct sl_plan before = *plan;

		rc = rows_next(&w, &row);
		if (rc != 1)
			break;
		rc = plan_row(&w, &row, budget, plan, &any);
		if (rc == SLUICE_EINTERNAL && before.end > before.from) {
			*plan = before; /* up to the damage it is good */
			rc = 1;
			continue;
		}
		if (rc < 0 || full || !any)
			continue;
		/* While the row is at hand: looking it up again costs more than copying it. */
		if (step.at == 0)
			step.at = first->next = plan->from;
		step.cap = w.cap;
		full = step_row(&step, &row, plan->end, first);
		if (full == SLUICE_EINTERNAL && before.end > before.from) {
			*plan = before;
			rc = 1;
		} else if (full < 0) {
			rc = full;
		}
	}
	rows_close(&w);
	if (rc < 0)
		return rc;
	if (first)
		step_end(r, first);
	return 0;
}

int sl_reader_step(struct sl_reader *r, uint64_t incarnation, uint64_t from, uint64_t skip, uint64_t until,
                   struct sl_step *out)
{
	struct rows w = {.r = r, .at = from};
	struct row row = {0};
	bool found;
	int rc = reader_by_id(r, incarnation, &w.top, &found);

	*out = (struct sl_step){.next = from, .skip = skip};
	step_begin(r);
	if (rc == 0 && !found)
		rc = SLUICE_EGONE;
	while (rc == 0 && w.at < until) {
		rc = rows_next(&w, &row);
		if (rc == 1)
			rc = step_row(&w, &row, until, out);
		else if (rc == 0)
			rc = SLUICE_EGONE;
	}
	rows_close(&w);
	/* What comes before the damage is good; the next step says it. */
	if (rc < 0 && !(rc == SLUICE_EINTERNAL && (r->n_record > 0 || r->data.len > 0)))
		return rc;
	step_end(r, out);
	return 0;
}
