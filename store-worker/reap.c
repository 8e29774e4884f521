/*
 * reap.c - giving space back: rows of dead streams, rows below the earliest offset, snapshots, dead segments. Store-writer.
 *
 * A row may go when nobody can be reading it any more: not before reap_delay after the commit that made it unreachable
 * (a long answer is read in several transactions), and never while a fork reaches it. What is out of reach is looked up
 * when a stream's turn comes and freed at its next turn; so a parent whose forks die all the time is neither freed too
 * early nor put off.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/segment.h"
#include "store-worker/store.h"

enum { REAP_BYTES = 4 << 20, REAP_FORKS = 4096, REAP_SNAPSHOTS = 16, ORPHAN_AGE_S = 120 };

/* How many rows of the stream lie below the limit, at most a slice. */
static int reap_count(struct txn *t, uint64_t id, uint64_t limit, uint32_t *chunks)
{
	sqlite3_stmt *q = sweep_stmt(t->store, SWEEP_CHUNKS);
	uint64_t bytes = 0;
	int rc;

	*chunks = 0;
	volume_bind_u64(q, 1, id);
	while ((rc = sqlite3_step(q)) == SQLITE_ROW && bytes < REAP_BYTES &&
	       (uint64_t)sqlite3_column_int64(q, 0) <= limit) {
		bytes += (uint64_t)sqlite3_column_int64(q, 1);
		++*chunks;
	}
	sqlite3_reset(q);
	return rc == SQLITE_ROW ? SE_OK : se_of_sqlite(rc);
}

static int reap_producers(struct txn *t, uint64_t id, uint32_t *producers)
{
	sqlite3_stmt *q = sweep_stmt(t->store, SWEEP_PRODUCERS);
	int rc;

	volume_bind_u64(q, 1, id);
	rc = sqlite3_step(q);
	*producers = rc == SQLITE_ROW ? (uint32_t)sqlite3_column_int(q, 0) : 0;
	sqlite3_reset(q);
	return se_of_sqlite(rc);
}

static int reap_dead(struct txn *t, const struct stream *s)
{
	struct effect_reap e = {.stream = s->id, .below = STORE_OFFSET_MAX};
	struct effect_pair end = {.a = s->id};
	int rc = reap_count(t, s->id, e.below, &e.chunks);

	if (rc == SE_OK)
		rc = reap_producers(t, s->id, &e.producers);
	if (rc)
		return rc;
	if (e.chunks || e.producers)
		return txn_emit(t, EFFECT_REAP, effect_put_reap(&t->effect, &e), SL_SLICE(NULL, 0));
	return txn_emit(t, EFFECT_FORGET, effect_put_pair(&t->effect, &end), SL_SLICE(NULL, 0));
}

static int reap_stream(struct txn *t, struct stream *s)
{
	struct effect_reap e = {.stream = s->id, .below = s->reap_to};
	/* What this stream no longer shows of its ancestor, nobody may need any more. */
	struct effect_rest end = {.stream = s->id, .parent = s->fork_of};
	int rc;

	if (s->state == SL_DEAD)
		return reap_dead(t, s);
	if (s->state == SL_SOFT && s->forks == 0)
		return txn_remove(t, s);
	rc = reap_count(t, s->id, e.below, &e.chunks);
	if (rc == SE_OK && e.chunks)
		return txn_emit(t, EFFECT_REAP, effect_put_reap(&t->effect, &e), SL_SLICE(NULL, 0));
	if (rc == SE_OK)
		rc = walk_reach(t->volume, s->id, REAP_FORKS, &end.below);
	return rc ? rc : txn_emit(t, EFFECT_REST, effect_put_rest(&t->effect, &end), SL_SLICE(NULL, 0));
}

int reap_slice(struct txn *t, bool *left)
{
	sqlite3_stmt *q = sweep_stmt(t->store, SWEEP_REAP);
	uint64_t delay = t->store->settings.reap_ms, id = 0;
	struct stream *s = NULL;
	int rc;

	*left = false;
	if (t->now_ms < delay)
		return SE_OK;
	volume_bind_u64(q, 1, t->now_ms - delay);
	rc = sqlite3_step(q);
	if (rc == SQLITE_ROW)
		id = (uint64_t)sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	if (rc != SQLITE_ROW)
		return se_of_sqlite(rc);
	rc = volume_by_id(t->volume, id, &s);
	if (rc || !s)
		return rc ? rc : SE_CORRUPT;
	*left = true;
	return reap_stream(t, s);
}

int snapshots_slice(struct txn *t, bool *left)
{
	sqlite3_stmt *q = sweep_stmt(t->store, SWEEP_SNAPSHOTS);
	uint64_t delay = t->store->settings.reap_ms, id[REAP_SNAPSHOTS];
	int n = 0, rc = SQLITE_DONE;

	*left = false;
	if (t->now_ms < delay)
		return SE_OK;
	volume_bind_u64(q, 1, t->now_ms - delay);
	volume_bind_u64(q, 2, REAP_SNAPSHOTS);
	while (n < REAP_SNAPSHOTS && (rc = sqlite3_step(q)) == SQLITE_ROW)
		id[n++] = (uint64_t)sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	rc = se_of_sqlite(rc);
	for (int i = 0; rc == SE_OK && i < n; i++) {
		struct effect_pair e = {.a = id[i]};

		rc = txn_emit(t, EFFECT_SNAPSHOT_DROP, effect_put_pair(&t->effect, &e), SL_SLICE(NULL, 0));
	}
	*left = n == REAP_SNAPSHOTS;
	return rc;
}

