/*
 * engine_internal.h - what engine.c (batches), engine_open.c and engine_record.c share; the contract is engine.h.
 * Store-writer.
 */
#ifndef ENGINE_INTERNAL_H
#define ENGINE_INTERNAL_H

#include "store-worker/engine.h"

#define ENGINE_MAGIC 0x53655e31u

enum engine_stmt { BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE, ROLLBACK_TO, META, STMTS };

struct se_redo {
	struct se_batch *batch;
};

struct se_batch {
	struct se *se;
	bool open, list;
	struct se_record head;
	size_t effects, bytes;
	struct se_touch *touches;
	size_t n_touches, cap_touches;
	struct sl_buf record; /* effects as bytes, when a watcher wants them; behind room for the head */
	int error;
	/* as they were when the list began */
	size_t list_effects, list_bytes, list_touches, list_record;
};

struct se {
	uint32_t magic;
	sqlite3 *db;
	sqlite3_stmt *stmt[STMTS];
	const struct se_redo_table *table;
	void *volume;
	uint64_t (*wall_ms)(void *), (*mono_ms)(void *);
	void *wall_arg;
	se_pos position;
	uint64_t time_ms;
	uint64_t true_ms, true_mono_ms; /* of the last commit that the wall clock was not behind of, and when that was */
	uint8_t generation[16];
	int failed;
	char error[256];
	bool records;
	void (*watch)(void *, const struct se_event *);
	void *watch_arg;
	uint64_t wal_pages;
	struct se_batch batch;
};

int engine_run(struct se *, enum engine_stmt); /* steps a statement without result to its end */
int engine_prepare(struct se *);
int engine_distrust(struct se *); /* engine_log.c; SQLITE_* */
int engine_redo(struct se_batch *, uint16_t kind, uint16_t version, sl_slice effect, sl_slice payload);
int engine_meta(struct se_batch *); /* position and clock of the batch */
void engine_committed(struct se *, const struct se_record *);
void engine_end(struct se_batch *); /* after COMMIT or ROLLBACK */
int engine_keep(struct se_batch *, uint16_t kind, uint16_t version, sl_slice effect, sl_slice payload);
int engine_record(struct se_batch *, struct sl_buf *out);

#endif
