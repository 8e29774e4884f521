/*
 * store_check.c - checking a data directory: opening it without a trace, the database as such, findings. sluicectl, tests.
 *
 * Reading a database in WAL mode normally writes: an index of the log beside it, and a checkpoint when the last one leaves. Here nothing
 * may be written, and all of the log must count. So a database without log is opened as immutable; one with a log through SQLite's
 * VFS without locks ("unix-none", read-only), in exclusive locking mode, which keeps the index of the log in memory, and without the last
 * checkpoint. The lock of the data directory, held shared, keeps the writer away meanwhile.
 */
#include "lib/store_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/schema.h"
#include "lib/store_check_internal.h"

enum { CHECK_TEXT = 1024, CHECK_TICK = 100000, CHECK_STRUCTURE_MAX = 100 };

const char *sl_finding_name(enum sl_finding_kind kind)
{
#define X(id, name) name,
	static const char *const names[SL_FINDING_KINDS] = {SL_FINDINGS(X)};
#undef X

	return names[kind];
}

/* ---- findings ---- */

static void check_say(struct check *c, enum sl_finding_kind kind, bool damage, struct check_at at, const char *fmt,
                      va_list ap)
{
	struct sl_finding f = {.kind = kind, .damage = damage, .file = at.file};
	char text[CHECK_TEXT];

	vsnprintf(text, sizeof text, fmt, ap);
	f.text = text;
	if (at.stream) {
		f.stream = at.stream->name;
		f.incarnation = at.stream->id;
	}
	if (at.offset) {
		f.has_offset = true;
		f.offset = *at.offset;
	}
	if (damage)
		c->result->damaged++;
	else
		c->result->notes++;
	c->hooks->found(c->arg, &f);
}

void check_found(struct check *c, enum sl_finding_kind kind, struct check_at at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	check_say(c, kind, true, at, fmt, ap);
	va_end(ap);
}

void check_note(struct check *c, enum sl_finding_kind kind, struct check_at at, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	check_say(c, kind, false, at, fmt, ap);
	va_end(ap);
}

int check_stop(struct check *c, int status, const char *fmt, ...)
{
	va_list ap;

	if (c->stopped)
		return c->stopped;
	va_start(ap, fmt);
	vsnprintf(c->why, SL_CHECK_WHY, fmt, ap);
	va_end(ap);
	return c->stopped = status;
}

int check_progress(struct check *c)
{
	uint64_t done = c->inline_bytes + c->payload_bytes;

	if (c->stopped)
		return c->stopped;
	if (c->hooks->progress(c->arg, c->what, done < c->total ? done : c->total, c->total))
		check_stop(c, SLUICE_ECANCELED, "given up");
	return c->stopped;
}

int check_sqlite(struct check *c, const char *table)
{
	int rc = sqlite3_extended_errcode(c->db);

	if (c->stopped || rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW)
		return c->stopped;
	switch (rc & 0xff) {
	case SQLITE_NOMEM:
		return check_stop(c, SLUICE_ENOMEM, "out of memory");
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_IOERR:
	case SQLITE_ERROR: /* a table or column is not there */
		check_found(c, SL_FINDING_DATABASE, (struct check_at){.file = SL_VOLUME_FILE},
		            "%s cannot be read to its end: %s", table, sqlite3_errmsg(c->db));
		return 0;
	default:
		return check_stop(c, SLUICE_EINTERNAL, "%s: %s", SL_VOLUME_FILE, sqlite3_errmsg(c->db));
	}
}

sqlite3_stmt *check_prepare(struct check *c, const char *sql, const char *table)
{
	sqlite3_stmt *q = NULL;

	if (sqlite3_prepare_v2(c->db, sql, -1, &q, NULL) != SQLITE_OK)
		check_sqlite(c, table);
	return q;
}

/* ---- opening ---- */

/* A directory without a lock file has never been opened by a writer, as a backup. */
static int check_lock(struct check *c)
{
	c->lock = openat(c->dir, SL_LOCK_FILE, O_RDONLY | O_CLOEXEC);
	if (c->lock < 0 && errno == ENOENT)
		return 0;
	if (c->lock >= 0 && flock(c->lock, LOCK_SH | LOCK_NB) == 0)
		return 0;
	if (c->lock >= 0 && errno == EWOULDBLOCK)
		return check_stop(c, SLUICE_EBUSY, "a server has the data open");
	return check_stop(c, SLUICE_EINTERNAL, "%s: %s", SL_LOCK_FILE, strerror(errno));
}

