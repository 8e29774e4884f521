/*
 * store_check_forks.c - checking forks: what they need of the streams they were forked from is there. sluicectl, tests.
 *
 * A fork is younger than its source. So one pass from the youngest to the oldest finds the lowest offset that anybody reads of each source,
 * which the walk over the rows then asks for; and a fork's own beginning is looked up in the row of the ancestor that it is in.
 */
#include <stdlib.h>

#include "lib/hash.h"
#include "lib/link.h"
#include "lib/schema.h"
#include "lib/store_check_internal.h"

struct check_source *check_source(const struct check *c, uint64_t id)
{
	for (struct sl_map_node *n = sl_map_first(&c->sources, sl_hash_u64(id)); n; n = sl_map_next(n)) {
		struct check_source *s = SL_OF(n, struct check_source, node);

		if (s->id == id)
			return s;
	}
	return NULL;
}

static struct check_source *source_of(struct check *c, uint64_t id)
{
	struct check_source *s = check_source(c, id);

	if (s)
		return s;
	s = calloc(1, sizeof *s);
	if (!s || sl_map_reserve(&c->sources)) {
		free(s);
		check_stop(c, SLUICE_ENOMEM, "out of memory");
		return NULL;
	}
	s->id = id;
	s->need = CHECK_OFFSET_MAX;
	sl_map_add(&c->sources, &s->node, sl_hash_u64(id));
	return s;
}

/* From the younger to the older: what lies above this stream has been counted. */
static void source_count(struct check *c, sqlite3_stmt *q)
{
	uint64_t id = (uint64_t)sqlite3_column_int64(q, 0), base = (uint64_t)sqlite3_column_int64(q, 2);
	uint64_t parent = (uint64_t)sqlite3_column_int64(q, 4);
	const struct check_source *mine = check_source(c, id);
	uint64_t need = sqlite3_column_int(q, 1) == SL_LIVE ? (uint64_t)sqlite3_column_int64(q, 3) : CHECK_OFFSET_MAX;
	struct check_source *up = source_of(c, parent);

	if (!up)
		return;
	up->forks++;
	if (mine && mine->need < need)
		need = mine->need;
	if (need < base && need < up->need)
		up->need = need;
}

int check_sources(struct check *c)
{
	sqlite3_stmt *q = check_prepare(
		c,
		"SELECT id, state, base, earliest, fork_of FROM stream WHERE fork_of IS NOT NULL AND state < 2"
		" ORDER BY id DESC",
		"the table of streams");
	int rc = SQLITE_DONE;

	while (q && !c->stopped && (rc = sqlite3_step(q)) == SQLITE_ROW)
		source_count(c, q);
	if (rc != SQLITE_DONE)
		check_sqlite(c, "the table of streams");
	sqlite3_finalize(q);
	return c->stopped;
}

/* ---- one fork ---- */

static const char *const fork_sql[CHECK_STMTS] = {
	[CHECK_SOURCE] = "SELECT base, state, coalesce(fork_of, 0), base_pos FROM stream WHERE id = ?1",
	[CHECK_ROW] =
		"SELECT start, stop, pos, bytes, marks FROM chunk WHERE stream = ?1 AND start <= ?2 ORDER BY start DESC LIMIT 1",
};

static sqlite3_stmt *fork_stmt(struct check *c, enum check_stmt which)
{
	if (!c->stmt[which])
		c->stmt[which] = check_prepare(c, fork_sql[which], "the table of streams");
	else
		sqlite3_reset(c->stmt[which]);
	return c->stmt[which];
}

/* The stream that the fork inherits the record before the offset from; false: the chain is broken, which is told, or stopped. */
static bool fork_level(struct check *c, const struct check_stream *s, uint64_t offset, struct check_stream *level)
{
	uint64_t id = s->fork_of, child = s->id;

	for (;;) {
		sqlite3_stmt *q = fork_stmt(c, CHECK_SOURCE);
		int rc = SQLITE_DONE;

		if (!q)
			return false;
		if (id < child) {
			sqlite3_bind_int64(q, 1, (sqlite3_int64)id);
			rc = sqlite3_step(q);
		}
		if (rc == SQLITE_DONE || (rc == SQLITE_ROW && sqlite3_column_int(q, 1) == SL_DEAD)) {
			check_found(c, SL_FINDING_FORK, (struct check_at){.stream = s},
			            "the stream with the number %llu, from which it inherits, is not there",
			            (unsigned long long)id);
			return false;
		}
		if (rc != SQLITE_ROW) {
			check_sqlite(c, "the table of streams");
			return false;
		}
		*level = (struct check_stream){.id = id,
		                               .base = (uint64_t)sqlite3_column_int64(q, 0),
		                               .fork_of = (uint64_t)sqlite3_column_int64(q, 2),
		                               .base_pos = (uint64_t)sqlite3_column_int64(q, 3)};
		if (offset >= level->base || !level->fork_of)
			return true;
		child = id;
		id = level->fork_of;
	}
}

