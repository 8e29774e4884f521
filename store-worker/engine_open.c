/*
 * engine_open.c - opening and closing a volume. Store-writer.
 *
 * Looks before it touches: what is not ours, newer or damaged is left as it is, with a text that says what to do.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "store-worker/engine_internal.h"

static int engine_pragma(struct se *se, const char *sql)
{
	int rc = sqlite3_exec(se->db, sql, NULL, NULL, NULL);

	if (rc != SQLITE_OK)
		snprintf(se->error, sizeof se->error, "%s: %s", sql, sqlite3_errmsg(se->db));
	return rc;
}

static int64_t engine_number(struct se *se, const char *sql, int *rc)
{
	sqlite3_stmt *s;
	int64_t n = 0;

	*rc = sqlite3_prepare_v2(se->db, sql, -1, &s, NULL);
	if (*rc != SQLITE_OK)
		return 0;
	*rc = sqlite3_step(s);
	if (*rc == SQLITE_ROW) {
		n = sqlite3_column_int64(s, 0);
		*rc = SQLITE_OK;
	}
	sqlite3_finalize(s);
	return n;
}

static int engine_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct se *se = arg;

	(void)db;
	(void)name;
	se->wal_pages = (uint64_t)pages;
	return SQLITE_OK;
}

/* A lack of memory says nothing about the data. */
static int engine_damaged(int rc, const char *text, const char **why)
{
	bool memory = se_of_sqlite(rc) == SE_NOMEM;

	*why = memory ? "out of memory" : text;
	return memory ? SE_NOMEM : SE_CORRUPT;
}

/* Looks without touching: a file of somebody else, or of a newer version, is left as it is. */
static int engine_inspect(struct se *se, const struct se_config *c, uint32_t *have, const char **why)
{
	int rc;
	int64_t app, tables;

	app = engine_number(se, "PRAGMA application_id", &rc);
	if (rc == SQLITE_OK)
		*have = (uint32_t)engine_number(se, "PRAGMA user_version", &rc);
	if (rc != SQLITE_OK) {
		*why = rc == SQLITE_NOTADB
		               ? "it is not a database of ours (damaged, or another kind of file); restore a backup "
		                 "(sluicectl restore) or use another data directory"
		               : "its header cannot be read; check the disk and the permissions, or restore a backup (sluicectl restore)";
		return (rc & 0xff) == SQLITE_NOTADB ? SE_CORRUPT : se_of_sqlite(rc);
	}
	tables = engine_number(se, "SELECT count(*) FROM sqlite_schema", &rc);
	if (rc != SQLITE_OK)
		return engine_damaged(rc, "its schema is damaged; restore a backup (sluicectl restore)", why);
	if (app == 0 && *have == 0 && tables == 0)
		return SE_OK;
	if ((uint32_t)app != c->app_id) {
		*why = "it belongs to another program; use another data directory";
		return SE_INVALID;
	}
	if (*have > c->schema) {
		*why = "it was written by a newer version; start that version, or restore a backup made before the upgrade (sluicectl restore)";
		return SE_FORMAT;
	}
	if (engine_number(se, "SELECT count(*) FROM meta WHERE id = 0", &rc) != 1 || rc != SQLITE_OK)
		return engine_damaged(
			rc, "its tables are not what they should be (damaged); restore a backup (sluicectl restore)",
			why);
	return SE_OK;
}

static int engine_read_meta(struct se *se)
{
	sqlite3_stmt *s;
	int rc =
		sqlite3_prepare_v2(se->db, "SELECT generation, position, time_ms FROM meta WHERE id = 0", -1, &s, NULL);

	if (rc != SQLITE_OK)
		return se_of_sqlite(rc);
	rc = sqlite3_step(s);
	/* A clock before its beginning would read as one at the end of time, and everything as expired. */
	if (rc == SQLITE_ROW && sqlite3_column_bytes(s, 0) == 16 && sqlite3_column_int64(s, 1) >= 0 &&
	    sqlite3_column_int64(s, 2) >= 0) {
		memcpy(se->generation, sqlite3_column_blob(s, 0), 16);
		se->position = (uint64_t)sqlite3_column_int64(s, 1);
		se->time_ms = se->true_ms = (uint64_t)sqlite3_column_int64(s, 2);
		se->true_mono_ms = se->mono_ms(se->wall_arg);
		rc = SE_OK;
	} else {
		rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? SE_CORRUPT : se_of_sqlite(rc);
	}
	sqlite3_finalize(s);
	return rc;
}

