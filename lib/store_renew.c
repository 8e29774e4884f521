/*
 * store_renew.c - a copy of a volume becomes a volume of its own. sluicectl.
 */
#include "lib/store_renew.h"

#include <sqlite3.h>
#include <stdio.h>

#include "lib/buf.h"
#include "lib/schema.h"

int sl_volume_renew(const char *data_dir, char *why, size_t size)
{
	sqlite3 *db = NULL;
	struct sl_buf path;
	int rc;

	sl_buf_init(&path);
	rc = sl_buf_addf(&path, "%s/%s", data_dir, SL_VOLUME_FILE) ? SQLITE_NOMEM : SQLITE_OK;
	if (rc == SQLITE_OK)
		rc = sqlite3_open_v2((const char *)path.data, &db, SQLITE_OPEN_READWRITE, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(
			db,
			"PRAGMA synchronous = FULL; UPDATE meta SET generation = x'' WHERE id = 0; PRAGMA wal_checkpoint(TRUNCATE)",
			NULL, NULL, NULL);
	snprintf(why, size, "%s: %s", SL_VOLUME_FILE, db && rc != SQLITE_OK ? sqlite3_errmsg(db) : sqlite3_errstr(rc));
	if (sqlite3_close(db) != SQLITE_OK && rc == SQLITE_OK)
		rc = SQLITE_BUSY;
	sl_buf_fini(&path);
	return rc == SQLITE_OK              ? 0
	       : rc == SQLITE_NOMEM         ? SLUICE_ENOMEM
	       : (rc & 0xff) == SQLITE_FULL ? SLUICE_EFULL
	                                    : SLUICE_EINTERNAL;
}
