/*
 * engine_quota.c - a write that a quota refuses is one without room. Store-writer.
 *
 * SQLite knows ENOSPC only and takes EDQUOT for a disk that fails, which would end the writer. The volume and its log are
 * written by its Unix VFS, and the system calls of that can be replaced.
 */
#include <errno.h>
#include <unistd.h>

#include "store-worker/engine.h"

static ssize_t quota_result(ssize_t n)
{
	if (n < 0 && errno == EDQUOT)
		errno = ENOSPC;
	return n;
}

static ssize_t quota_write(int fd, const void *data, size_t size)
{
	return quota_result(write(fd, data, size));
}

static ssize_t quota_pwrite(int fd, const void *data, size_t size, off_t at)
{
	return quota_result(pwrite(fd, data, size, at));
}

void se_quota(void)
{
	/* Which of them SQLite uses was decided when it was built. */
	static const struct {
		const char *name;
		sqlite3_syscall_ptr call;
	} calls[] = {
		{"write", (sqlite3_syscall_ptr)quota_write},
		{"pwrite", (sqlite3_syscall_ptr)quota_pwrite},
		{"pwrite64", (sqlite3_syscall_ptr)quota_pwrite},
	};
	sqlite3_vfs *vfs = sqlite3_vfs_find("unix");

	if (!vfs || vfs->iVersion < 3)
		return;
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		vfs->xSetSystemCall(vfs, calls[i].name, calls[i].call);
}