/* A volume that has no generation yet gets it; a crash may have come between the tables and this. */
static int engine_name(struct se *se, const struct se_config *c)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(se->db, "UPDATE meta SET generation = ?1 WHERE id = 0 AND length(generation) = 0",
	                            -1, &s, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_blob(s, 1, c->generation, 16, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	sqlite3_finalize(s);
	return se_of_sqlite(rc);
}

static int engine_setup(struct se *se, const struct se_config *c, const char **why)
{
	static const char *const sync[] = {"PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL",
	                                   "PRAGMA synchronous = OFF"};
	uint32_t have = 0;
	int rc = engine_inspect(se, c, &have, why);

	if (rc)
		return rc;
	*why = "it cannot be written; check the permissions and the space on the disk";
	/* The page size must be set before the first page exists; temp tables are not used, but sorters would be. */
	if (engine_pragma(se, "PRAGMA page_size = 4096") || engine_pragma(se, "PRAGMA journal_mode = WAL") ||
	    engine_pragma(se, sync[c->sync]) || engine_pragma(se, "PRAGMA wal_autocheckpoint = 0") ||
	    engine_pragma(se, "PRAGMA cache_size = -65536") || engine_pragma(se, "PRAGMA temp_store = MEMORY") ||
	    engine_pragma(se, "PRAGMA foreign_keys = OFF"))
		return se_of_sqlite(sqlite3_errcode(se->db));
	if (engine_number(se, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'", &rc) != 1 ||
	    rc != SQLITE_OK)
		return rc != SQLITE_OK ? se_of_sqlite(rc) : SE_IO;
	if (have < c->schema) {
		*why = "its tables cannot be made or brought up to date; check the space on the disk";
		rc = c->migrate(se->db, have, why);
		if (rc)
			return rc;
	}
	rc = engine_name(se, c);
	if (rc)
		return rc;
	*why = "its log cannot be written and synced; check the disk";
	rc = c->sync == SE_SYNC_OFF ? SE_OK : se_of_sqlite(engine_distrust(se));
	if (rc)
		return rc;
	*why = "its tables are not what they should be (damaged); restore a backup (sluicectl restore)";
	rc = engine_read_meta(se);
	if (rc == SE_OK)
		rc = engine_prepare(se);
	if (rc == SE_OK)
		rc = se->table->open(se->volume, se->db);
	return rc;
}

int se_open(const struct se_config *c, const struct se_redo_table *table, struct se **out, const char **why)
{
	struct se *se = calloc(1, sizeof *se);
	int rc, flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
	                (c->create ? SQLITE_OPEN_CREATE : 0);

	*why = "out of memory";
	if (!se)
		return SE_NOMEM;
	se->magic = ENGINE_MAGIC;
	se->table = table;
	se->volume = c->volume;
	se->wall_ms = c->wall_ms;
	se->mono_ms = c->mono_ms;
	se->wall_arg = c->wall_arg;
	se->batch.se = se;
	rc = sqlite3_open_v2(c->path, &se->db, flags, NULL);
	if (rc != SQLITE_OK) {
		*why = "it cannot be opened; check that the directory exists and that this user may write there";
		rc = se_of_sqlite(rc);
		se_close(se);
		return rc ? rc : SE_IO;
	}
	sqlite3_busy_timeout(se->db, 2000);
	rc = engine_setup(se, c, why);
	if (rc) {
		if (rc == SE_NOMEM)
			*why = "out of memory";
		se_close(se);
		return rc;
	}
	/* Not before PRAGMA wal_autocheckpoint, which is a hook of its own. */
	sqlite3_wal_hook(se->db, engine_wal, se);
	*out = se;
	return SE_OK;
}

void se_close(struct se *se)
{
	if (!se)
		return;
	assert(se->magic == ENGINE_MAGIC);
	if (se->batch.open)
		se_abort(&se->batch);
	if (se->table)
		se->table->close(se->volume);
	for (int i = 0; i < STMTS; i++)
		sqlite3_finalize(se->stmt[i]);
	/* After a failed write or sync nothing may be written any more: a checkpoint would sync in place what failed before. */
	if (se->failed && se->db)
		sqlite3_db_config(se->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_close(se->db);
	free(se->batch.touches);
	sl_buf_fini(&se->batch.record);
	se->magic = 0;
	free(se);
}
