/*
 * fuzz_reader.c - fuzz target: rows of a damaged volume, through the reader that every worker has. Tests only.
 *
 * The input fills rows of the tables `stream`, `chunk` and `snapshot` of a real volume (see rows() and snapshots() for the
 * layout), then each stream is read to its end, and its snapshot with what lies behind it. Whatever is in the rows: what a step
 * hands out lies inside its bytes, in order, and each step gets on or says what is wrong, because its callers go on until the
 * end.
 *
 * The same bytes also go through the functions for marks: what is accepted adds up, and is encoded to the same bytes again.
 */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/marks.h"
#include "lib/schema.h"
#include "lib/segment.h"
#include "lib/store_reader.h"
#include "store-worker/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

enum { STREAMS = 3, CHUNKS = 6, SNAPSHOTS = 2, STEPS_MAX = 4096, SEGMENT_BYTES = 600000 };

static char dir[64];
static sqlite3 *db;
static sqlite3_stmt *begin, *commit, *clear_streams, *clear_chunks, *clear_snapshots, *put_stream, *put_chunk,
	*put_snapshot, *set_stream, *set_chunk;
static struct sl_reader *reader;
static volatile uint64_t seen;

static void must(bool good)
{
	if (!good)
		abort();
}

/* ---- the volume ---- */

static void tidy(void)
{
	char command[128];

	sl_reader_close(reader);
	for (sqlite3_stmt *q; (q = sqlite3_next_stmt(db, NULL));)
		sqlite3_finalize(q);
	sqlite3_close(db);
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	if (system(command))
		perror(dir);
}

static sqlite3_stmt *prepare(const char *sql)
{
	sqlite3_stmt *q = NULL;

	must(sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK);
	return q;
}