/* ---- redo ---- */

static int reap_segments(struct volume *v, const struct effect_reap *e, uint64_t now_ms)
{
	sqlite3_stmt *q = volume_stmt(v, V_CHUNK_SEGMENTS), *sub = volume_stmt(v, V_SEGMENT_SUB);
	int rc, step;

	volume_bind_u64(q, 1, e->stream);
	volume_bind_u64(q, 2, e->below);
	volume_bind_u64(q, 3, e->chunks);
	for (rc = SE_OK; rc == SE_OK && (step = sqlite3_step(q)) == SQLITE_ROW;) {
		sqlite3_bind_int64(sub, 1, sqlite3_column_int64(q, 0));
		sqlite3_bind_int64(sub, 2, sqlite3_column_int64(q, 1));
		volume_bind_u64(sub, 3, now_ms);
		rc = volume_run(v, V_SEGMENT_SUB);
	}
	sqlite3_reset(q);
	return rc ? rc : se_of_sqlite(step);
}

/* Of a stream that is gone nobody asks for its producers, so they would stay in the cache until others need the room. */
static int producers_drop(struct volume *v, const struct effect_reap *e)
{
	sqlite3_stmt *q = volume_stmt(v, V_PRODUCER_DROP);
	int step;

	volume_bind_u64(q, 1, e->stream);
	volume_bind_u64(q, 2, e->producers);
	while ((step = sqlite3_step(q)) == SQLITE_ROW)
		volume_producer_gone(v, e->stream, SL_SLICE(sqlite3_column_blob(q, 0), (size_t)sqlite3_column_bytes(q, 0)));
	sqlite3_reset(q);
	return se_of_sqlite(step);
}

int redo_reap(struct se_redo *redo, sqlite3 *db, const struct se_record *hdr, sl_slice effect, sl_slice payload)
{
	struct volume *v = se_volume(redo);
	sqlite3_stmt *q = volume_stmt(v, V_CHUNK_DROP);
	struct effect_reap e;
	struct stream *s = NULL;
	int rc = effect_get_reap(effect, &e);

	(void)db;
	(void)payload;
	if (rc == SE_OK && e.chunks) {
		rc = reap_segments(v, &e, hdr->time_ms);
		volume_bind_u64(q, 1, e.stream);
		volume_bind_u64(q, 2, e.below);
		volume_bind_u64(q, 3, e.chunks);
		if (rc == SE_OK)
			rc = volume_run(v, V_CHUNK_DROP);
		/* The last row may be among them; records that this batch has yet to file need another then. */
		if (rc == SE_OK)
			rc = volume_by_id(v, e.stream, &s);
		if (rc == SE_OK && s)
			volume_touch(v, s); /* it is read again when the batch does not come to its end */
		if (rc == SE_OK)
			rc = s ? volume_last_row(v, s) : SE_CORRUPT;
	}
	return rc == SE_OK && e.producers ? producers_drop(v, &e) : rc;
}

int redo_forget(struct se_redo *redo, sqlite3 *db, const struct se_record *hdr, sl_slice effect, sl_slice payload)
{
	struct volume *v = se_volume(redo);
	struct effect_pair e;
	struct stream *s = NULL;
	int rc = effect_get_pair(effect, &e);

	(void)db;
	(void)hdr;
	(void)payload;
	if (rc == SE_OK)
		rc = volume_target(v, e.a, &s); /* dead: leaves the cache with the batch */
	if (rc)
		return rc;
	volume_bind_u64(volume_stmt(v, V_STREAM_DROP), 1, e.a);
	return volume_run(v, V_STREAM_DROP);
}

/* The stream's next turn comes reap_delay from now, or no turn comes until something happens to it. */
static int rest_mark(struct volume *v, struct stream *s, bool reap, uint64_t now_ms)
{
	sqlite3_stmt *q = volume_stmt(v, V_STREAM_REAP);

	volume_touch(v, s);
	s->reap = reap;
	s->reap_ms = reap ? now_ms : 0;
	volume_bind_u64(q, 1, s->id);
	volume_bind_if(q, 2, reap, now_ms);
	volume_bind_u64(q, 3, s->reap_to);
	return volume_run(v, V_STREAM_REAP);
}