static int check_directory(struct check *c, const char *dir)
{
	c->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir < 0)
		return check_stop(c, errno == ENOENT || errno == ENOTDIR ? SLUICE_ENOENT : SLUICE_EINTERNAL, "%s",
		                  strerror(errno));
	return check_lock(c);
}

/* Size of a file of the data directory; -1: none. */
static int64_t check_size(const struct check *c, const char *file)
{
	struct stat st;

	return fstatat(c->dir, file, &st, 0) == 0 ? (int64_t)st.st_size : -1;
}

/* The name of a file may have what an address gives a meaning. */
static int check_address(struct sl_buf *b, const char *dir)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-";
	int rc = sl_buf_addf(b, *dir == '/' ? "file://" : "file:");

	for (const char *p = dir; rc == 0 && *p; p++)
		rc = strchr(plain, *p) ? sl_buf_add(b, p, 1) : sl_buf_addf(b, "%%%02X", (unsigned char)*p);
	return rc ? rc : sl_buf_addf(b, "/%s?mode=ro", SL_VOLUME_FILE);
}

static int check_open(struct check *c, const char *dir)
{
	bool log = check_size(c, SL_VOLUME_FILE "-wal") > 0;
	struct sl_buf path;
	int rc;

	if (check_size(c, SL_VOLUME_FILE) < 0)
		return check_stop(c, SLUICE_ENOENT, "there is no %s in it", SL_VOLUME_FILE);
	/* Only the very first start uses one, and SQLite would write to read behind it. */
	if (check_size(c, SL_VOLUME_FILE "-journal") >= 0)
		return check_stop(c, SLUICE_EINTERNAL,
		                  "the server was stopped while it made the volume; start it once, that finishes it");
	c->volume_bytes = (uint64_t)check_size(c, SL_VOLUME_FILE);
	sl_buf_init(&path);
	rc = check_address(&path, dir);
	if (rc == 0)
		rc = sl_buf_addf(&path, "%s", log ? "&vfs=unix-none" : "&immutable=1");
	rc = rc ? SQLITE_NOMEM
	        : sqlite3_open_v2((const char *)path.data, &c->db,
	                          SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
	                          NULL);
	sl_buf_fini(&path);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(
			c->db,
			"PRAGMA locking_mode = EXCLUSIVE; PRAGMA cache_size = -65536; PRAGMA temp_store = MEMORY", NULL,
			NULL, NULL);
	/* What is damaged is found again, and told as such. */
	if (rc == SQLITE_OK || (rc & 0xff) == SQLITE_NOTADB || (rc & 0xff) == SQLITE_CORRUPT ||
	    (rc & 0xff) == SQLITE_IOERR)
		return 0;
	return check_stop(c, rc == SQLITE_NOMEM ? SLUICE_ENOMEM : SLUICE_EINTERNAL, "%s: %s", SL_VOLUME_FILE,
	                  c->db ? sqlite3_errmsg(c->db) : "out of memory");
}

/* ---- the database ---- */

static int64_t check_number(struct check *c, const char *sql, int *rc)
{
	sqlite3_stmt *q;
	int64_t n = 0;

	*rc = sqlite3_prepare_v2(c->db, sql, -1, &q, NULL);
	if (*rc != SQLITE_OK)
		return 0;
	*rc = sqlite3_step(q);
	if (*rc == SQLITE_ROW)
		n = sqlite3_column_int64(q, 0);
	if (*rc == SQLITE_ROW || *rc == SQLITE_DONE)
		*rc = SQLITE_OK;
	sqlite3_finalize(q);
	return n;
}