static void segment_make(void)
{
	char path[160], name[SL_SEGMENT_NAME_MAX], block[1000];
	int fd;

	snprintf(path, sizeof path, "%s/%s", dir, SL_SEGMENT_DIR);
	must(mkdir(path, 0700) == 0);
	sl_segment_name(1, name);
	snprintf(path, sizeof path, "%s/%s/%s", dir, SL_SEGMENT_DIR, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	must(fd >= 0);
	memset(block, 's', sizeof block);
	for (size_t n = 0; n < SEGMENT_BYTES; n += sizeof block)
		must(write(fd, block, sizeof block) == (ssize_t)sizeof block);
	close(fd);
}

static void set_up(void)
{
	const char *why = NULL;
	char path[160];

	snprintf(dir, sizeof dir, "%s/fuzz-reader-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	must(mkdtemp(dir) != NULL);
	atexit(tidy);
	segment_make();
	snprintf(path, sizeof path, "%s/%s", dir, SL_VOLUME_FILE);
	must(sqlite3_open(path, &db) == SQLITE_OK);
	must(sqlite3_exec(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF", NULL, NULL, NULL) == SQLITE_OK);
	must(volume_migrate(db, 0, &why) == SE_OK);
	begin = prepare("BEGIN IMMEDIATE");
	commit = prepare("COMMIT");
	clear_streams = prepare("DELETE FROM stream");
	clear_chunks = prepare("DELETE FROM chunk");
	clear_snapshots = prepare("DELETE FROM snapshot");
	put_stream = prepare(
		"INSERT OR REPLACE INTO stream (id, name, state, content_type, closed, base, earliest, created_ms,"
		" accessed_ms, own_expiry, fork_of, fork_at, fork_sub, forks)"
		" VALUES (?1, ?2, ?3, 'text/plain', ?4, ?5, ?6, 1, 1, 0, ?7, ?5, 0, ?8)");
	put_chunk = prepare(
		"INSERT OR REPLACE INTO chunk (stream, start, stop, bytes, records, messages, time_ms, segment, seg_off,"
		" marks, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?9, ?10)");
	set_stream = prepare("UPDATE stream SET base_pos = ?2, earliest_pos = ?3, snapshot = ?4 WHERE id = ?1");
	set_chunk = prepare("UPDATE chunk SET pos = ?2 WHERE id = ?1");
	put_snapshot = prepare(
		"INSERT INTO snapshot (id, at, pos, bytes, segment, seg_off, time_ms, refs, content_type, digest, data)"
		" VALUES (?1, ?2, ?3, ?4, nullif(?5, 0), ?6, 1, 1, ?7, ?8, ?9)");
	must(sl_reader_open(dir, SL_SCHEMA, 0, &reader, &why) == 0);
}

static void step(sqlite3_stmt *q)
{
	must(sqlite3_step(q) == SQLITE_DONE);
	sqlite3_reset(q);
}

/* ---- rows out of the input ---- */

/* Small numbers are a byte; 0xf0 to 0xf7 announce 1 to 8 bytes, 0xf8 to 0xff fill up with 0xff what these leave. */
static uint64_t number(struct sl_cur *c)
{
	uint8_t first = sl_cur_u8(c);
	uint64_t v = first >= 0xf8 ? UINT64_MAX : 0;

	if (first < 0xf0)
		return first;
	for (int i = 0; i <= (first & 7); i++)
		v = v << 8 | sl_cur_u8(c);
	return v;
}

static void bind(sqlite3_stmt *q, int i, uint64_t v)
{
	sqlite3_bind_int64(q, i, (sqlite3_int64)v);
}

static void bind_blob(sqlite3_stmt *q, int i, struct sl_cur *c)
{
	size_t n = (size_t)(number(c) & 0xfff);
	sl_slice s = sl_cur_take(c, n < (size_t)(c->end - c->p) ? n : (size_t)(c->end - c->p));

	sqlite3_bind_blob64(q, i, s.data ? s.data : "", s.len, SQLITE_STATIC);
}

/* How many streams and chunks, then their columns in the order of the statements. */
static void rows(struct sl_cur *c)
{
	uint8_t n = sl_cur_u8(c);
	char name[] = "s1";

	step(begin);
	step(clear_streams);
	step(clear_chunks);
	step(clear_snapshots);
	for (int i = 1; i <= 1 + n % STREAMS; i++) {
		name[1] = (char)('0' + i);
		bind(put_stream, 1, (uint64_t)i);
		sqlite3_bind_text(put_stream, 2, name, 2, SQLITE_STATIC);
		for (int column = 3; column <= 8; column++)
			bind(put_stream, column, number(c));
		step(put_stream);
	}
	for (int i = 0; i < n / STREAMS % CHUNKS; i++) {
		for (int column = 1; column <= 8; column++)
			bind(put_chunk, column, number(c));
		bind_blob(put_chunk, 9, c);
		bind_blob(put_chunk, 10, c);
		step(put_chunk);
	}
}

/* How many snapshots and their columns, then positions and the snapshot of each stream, the position of each chunk. */
static void snapshots(struct sl_cur *c)
{
	int n = sl_cur_u8(c) % (SNAPSHOTS + 1);

	for (int i = 1; i <= n; i++) {
		bind(put_snapshot, 1, (uint64_t)i);
		for (int column = 2; column <= 6; column++)
			bind(put_snapshot, column, number(c));
		for (int column = 7; column <= 9; column++)
			bind_blob(put_snapshot, column, c);
		step(put_snapshot);
	}
	for (int i = 1; n && i <= STREAMS; i++) {
		bind(set_stream, 1, (uint64_t)i);
		for (int column = 2; column <= 4; column++)
			bind(set_stream, column, number(c));
		step(set_stream);
	}
	for (int i = 1; n && i <= CHUNKS; i++) {
		bind(set_chunk, 1, (uint64_t)i);
		bind(set_chunk, 2, number(c));
		step(set_chunk);
	}
}

/* ---- reading ---- */

static void touch(sl_slice s)
{
	const uint8_t *p = s.data;

	for (size_t i = 0; i < s.len; i++)
		seen += p[i]; /* it is readable */
}

static void check_step(const struct sl_step *s)
{
	uint32_t last = 0;

	must(s->data.len <= SL_READ_STEP);
	touch(s->data);
	for (size_t i = 0; i < s->n_message_end; last = s->message_end[i++])
		must(s->message_end[i] >= last && s->message_end[i] <= s->data.len);
	last = 0;
	for (size_t i = 0; i < s->n_record; last = s->record[i++].data_end)
		must(s->record[i].data_end >= last && s->record[i].data_end <= s->data.len);
}

static void read_steps(uint64_t incarnation, uint64_t from, uint64_t skip, uint64_t until)
{
	struct sl_step s;

	for (int i = 0; from < until && i < STEPS_MAX; i++) {
		if (sl_reader_step(reader, incarnation, from, skip, until, &s))
			return;
		check_step(&s);
		must(s.next > from || (s.next == from && s.skip > skip));
		from = s.next;
		skip = s.skip;
	}
}

/* What a newcomer gets: the snapshot, and what lies behind it. */
static void read_snapshot(const struct sl_facts *facts, uint64_t budget)
{
	struct sl_snapshot snapshot;
	struct sl_place at;
	struct sl_plan plan;
	sl_slice data;

	if (facts->snapshot && sl_reader_snapshot(reader, facts->snapshot, &snapshot) == 0) {
		must(snapshot.digest.len == SL_DIGEST);
		touch(snapshot.digest);
		touch(snapshot.content_type);
		for (uint64_t from = 0, i = 0; from < snapshot.bytes && i < STEPS_MAX; from += data.len, i++) {
			if (sl_reader_snapshot_step(reader, facts->snapshot, from, snapshot.bytes, &data))
				break;
			must(data.len > 0 && data.len <= SL_READ_STEP && data.len <= snapshot.bytes - from);
			touch(data);
		}
		(void)sl_reader_place(reader, facts, snapshot.pos, &at);
	}
	if (sl_reader_rest(reader, facts, budget, &plan, &at) == 0)
		read_steps(facts->incarnation, plan.from, at.skip, plan.end);
}

static int list_entry(void *arg, const struct sluice_list_item *item)
{
	const struct sluice_list_entry *e = &item->entry;
	must(e->stream.len == 2);
	return ++*(int *)arg > 100;
}

struct wish {
	uint64_t from, budget, skip, until;
};

static void read_all(const struct wish *w)
{
	struct sl_facts facts;
	struct sl_plan plan;
	bool more;
	int n = 0;

	must(sl_reader_begin(reader) == 0);
	for (const char *const *name = (const char *const[]){"s1", "s2", "s3", NULL}; *name; name++) {
		if (sl_reader_facts(reader, sl_slice_str(*name), 1, &facts) || facts.status)
			continue;
		if (sl_reader_plan(reader, &facts, w->from, w->budget, &plan, NULL) == 0)
			read_steps(facts.incarnation, plan.from, 0, plan.end);
		if (sl_reader_plan(reader, &facts, facts.earliest, UINT64_MAX, &plan, NULL) == 0)
			read_steps(facts.incarnation, plan.from, 0, plan.end);
		read_steps(facts.incarnation, w->from, w->skip, w->until);
		read_snapshot(&facts, w->budget);
	}
	sl_reader_list(reader, SL_STR("s"), SL_STR(""), 2, 1, list_entry, &n, &more);
	must(n <= 2);
	sl_reader_end(reader);
}

/* ---- marks alone ---- */

static void check_marks(sl_slice s, uint64_t total)
{
	struct sl_cur c = sl_cur_of(s);
	struct sl_buf again;
	struct sl_mark m;
	uint32_t n, *len;

	while (sl_marks_next(&c, &m) == 1) {
		uint64_t sum = 0;

		for (uint32_t i = 0; m.messages >= 2 && i < m.messages; i++)
			sum += sl_cur_varint(&m.lengths);
		must(m.messages < 2 || (sum == m.bytes && !m.lengths.bad));
	}
	if (sl_marks_check(s, total, &n) || n < 2)
		return;
	c = sl_cur_of(s);
	len = malloc(n * sizeof *len);
	must(len != NULL && sl_cur_varint(&c) == n);
	for (uint32_t i = 0; i < n; i++)
		len[i] = (uint32_t)sl_cur_varint(&c);
	sl_buf_init(&again);
	must(total > UINT32_MAX || sl_marks_encode(&again, len, n, total) == 0);
	free(len);
	sl_buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct sl_cur c = sl_cur_of(SL_SLICE(data, n));
	struct wish wish;

	if (n < 2 || n > 8192)
		return 0;
	if (!reader)
		set_up();
	check_marks(SL_SLICE(data + 1, n - 1), data[0]);
	rows(&c);
	wish = (struct wish){.from = number(&c)};
	wish.budget = number(&c);
	wish.skip = number(&c);
	wish.until = number(&c);
	snapshots(&c);
	step(commit);
	read_all(&wish);
	return 0;
}