/* The row of a stream that begins at or before the offset; its marks are inside the statement. SQLITE_ROW, or not. */
static int fork_row(struct check *c, uint64_t stream, uint64_t offset, struct check_row *r)
{
	sqlite3_stmt *q = fork_stmt(c, CHECK_ROW);
	int rc;

	if (!q)
		return SQLITE_ERROR;
	sqlite3_bind_int64(q, 1, (sqlite3_int64)stream);
	sqlite3_bind_int64(q, 2, (sqlite3_int64)offset);
	rc = sqlite3_step(q);
	if (rc == SQLITE_ROW) {
		*r = (struct check_row){.start = (uint64_t)sqlite3_column_int64(q, 0),
		                        .stop = (uint64_t)sqlite3_column_int64(q, 1),
		                        .pos = (uint64_t)sqlite3_column_int64(q, 2)};
		r->marks = SL_SLICE(sqlite3_column_blob(q, 4), (size_t)sqlite3_column_bytes(q, 4));
	} else if (rc != SQLITE_DONE) {
		check_sqlite(c, "the table of records");
	}
	return rc;
}

struct place { /* an offset of a fork among what it inherits */
	const char *what;
	uint64_t offset, pos;
	bool needed; /* what lies before it must be there; otherwise it may have been freed */
	bool inside; /* the position may be further on, inside the record that begins there */
};

static void fork_position(struct check *c, const struct check_stream *s, const struct place *p, uint64_t there)
{
	if (there != p->pos && !(p->inside && p->pos > there))
		check_found(c, SL_FINDING_POSITION, (struct check_at){.stream = s, .offset = &p->offset},
		            "%s is at position %llu, and should be at %llu", p->what, (unsigned long long)p->pos,
		            (unsigned long long)there);
}

/* It is the beginning or the end of a record there. */
static void fork_place(struct check *c, const struct check_stream *s, const struct place *p)
{
	struct check_at at = {.stream = s, .offset = &p->offset};
	struct check_stream level = {0};
	struct check_row r = {0};
	uint64_t there;
	int rc;

	if (!fork_level(c, s, p->offset, &level))
		return;
	if (p->offset == level.base) {
		fork_position(c, s, p, level.base_pos);
		return;
	}
	rc = fork_row(c, level.id, p->offset, &r);
	if (rc == SQLITE_DONE || (rc == SQLITE_ROW && r.stop < p->offset)) {
		if (p->needed)
			check_found(c, SL_FINDING_FORK, at,
			            "the records before %s, which it inherits from stream number %llu, are missing",
			            p->what, (unsigned long long)level.id);
	} else if (rc == SQLITE_ROW && !check_boundary(&r, p->offset, &there)) {
		check_found(c, SL_FINDING_FORK, at, "%s is inside a record of stream number %llu", p->what,
		            (unsigned long long)level.id);
	} else if (rc == SQLITE_ROW) {
		fork_position(c, s, p, there);
	}
}

int check_fork(struct check *c, const struct check_stream *s)
{
	const struct check_source *mine = check_source(c, s->id);
	uint64_t need = s->state == SL_LIVE ? s->earliest : CHECK_OFFSET_MAX;
	struct place base = {.what = "its beginning", .offset = s->base, .pos = s->base_pos};
	struct place earliest = {.what = "its earliest offset", .offset = s->earliest, .pos = s->earliest_pos, .inside = s->inside};

	if (mine && mine->need < need)
		need = mine->need;
	base.needed = need < s->base;
	fork_place(c, s, &base);
	if (!c->stopped && s->earliest < s->base)
		fork_place(c, s, &earliest);
	for (int i = 0; i < CHECK_STMTS; i++)
		sqlite3_reset(c->stmt[i]);
	return c->stopped;
}