/* Whose it is, and of which version. *other: nothing but its structure can be looked at. */
static int check_identity(struct check *c, bool *other)
{
	int rc;
	int64_t app = check_number(c, "PRAGMA application_id", &rc), version = 0;

	if (rc == SQLITE_OK)
		version = check_number(c, "PRAGMA user_version", &rc);
	if (rc != SQLITE_OK) {
		*other = true;
		return check_sqlite(c, "the header");
	}
	if (app == 0 && version == 0 && check_number(c, "SELECT count(*) FROM sqlite_schema", &rc) == 0 &&
	    rc == SQLITE_OK)
		return check_stop(c, SLUICE_ENOENT, "%s is empty: no server has been started on it yet",
		                  SL_VOLUME_FILE);
	if (app != SL_APP_ID)
		return check_stop(c, SLUICE_ENOTSUP, "%s belongs to another program", SL_VOLUME_FILE);
	c->result->schema = (uint32_t)version;
	if (version > SL_SCHEMA)
		return check_stop(c, SLUICE_ENOTSUP,
		                  "it was written by a newer version; use the sluicectl of that one");
	*other = version < SL_SCHEMA;
	return 0;
}

static int check_tick(void *arg)
{
	return check_progress(arg);
}

static int check_structure(struct check *c)
{
	sqlite3_stmt *q;
	char sql[64];
	int rc = SQLITE_DONE;

	c->what = "structure";
	if (check_progress(c))
		return c->stopped;
	snprintf(sql, sizeof sql, "PRAGMA integrity_check(%d)", CHECK_STRUCTURE_MAX);
	q = check_prepare(c, sql, "the database");
	sqlite3_progress_handler(c->db, CHECK_TICK, check_tick, c);
	while (q && (rc = sqlite3_step(q)) == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(q, 0);

		if (text && strcmp(text, "ok") != 0)
			check_found(c, SL_FINDING_DATABASE, (struct check_at){.file = SL_VOLUME_FILE}, "%s", text);
	}
	if (rc != SQLITE_DONE)
		check_sqlite(c, "the database");
	sqlite3_finalize(q);
	sqlite3_progress_handler(c->db, 0, NULL, NULL);
	return c->stopped;
}

static int check_meta(struct check *c)
{
	struct check_at at = {.file = SL_VOLUME_FILE};
	sqlite3_stmt *q =
		check_prepare(c, "SELECT length(generation), position, time_ms FROM meta WHERE id = 0", "meta");
	int rc = q ? sqlite3_step(q) : SQLITE_OK, n;

	if (rc == SQLITE_DONE) {
		check_found(c, SL_FINDING_VOLUME, at, "it has no generation, position and clock");
	} else if (rc == SQLITE_ROW) {
		n = sqlite3_column_int(q, 0);
		/* One that was restored gets its own at the first start. */
		if (n != 16 && n != 0)
			check_found(c, SL_FINDING_VOLUME, at, "its generation has %d bytes, not 16", n);
		if (sqlite3_column_int64(q, 1) < 0 || sqlite3_column_int64(q, 2) < 0)
			check_found(c, SL_FINDING_VOLUME, at, "its position or its clock is negative");
		c->result->position = (uint64_t)sqlite3_column_int64(q, 1);
	} else if (q) {
		check_sqlite(c, "meta");
	}
	sqlite3_finalize(q);
	return c->stopped;
}

/* Numbers of streams and of snapshots are never given twice: workers know them by these. */
static int check_sequence(struct check *c, const char *table)
{
	struct check_at at = {.file = SL_VOLUME_FILE};
	int64_t last, given = 0;
	char sql[96];
	int rc;

	snprintf(sql, sizeof sql, "SELECT coalesce(max(id), 0) FROM %s", table);
	last = check_number(c, sql, &rc);
	snprintf(sql, sizeof sql, "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = '%s'", table);
	if (rc == SQLITE_OK)
		given = check_number(c, sql, &rc);
	if (rc != SQLITE_OK)
		return check_sqlite(c, table);
	if (given < last)
		check_found(c, SL_FINDING_VOLUME, at,
		            "the last number given to a %s is %lld, but there is one with %lld", table,
		            (long long)given, (long long)last);
	return 0;
}

static const char *const check_objects[][2] = {
	{"table", "meta"},        {"table", "stream"},      {"index", "stream_name"},  {"index", "stream_deadline"},
	{"index", "stream_reap"}, {"index", "stream_fork"}, {"table", "chunk"},        {"index", "chunk_place"},
	{"table", "producer"},    {"table", "segment"},     {"index", "segment_dead"},
	{"table", "snapshot"},    {"index", "snapshot_dead"},
};

