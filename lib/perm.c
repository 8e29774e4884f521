/*
 * perm.c - who beside root and our own user may change or read what is ours, by owner and mode. Every program.
 */
#include "lib/perm.h"

#include <stdio.h>
#include <unistd.h>

bool sl_perm_foreign(const struct stat *st)
{
	return st->st_uid != 0 && st->st_uid != geteuid();
}

const char *sl_perm_writers(mode_t mode, mode_t bits)
{
	return mode & bits & S_IWOTH ? "everybody" : mode & bits & S_IWGRP ? "its group" : NULL;
}

void sl_perm_hide(const struct stat *st, const char *path, char *out, size_t size)
{
	/* A service could not read a file of root's in /etc afterwards; and which service it is that root checks, nobody knows. */
	if (geteuid() == 0)
		snprintf(out, size, "chmod o-rwx %s, and chgrp it where the service has a user of its own", path);
	else if (st->st_uid == geteuid() || (st->st_gid == getegid() && (st->st_mode & S_IRGRP)))
		snprintf(out, size, "chmod o-rwx %s", path);
	else
		snprintf(out, size, "chgrp %ld %s && chmod u=rw,g=r,o= %s", (long)getegid(), path, path);
}
