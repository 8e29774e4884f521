/*
 * engine_log.c - what the process before may have left in the kernel's memory only. Store-writer.
 *
 * A process that was killed, or that ended after a failed sync, leaves a log that reads well and need not be on the disk. After
 * a failed sync it may never get there: the kernel reports the error once, to whoever had the file open, and then takes
 * the pages for written. But what is found in the log counts as committed: a repeated request is answered out of it, and new
 * commits follow it. So a writer that opens a volume writes what is in use of the log once more, byte for byte, and syncs it.
 *
 * Likewise the volume's file. A checkpoint that does not reach the end of the log notes how far it came, without a sync; readers, who
 * outlive the writer, keep that note. It is taken back, so that the next checkpoint copies all of it again.
 */
#include "store-worker/engine_internal.h"

enum {
	/* https://www.sqlite.org/walformat.html */
	SHM_REGION = 32768,
	SHM_MX_FRAME = 4, /* index of a 32-bit word */
	SHM_BACKFILL = 24,
	SHM_CHECKPOINT_LOCK = 1,
	LOG_HEAD = 32,
	LOG_FRAME = 24 + 4096,
	LOG_PIECE = 64 << 10
};

/* The length of the log that is in use. */
static int log_forget_copied(sqlite3_file *volume, sqlite3_int64 *used)
{
	const sqlite3_io_methods *m = volume->pMethods;
	void volatile *region = NULL;
	int rc = m->xShmMap(volume, 0, SHM_REGION, 0, &region);

	*used = 0;
	if (rc != SQLITE_OK || !region)
		return rc;
	rc = m->xShmLock(volume, SHM_CHECKPOINT_LOCK, 1, SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE);
	if (rc != SQLITE_OK)
		return rc;
	((uint32_t volatile *)region)[SHM_BACKFILL] = 0;
	if (((uint32_t volatile *)region)[SHM_MX_FRAME])
		*used = LOG_HEAD + (sqlite3_int64)((uint32_t volatile *)region)[SHM_MX_FRAME] * LOG_FRAME;
	m->xShmBarrier(volume);
	return m->xShmLock(volume, SHM_CHECKPOINT_LOCK, 1, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
}

static int log_write_again(sqlite3_file *log, sqlite3_int64 used)
{
	uint8_t piece[LOG_PIECE];
	int rc = SQLITE_OK;

	for (sqlite3_int64 at = 0; rc == SQLITE_OK && at < used; at += LOG_PIECE) {
		int n = used - at < LOG_PIECE ? (int)(used - at) : LOG_PIECE;

		rc = log->pMethods->xRead(log, piece, n, at);
		if (rc == SQLITE_OK)
			rc = log->pMethods->xWrite(log, piece, n, at);
	}
	/* A file system that never overwrites may want room for it; then what is there has to do. */
	if (rc == SQLITE_OK || rc == SQLITE_FULL)
		rc = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
	return rc;
}

int engine_distrust(struct se *se)
{
	sqlite3_file *volume = NULL, *log = NULL;
	sqlite3_int64 used = 0, size = 0;
	int rc = sqlite3_file_control(se->db, "main", SQLITE_FCNTL_FILE_POINTER, &volume);

	if (rc == SQLITE_OK)
		rc = sqlite3_file_control(se->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
	if (rc == SQLITE_OK)
		rc = log_forget_copied(volume, &used);
	if (rc == SQLITE_OK && used)
		rc = log->pMethods->xFileSize(log, &size);
	return rc == SQLITE_OK && used ? log_write_again(log, used < size ? used : size) : rc;
}