static int check_schema(struct check *c)
{
	sqlite3_stmt *q =
		check_prepare(c, "SELECT count(*) FROM sqlite_schema WHERE type = ?1 AND name = ?2", "the schema");
	int rc = SQLITE_ROW;

	for (size_t i = 0; q && rc == SQLITE_ROW && i < sizeof check_objects / sizeof *check_objects; i++) {
		sqlite3_bind_text(q, 1, check_objects[i][0], -1, SQLITE_STATIC);
		sqlite3_bind_text(q, 2, check_objects[i][1], -1, SQLITE_STATIC);
		rc = sqlite3_step(q);
		if (rc == SQLITE_ROW && sqlite3_column_int(q, 0) != 1)
			check_found(c, SL_FINDING_DATABASE, (struct check_at){.file = SL_VOLUME_FILE},
			            "the %s %s is missing", check_objects[i][0], check_objects[i][1]);
		else if (rc != SQLITE_ROW)
			check_sqlite(c, "the schema");
		sqlite3_reset(q);
	}
	sqlite3_finalize(q);
	return c->stopped;
}

/* ---- all of it ---- */

static int check_content(struct check *c)
{
	int rc = check_schema(c);

	if (rc == 0)
		rc = check_meta(c);
	if (rc == 0)
		rc = check_sequence(c, "stream");
	if (rc == 0)
		rc = check_sequence(c, "snapshot");
	if (rc == 0)
		rc = check_segments_load(c);
	if (rc == 0)
		rc = check_sources(c);
	c->what = "records";
	c->total = c->volume_bytes;
	for (size_t i = 0; i < c->n_segment; i++)
		c->total += c->segment[i].live;
	if (rc == 0)
		rc = check_progress(c);
	if (rc == 0)
		rc = check_rows(c);
	if (rc == 0)
		rc = check_snapshots(c);
	return rc ? rc : check_segments(c);
}

static int check_all(struct check *c, const char *dir)
{
	bool other = false;
	int rc = check_directory(c, dir);

	if (rc == 0)
		rc = check_open(c, dir);
	if (rc == 0)
		rc = check_identity(c, &other);
	if (rc == 0)
		rc = check_structure(c);
	if (rc || (other && c->result->damaged))
		return rc;
	if (other)
		return check_stop(
			c, SLUICE_ENOTSUP,
			"it was written by an older version (schema %u, this is %u): the database is sound, but what is in it "
			"cannot be looked at before a server of this version has brought it up to date",
			c->result->schema, SL_SCHEMA);
	rc = check_content(c);
	/* Without a lock file there was no lock to hold. */
	if (rc == 0 && c->lock < 0 && check_size(c, SL_LOCK_FILE) >= 0)
		return check_stop(c, SLUICE_EBUSY, "a server has opened the data meanwhile");
	return rc;
}

static void check_fini(struct check *c)
{
	for (struct sl_map *m = &c->sources; m->n;) {
		for (size_t i = 0; i < m->cap; i++) {
			while (m->slot[i]) {
				struct sl_map_node *n = m->slot[i];

				sl_map_del(m, n);
				free((char *)n - offsetof(struct check_source, node));
			}
		}
	}
	sl_map_fini(&c->sources);
	for (int i = 0; i < CHECK_STMTS; i++)
		sqlite3_finalize(c->stmt[i]);
	sqlite3_close(c->db);
	check_files_close(c);
	free(c->segment);
	free(c->buf);
	if (c->segment_dir >= 0)
		close(c->segment_dir);
	if (c->lock >= 0)
		close(c->lock);
	if (c->dir >= 0)
		close(c->dir);
	free(c);
}

int sl_check_run(const char *dir, const struct sl_check_hooks *hooks, void *arg, struct sl_check *result,
                 char why[SL_CHECK_WHY])
{
	struct check *c = calloc(1, sizeof *c);
	int rc;

	*result = (struct sl_check){0};
	snprintf(why, SL_CHECK_WHY, "out of memory");
	if (!c)
		return SLUICE_ENOMEM;
	c->hooks = hooks;
	c->arg = arg;
	c->result = result;
	c->why = why;
	c->dir = c->segment_dir = c->lock = -1;
	for (int i = 0; i < CHECK_FILES; i++)
		c->file[i].fd = -1;
	c->buf = malloc(CHECK_BUFFER);
	rc = c->buf ? check_all(c, dir) : SLUICE_ENOMEM;
	check_fini(c);
	return rc;
}
