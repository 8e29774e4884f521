/*
 * notify.c - readiness, status and watchdog for systemd: a datagram to $NOTIFY_SOCKET, without its library. Supervisor.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "supervisor/supervisor.h"

/* The variables are meant for this process: children must not believe that systemd watches them. */
static char *notify_take(const char *variable)
{
	const char *value = getenv(variable);
	char *copy = value && *value ? strdup(value) : NULL;

	unsetenv(variable);
	return copy;
}

void notify_open(struct notify *n)
{
	char *usec = notify_take("WATCHDOG_USEC"), *pid = notify_take("WATCHDOG_PID");

	n->path = notify_take("NOTIFY_SOCKET");
	n->watchdog_ms = 0;
	if (n->path && usec && (!pid || strtol(pid, NULL, 10) == (long)getpid()))
		n->watchdog_ms = strtoull(usec, NULL, 10) / 2000;
	free(usec);
	free(pid);
}

void notify_close(struct notify *n)
{
	free(n->path);
	n->path = NULL;
}

int notify_adopt(struct notify *n, sl_slice path, uint64_t watchdog_ms)
{
	notify_close(n);
	n->path = sl_slice_dup(path);
	n->watchdog_ms = watchdog_ms;
	return n->path ? 0 : SLUICE_ENOMEM;
}

void notify_send(const struct notify *n, const char *fmt, ...)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	char text[1024];
	size_t len;
	va_list ap;
	int fd;

	if (!n->path)
		return;
	len = strlen(n->path);
	if (len >= sizeof to.sun_path || (n->path[0] != '/' && n->path[0] != '@')) {
		sl_log(SLUICE_LOG_WARN, "notify error=\"NOTIFY_SOCKET is no address\"");
		return;
	}
	memcpy(to.sun_path, n->path, len);
	if (to.sun_path[0] == '@')
		to.sun_path[0] = '\0'; /* abstract: its length counts, not a terminator */
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&to,
	                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		sl_log_errno(SLUICE_LOG_WARN, "notify socket=%s", n->path);
	if (fd >= 0)
		close(fd);
}

/* To the microsecond: systemd takes a time before its request for the answer to an earlier one. */
void notify_reloading(const struct notify *n, const char *status)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	notify_send(n, "RELOADING=1\nMONOTONIC_USEC=%lld\nSTATUS=%s", (long long)ts.tv_sec * 1000000 + ts.tv_nsec / 1000, status);
}
