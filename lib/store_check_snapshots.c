/*
 * store_check_snapshots.c - checking snapshots: who has them, where they are, their bytes. sluicectl, tests.
 *
 * A snapshot is at the earliest offset of every stream that has it; one that nobody has waits to be freed. What is in a segment is
 * compared with its checksum, as the payload of a record is.
 */
#include "lib/marks.h"
#include "lib/schema.h"
#include "lib/store_check_internal.h"

static const char snapshots_all[] =
	"SELECT s.id, s.at, s.pos, s.bytes, s.refs, s.dead_ms IS NOT NULL, coalesce(s.segment, 0), coalesce(s.seg_off, 0),"
	" s.segment IS NOT NULL, s.data IS NOT NULL, coalesce(length(s.data), 0), length(s.digest), coalesce(h.n, 0),"
	" coalesce(h.stream, 0), h.name, h.at, h.at_most, h.pos, h.pos_most"
	" FROM snapshot AS s LEFT JOIN (SELECT snapshot, count(*) AS n, min(id) AS stream, min(name) AS name, min(earliest) AS at,"
	" max(earliest) AS at_most, min(earliest_pos) AS pos, max(earliest_pos) AS pos_most FROM stream WHERE snapshot IS NOT NULL"
	" GROUP BY snapshot) AS h ON h.snapshot = s.id ORDER BY s.id";
static const char snapshots_missing[] = "SELECT id, name FROM stream WHERE snapshot IS NOT NULL AND"
					" NOT EXISTS (SELECT 1 FROM snapshot WHERE snapshot.id = stream.snapshot)";

static uint64_t number(sqlite3_stmt *q, int i)
{
	return (uint64_t)sqlite3_column_int64(q, i);
}

/* Its bytes, as those of a record of one message. */
static int snapshot_payload(struct check *c, sqlite3_stmt *q, const struct check_stream *s)
{
	struct check_row r = {.start = number(q, 1),
	                      .bytes = number(q, 3),
	                      .segment = number(q, 6),
	                      .seg_off = number(q, 7),
	                      .in_segment = true};
	struct sl_buf run;
	int rc;

	sl_buf_init(&run);
	if (sl_marks_add(&run, r.bytes, SL_SLICE(NULL, 0))) {
		sl_buf_fini(&run);
		return check_stop(c, SLUICE_ENOMEM, "out of memory");
	}
	r.marks = sl_buf_slice(&run);
	rc = check_payload(c, s, &r);
	sl_buf_fini(&run);
	return rc;
}

static int snapshot_check(struct check *c, sqlite3_stmt *q)
{
	struct check_stream s = {.id = number(q, 13)};
	uint64_t at = number(q, 1), pos = number(q, 2), holders = number(q, 12);
	struct check_at where = {.stream = holders ? &s : NULL, .offset = &at};
	bool in_segment = sqlite3_column_int(q, 8) != 0, has_data = sqlite3_column_int(q, 9) != 0;

	s.name = SL_SLICE(sqlite3_column_text(q, 14), (size_t)sqlite3_column_bytes(q, 14));
	if (at > CHECK_OFFSET_MAX || pos > CHECK_OFFSET_MAX || number(q, 3) > CHECK_OFFSET_MAX || number(q, 11) != SL_DIGEST)
		check_found(c, SL_FINDING_SNAPSHOT, where, "it is at position %llu, of %llu bytes, with a digest of %llu",
		            (unsigned long long)pos, (unsigned long long)number(q, 3), (unsigned long long)number(q, 11));
	if (number(q, 4) != holders || (holders == 0) != (sqlite3_column_int(q, 5) != 0))
		check_found(c, SL_FINDING_SNAPSHOT, where, "it counts %llu streams that have it%s, and there are %llu",
		            (unsigned long long)number(q, 4), sqlite3_column_int(q, 5) ? " and would be freed" : "",
		            (unsigned long long)holders);
	if (holders && (number(q, 15) != at || number(q, 16) != at || number(q, 17) != pos || number(q, 18) != pos))
		check_found(c, SL_FINDING_SNAPSHOT, where, "it is not at the earliest offset of every stream that has it");
	if (in_segment == has_data || (has_data && number(q, 10) != number(q, 3)))
		check_found(c, SL_FINDING_SNAPSHOT, where, "it has %llu bytes%s, not %llu", (unsigned long long)number(q, 10),
		            in_segment ? " beside those in a segment" : "", (unsigned long long)number(q, 3));
	if (has_data)
		c->inline_bytes += number(q, 10);
	return in_segment && !c->stopped ? snapshot_payload(c, q, &s) : c->stopped;
}

static int snapshots_walk(struct check *c)
{
	sqlite3_stmt *q = check_prepare(c, snapshots_all, "the table of snapshots");
	int rc = SQLITE_DONE;

	while (q && !c->stopped && (rc = sqlite3_step(q)) == SQLITE_ROW)
		snapshot_check(c, q);
	if (rc != SQLITE_DONE)
		check_sqlite(c, "the table of snapshots");
	sqlite3_finalize(q);
	return c->stopped;
}

int check_snapshots(struct check *c)
{
	sqlite3_stmt *q = snapshots_walk(c) ? NULL : check_prepare(c, snapshots_missing, "the table of streams");
	int rc = SQLITE_DONE;

	while (q && !c->stopped && (rc = sqlite3_step(q)) == SQLITE_ROW) {
		struct check_stream s = {.id = number(q, 0)};

		s.name = SL_SLICE(sqlite3_column_text(q, 1), (size_t)sqlite3_column_bytes(q, 1));
		check_found(c, SL_FINDING_SNAPSHOT, (struct check_at){.stream = &s}, "its snapshot is not there");
	}
	if (rc != SQLITE_DONE)
		check_sqlite(c, "the table of streams");
	sqlite3_finalize(q);
	return c->stopped;
}