int redo_rest(struct se_redo *redo, sqlite3 *db, const struct se_record *hdr, sl_slice effect, sl_slice payload)
{
	struct volume *v = se_volume(redo);
	struct effect_rest e;
	struct stream *s = NULL;
	bool more;
	int rc = effect_get_rest(effect, &e);

	(void)db;
	(void)payload;
	if (rc == SE_OK)
		rc = volume_by_id(v, e.stream, &s);
	if (rc || !s)
		return rc ? rc : SE_CORRUPT;
	more = e.below > s->reap_to;
	if (more)
		s->reap_to = e.below;
	rc = rest_mark(v, s, more, hdr->time_ms);
	if (rc || e.parent == 0)
		return rc;
	rc = volume_by_id(v, e.parent, &s);
	if (rc || !s)
		return rc ? rc : SE_CORRUPT;
	return s->reap ? SE_OK : rest_mark(v, s, true, hdr->time_ms);
}

/* ---- segments ---- */

/* A payload that was copied but whose request has not run yet is in no row; a backup may still be copying files. */
static bool segments_in_use(const struct store *st)
{
	if (payloads_busy(st) || backup_holds(st))
		return true;
	for (struct sl_link *l = st->peers.next; l != &st->peers; l = l->next)
		if (SL_OF(l, struct peer, all)->n_held)
			return true;
	return false;
}

int segments_slice(struct txn *t, struct segment_drops *drops)
{
	struct store *st = t->store;
	sqlite3_stmt *q = sweep_stmt(st, SWEEP_SEGMENTS);
	int rc;

	if (segments_in_use(st) || t->now_ms < st->settings.reap_ms)
		return SE_OK;
	volume_bind_u64(q, 1, t->now_ms - st->settings.reap_ms);
	volume_bind_u64(q, 2, payloads_segment(st));
	while ((rc = sqlite3_step(q)) == SQLITE_ROW && drops->n < sizeof drops->id / sizeof *drops->id)
		drops->id[drops->n++] = (uint64_t)sqlite3_column_int64(q, 0);
	sqlite3_reset(q);
	rc = rc == SQLITE_ROW ? SE_OK : se_of_sqlite(rc);
	for (size_t i = 0; rc == SE_OK && i < drops->n; i++) {
		struct effect_pair e = {.a = drops->id[i]};

		rc = txn_emit(t, EFFECT_SEGMENT_DROP, effect_put_pair(&t->effect, &e), SL_SLICE(NULL, 0));
	}
	return rc;
}

int redo_segment_drop(struct se_redo *redo, sqlite3 *db, const struct se_record *hdr, sl_slice effect, sl_slice payload)
{
	struct volume *v = se_volume(redo);
	struct effect_pair e;
	int rc = effect_get_pair(effect, &e);

	(void)db;
	(void)hdr;
	(void)payload;
	if (rc)
		return rc;
	volume_bind_u64(volume_stmt(v, V_SEGMENT_DROP), 1, e.a);
	volume_bind_u64(volume_stmt(v, V_SEGMENT_REST), 1, e.a);
	rc = volume_run(v, V_SEGMENT_DROP);
	return rc ? rc : volume_run(v, V_SEGMENT_REST);
}

static int segments_dir(const struct store *st)
{
	struct sl_buf path;
	int fd = -1;

	sl_buf_init(&path);
	if (sl_buf_addf(&path, "%s/%s", st->data_dir, SL_SEGMENT_DIR) == 0)
		fd = open((const char *)path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sl_buf_fini(&path);
	return fd;
}

void segments_unlink(struct store *st, const struct segment_drops *drops)
{
	int dir = drops->n ? segments_dir(st) : -1;
	char name[SL_SEGMENT_NAME_MAX];

	if (dir < 0)
		return;
	for (size_t i = 0; i < drops->n; i++) {
		sl_segment_name(drops->id[i], name);
		if (unlinkat(dir, name, 0) && errno != ENOENT)
			sl_log_errno(SLUICE_LOG_WARN, "segment not removed file=%s", name);
	}
	close(dir);
}

/* 1: a row names the segment; 0: none does; negative: not known. */
static int segment_row(sqlite3 *db, uint64_t id)
{
	sqlite3_stmt *q;
	int rc;

	if (sqlite3_prepare_v2(db, "SELECT 1 FROM segment WHERE id = ?1", -1, &q, NULL) != SQLITE_OK)
		return -1;
	volume_bind_u64(q, 1, id);
	rc = sqlite3_step(q);
	sqlite3_finalize(q);
	return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : -1;
}

void segments_orphans(struct store *st, bool starting)
{
	int fd = !starting && segments_in_use(st) ? -1 : segments_dir(st);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	uint64_t open_id = payloads_segment(st), id;
	struct dirent *e;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d))) {
		struct stat sb;

		if (sl_segment_id(e->d_name, &id) || id == open_id || fstatat(fd, e->d_name, &sb, 0))
			continue;
		if (!starting && sb.st_mtime + ORPHAN_AGE_S > (time_t)(st->wall_ms(st->clock_arg) / 1000))
			continue;
		if (segment_row(se_handle(st->se), id) == 0 && unlinkat(fd, e->d_name, 0) == 0)
			sl_log(SLUICE_LOG_INFO, "segment removed file=%s reason=\"nothing refers to it\"", e->d_name);
	}
	closedir(d);
}
