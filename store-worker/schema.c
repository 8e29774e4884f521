/*
 * schema.c - the tables of volume 0 and the steps from one schema version to the next. Store-writer.
 *
 * lib/store_reader.c reads these tables; a change there and here needs SL_SCHEMA raised and a step added.
 */
#include "store-worker/store.h"

/* meta: one row. stream: state 0 live, 1 soft-deleted, 2 dead (about to be reaped). base: where own records begin.
 * earliest: first readable offset. deadline_ms: when accessed_ms or expires_ms say that it expires. reap_ms: when
 * something to be reaped arose. chunk: a run of records [start, stop) of one stream, payload in data or in a
 * segment from seg_off on; the tail of a stream is the stop of its last chunk. segment.live: payload bytes that
 * chunks refer to. */
static const char schema_1[] =
	"PRAGMA application_id = 1936487779;"
	"CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 0), generation BLOB NOT NULL, position INTEGER NOT NULL,"
	" time_ms INTEGER NOT NULL);"
	"INSERT INTO meta VALUES (0, x'', 0, 0);"
	"CREATE TABLE stream (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, state INTEGER NOT NULL,"
	" content_type TEXT NOT NULL, closed INTEGER NOT NULL, base INTEGER NOT NULL, earliest INTEGER NOT NULL,"
	" created_ms INTEGER NOT NULL, ttl_s INTEGER, expires_ms INTEGER, accessed_ms INTEGER NOT NULL, deadline_ms INTEGER,"
	" own_expiry INTEGER NOT NULL, stream_seq BLOB, fork_of INTEGER, fork_name TEXT, fork_at INTEGER NOT NULL,"
	" fork_sub INTEGER NOT NULL, forks INTEGER NOT NULL, close_producer BLOB, close_epoch INTEGER, close_seq INTEGER,"
	" reap_ms INTEGER, reap_to INTEGER);"
	"CREATE UNIQUE INDEX stream_name ON stream (name) WHERE state < 2;"
	"CREATE INDEX stream_deadline ON stream (deadline_ms) WHERE deadline_ms IS NOT NULL AND state = 0;"
	"CREATE INDEX stream_reap ON stream (reap_ms) WHERE reap_ms IS NOT NULL;"
	"CREATE INDEX stream_fork ON stream (fork_of) WHERE fork_of IS NOT NULL;"
	"CREATE TABLE chunk (id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,"
	" bytes INTEGER NOT NULL, records INTEGER NOT NULL, messages INTEGER NOT NULL, time_ms INTEGER NOT NULL,"
	" segment INTEGER, seg_off INTEGER, marks BLOB NOT NULL, data BLOB);"
	"CREATE UNIQUE INDEX chunk_place ON chunk (stream, start);"
	"CREATE TABLE producer (stream INTEGER NOT NULL, id BLOB NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL,"
	" updated_ms INTEGER NOT NULL, PRIMARY KEY (stream, id)) WITHOUT ROWID;"
	"CREATE TABLE segment (id INTEGER PRIMARY KEY, size INTEGER NOT NULL, live INTEGER NOT NULL, dead_ms INTEGER);"
	"CREATE INDEX segment_dead ON segment (dead_ms) WHERE dead_ms IS NOT NULL;"
	"PRAGMA user_version = 1;";

_Static_assert(SL_APP_ID == 1936487779u, "schema_1 spells the id out");
/* Positions: how many payload bytes lie before a row, before the own records of a stream, before its earliest offset. The rows are
 * summed up here, from 0 for each stream; positions_fill() puts in what lies before them. */
static const char schema_2[] =
	"ALTER TABLE chunk ADD COLUMN pos INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE stream ADD COLUMN base_pos INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE stream ADD COLUMN earliest_pos INTEGER NOT NULL DEFAULT 0;"
	"UPDATE chunk SET pos = x.pos FROM (SELECT id, sum(bytes) OVER (PARTITION BY stream ORDER BY start) - bytes AS pos"
	" FROM chunk) AS x WHERE chunk.id = x.id;"
	"PRAGMA user_version = 2;";

/* Snapshots: at, pos: offset and position of the place; refs: streams that have it, a fork among them; dead_ms: since when nobody has.
 * Its ids are never given again. */
static const char schema_3[] =
	"CREATE TABLE snapshot (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, pos INTEGER NOT NULL,"
	" content_type TEXT NOT NULL, digest BLOB NOT NULL, bytes INTEGER NOT NULL, time_ms INTEGER NOT NULL, refs INTEGER NOT NULL,"
	" dead_ms INTEGER, segment INTEGER, seg_off INTEGER, data BLOB);"
	"CREATE INDEX snapshot_dead ON snapshot (dead_ms) WHERE dead_ms IS NOT NULL;"
	"ALTER TABLE stream ADD COLUMN snapshot INTEGER;"
	"PRAGMA user_version = 3;";

/* crc: CRC-32 of marks, then data, for the check; absent in rows from before, and in those whose payload is in a segment, which has one. */
static const char schema_4[] = "ALTER TABLE chunk ADD COLUMN crc INTEGER;"
			       "PRAGMA user_version = 4;";

_Static_assert(SL_SCHEMA == 4, "every version needs its step");

static const char *const schema_steps[SL_SCHEMA] = {schema_1, schema_2, schema_3, schema_4};

int volume_migrate(sqlite3 *db, uint32_t have, const char **why)
{
	int rc = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

	for (uint32_t v = have; rc == SQLITE_OK && v < SL_SCHEMA; v++) {
		rc = sqlite3_exec(db, schema_steps[v], NULL, NULL, NULL);
		if (rc == SQLITE_OK && v == 1)
			rc = positions_fill(db);
	}
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		return SE_OK;
	if (se_of_sqlite(rc) == SE_FULL)
		*why = "there is no space left on the disk to make its tables";
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	return se_of_sqlite(rc);
}
