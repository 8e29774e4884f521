/*
 * unix.h - Unix sockets at a path of any length. Every program.
 *
 * An address has room for 107 bytes; a longer path is reached through its directory's descriptor.
 */
#ifndef SL_UNIX_H
#define SL_UNIX_H

#include <stdbool.h>
#include <sys/types.h>

/* A non-blocking listening socket with that mode from its first moment on. What a dead process left behind is replaced; with replace
 * also what is alive, at one moment. -1 with a sentence in *why, and errno EADDRINUSE when somebody answers there. */
int sl_unix_listen(const char *path, mode_t mode, int backlog, bool replace, const char **why);
/* A blocking connection; -1 with errno. */
int sl_unix_connect(const char *path);
/* bind() with that mode (at most 0777) from its first moment on; -1 with errno. For a process without threads. */
int sl_unix_bind(int fd, const char *path, mode_t mode);
bool sl_unix_is_socket(int fd); /* whether there is a socket at all: a child was started by sluiced, not by hand */

#endif
