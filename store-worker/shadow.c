/*
 * shadow.c - a second volume that is fed with records through redo only, to be compared with the first (storage-engine
 * 10.1). Store-writer.
 *
 * On with SLUICE_SHADOW=directory: whatever redo takes from elsewhere than effect, header and volume shows as a
 * difference. Each writer makes a directory of its own in there and removes it when there was none. Both volumes refer
 * to the same segment files.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "store-worker/store.h"

struct shadow {
	struct volume volume;
	struct se *se;
	char *dir; /* owned */
	bool keep; /* a difference was found */
	int rc;    /* of the first record that could not be redone */
	se_pos at;
};

static int shadow_copy(struct store *st, const char *path)
{
	sqlite3 *to = NULL;
	sqlite3_backup *b;
	int rc = SQLITE_ERROR;

	if (sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) == SQLITE_OK) {
		b = sqlite3_backup_init(to, "main", se_handle(st->se), "main");
		if (b) {
			sqlite3_backup_step(b, -1);
			rc = sqlite3_backup_finish(b);
		}
	}
	sqlite3_close(to);
	return rc;
}

static char *shadow_dir(const char *parent)
{
	struct sl_buf path;
	char *dir = NULL;

	sl_buf_init(&path);
	if ((mkdir(parent, 0700) == 0 || errno == EEXIST) && sl_buf_addf(&path, "%s/shadow-XXXXXX", parent) == 0)
		dir = sl_slice_dup(sl_buf_slice(&path));
	sl_buf_fini(&path);
	if (dir && !mkdtemp(dir)) {
		free(dir);
		return NULL;
	}
	return dir;
}

int shadow_open(struct store *st, const char *dir, const char **why)
{
	struct shadow *sh = st->shadow = calloc(1, sizeof *sh);
	struct se_config c = {.sync = SE_SYNC_OFF,
	                      .app_id = SL_APP_ID,
	                      .schema = SL_SCHEMA,
	                      .migrate = volume_migrate,
	                      .generation = se_generation(st->se),
	                      .wall_ms = st->wall_ms,
	                      .mono_ms = st->mono_ms,
	                      .wall_arg = st->clock_arg};
	struct sl_buf path;
	int rc = SE_NOMEM;

	*why = "the shadow copy cannot be made; check SLUICE_SHADOW";
	if (!sh)
		return SLUICE_ENOMEM;
	volume_init(&sh->volume);
	sl_buf_init(&path);
	sh->dir = shadow_dir(dir);
	if (sh->dir && sl_buf_addf(&path, "%s/%s", sh->dir, SL_VOLUME_FILE) == 0 &&
	    shadow_copy(st, (const char *)path.data) == SQLITE_OK) {
		c.path = (const char *)path.data;
		c.volume = &sh->volume;
		rc = se_open(&c, &volume_redo, &sh->se, why);
	}
	sl_buf_fini(&path);
	if (rc)
		return SLUICE_EINTERNAL;
	se_watch(st->se, true, watch_event, st);
	return 0;
}

void shadow_close(struct store *st)
{
	struct shadow *sh = st->shadow;

	if (!sh)
		return;
	se_close(sh->se);
	volume_fini(&sh->volume);
	if (sh->dir && !sh->keep) {
		struct sl_buf path;

		/* The last connection took the side files along. */
		sl_buf_init(&path);
		if (sl_buf_addf(&path, "%s/%s", sh->dir, SL_VOLUME_FILE) == 0)
			unlink((const char *)path.data);
		sl_buf_fini(&path);
		rmdir(sh->dir);
	}
	free(sh->dir);
	free(sh);
	st->shadow = NULL;
}

const char *shadow_path(const struct store *st)
{
	return sqlite3_db_filename(se_handle(st->shadow->se), "main");
}

void shadow_event(struct store *st, const struct se_event *e)
{
	struct shadow *sh = st->shadow;

	if (sh->rc)
		return;
	sh->rc = se_apply(sh->se, e->record);
	sh->at = e->position;
	volume_rest(&sh->volume);
	if (sh->rc)
		sl_log(SLUICE_LOG_ERR, "shadow failed position=%llu error=\"%s\"", (unsigned long long)sh->at,
		       se_text(sh->rc));
}

static bool value_equal(sqlite3_stmt *a, sqlite3_stmt *b, int i)
{
	int type = sqlite3_column_type(a, i);

	if (type != sqlite3_column_type(b, i))
		return false;
	if (type == SQLITE_INTEGER)
		return sqlite3_column_int64(a, i) == sqlite3_column_int64(b, i);
	return sl_slice_eq(SL_SLICE(sqlite3_column_blob(a, i), (size_t)sqlite3_column_bytes(a, i)),
	                   SL_SLICE(sqlite3_column_blob(b, i), (size_t)sqlite3_column_bytes(b, i)));
}

/* Compares two results row by row; 0: equal. */
static int shadow_rows(sqlite3_stmt *a, sqlite3_stmt *b, const char *table, char *why, size_t len)
{
	for (unsigned long row = 1;; row++) {
		int ra = sqlite3_step(a), rb = sqlite3_step(b);

		if (ra != rb || (ra != SQLITE_ROW && ra != SQLITE_DONE)) {
			snprintf(why, len, "table=%s row=%lu one=%d other=%d", table, row, ra, rb);
			return -1;
		}
		if (ra == SQLITE_DONE)
			return 0;
		for (int i = 0; i < sqlite3_column_count(a); i++) {
			if (value_equal(a, b, i))
				continue;
			snprintf(why, len, "table=%s row=%lu column=%s", table, row, sqlite3_column_name(a, i));
			return -1;
		}
	}
}

int shadow_compare(struct store *st, char *why, size_t len)
{
	static const struct {
		const char *table, *sql;
	} tables[] = {
		{"meta", "SELECT * FROM meta"},
		{"stream", "SELECT * FROM stream ORDER BY id"},
		{"chunk", "SELECT * FROM chunk ORDER BY id"},
		{"producer", "SELECT * FROM producer ORDER BY stream, id"},
		{"snapshot", "SELECT * FROM snapshot ORDER BY id"},
		{"segment", "SELECT * FROM segment ORDER BY id"},
		{"sqlite_sequence", "SELECT * FROM sqlite_sequence ORDER BY name"},
	};
	struct shadow *sh = st->shadow;
	int rc = 0;

	sh->keep = true;
	if (sh->rc) {
		snprintf(why, len, "position=%llu could not be redone: %s", (unsigned long long)sh->at,
		         se_text(sh->rc));
		return -1;
	}
	for (size_t i = 0; rc == 0 && i < sizeof tables / sizeof *tables; i++) {
		sqlite3_stmt *a = NULL, *b = NULL;

		if (sqlite3_prepare_v2(se_handle(st->se), tables[i].sql, -1, &a, NULL) != SQLITE_OK ||
		    sqlite3_prepare_v2(se_handle(sh->se), tables[i].sql, -1, &b, NULL) != SQLITE_OK) {
			snprintf(why, len, "table=%s cannot be read", tables[i].table);
			rc = -1;
		} else {
			rc = shadow_rows(a, b, tables[i].table, why, len);
		}
		sqlite3_finalize(a);
		sqlite3_finalize(b);
	}
	sh->keep = rc != 0;
	return rc;
}
