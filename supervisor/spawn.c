/*
 * spawn.c - a child process: its program, its three standard descriptors, its control channel at descriptor 3. Supervisor.
 *
 * Every descriptor of ours is close-on-exec; between fork and exec only async-signal-safe calls are made.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/supervisor.h"

enum { CONTROL_FD = 3, LOG_INFO_PRIORITY = 6, LOG_WARN_PRIORITY = 4 };

int spawn_self(char *out, size_t size)
{
	static const char deleted[] = " (deleted)";
	ssize_t n = readlink("/proc/self/exe", out, size - 1);

	if (n <= 0)
		return SLUICE_EINVAL;
	out[n] = '\0';
	/* Replaced by an installation between our start and now: the path is that of the new one, which is what is wanted. */
	if ((size_t)n > sizeof deleted && strcmp(out + n - (sizeof deleted - 1), deleted) == 0)
		out[n - (ssize_t)(sizeof deleted - 1)] = '\0';
	return 0;
}

int spawn_dir(char *out, size_t size)
{
	char self[PATH_MAX], probe[PATH_MAX + 32];
	char *slash;

	if (spawn_self(self, sizeof self) == 0) {
		slash = strrchr(self, '/');
		if (slash)
			*slash = '\0';
		/* In a build tree the children's programs lie beside this one. */
		snprintf(probe, sizeof probe, "%s/config.status", self);
		if (access(probe, F_OK) == 0)
			return snprintf(out, size, "%s", self) < (int)size ? 0 : SLUICE_EINVAL;
	}
	return snprintf(out, size, "%s", SL_LIBEXECDIR) < (int)size ? 0 : SLUICE_EINVAL;
}

struct spawn_fds {
	int control[2], out[2], err[2], null;
};

static void close_pair(int pair[2])
{
	for (int i = 0; i < 2; i++) {
		if (pair[i] >= 0)
			close(pair[i]);
		pair[i] = -1;
	}
}

static void spawn_close(struct spawn_fds *f)
{
	int saved = errno;

	close_pair(f->control);
	close_pair(f->out);
	close_pair(f->err);
	if (f->null >= 0)
		close(f->null);
	f->null = -1;
	errno = saved;
}

static int spawn_fds(struct spawn_fds *f)
{
	*f = (struct spawn_fds){{-1, -1}, {-1, -1}, {-1, -1}, -1};
	f->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (f->null < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, f->control) ||
	    pipe2(f->out, O_CLOEXEC) || pipe2(f->err, O_CLOEXEC) || fcntl(f->out[0], F_SETFL, O_NONBLOCK) ||
	    fcntl(f->err[0], F_SETFL, O_NONBLOCK)) {
		spawn_close(f);
		return SLUICE_EBUSY;
	}
	return 0;
}

/* Puts fd at number `at`, inherited. The source may be that number already. */
static int place(int fd, int at)
{
	return fd == at ? fcntl(fd, F_SETFD, 0) : dup2(fd, at) < 0 ? -1 : 0;
}

static _Noreturn void spawn_exec(const struct spawn_fds *f, char *program, char *name)
{
	char *argv[] = {program, name, NULL};
	/* Out of the way first: descriptor 3 may be any of the others, when ours began with few open ones. */
	int control = fcntl(f->control[1], F_DUPFD_CLOEXEC, 16), out = fcntl(f->out[1], F_DUPFD_CLOEXEC, 16);
	int err = fcntl(f->err[1], F_DUPFD_CLOEXEC, 16), null = fcntl(f->null, F_DUPFD_CLOEXEC, 16);
	sigset_t none;

	if (control < 0 || out < 0 || err < 0 || null < 0 || place(null, STDIN_FILENO) || place(out, STDOUT_FILENO) ||
	    place(err, STDERR_FILENO) || place(control, CONTROL_FD))
		_exit(126);
	/* Ours are close-on-exec already; what our own parent left open may not be. */
	(void)close_range(CONTROL_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* A session of its own: ^C at the terminal is for the supervisor, which then drains the children. */
	setsid();
	execv(program, argv);
	dprintf(STDERR_FILENO, "<3>%s cannot start %s: %s\n", name, program, strerror(errno));
	_exit(errno == ENOENT || errno == EACCES ? EXIT_FINAL : 126);
}

static const char *spawn_program(const struct child *c)
{
	return c->kind == CHILD_STORE ? "sluice-store" : "sluice-frontend";
}

/* The process runs, but nobody could listen to it. */
static void spawn_undo(struct child *c)
{
	kill(c->pid, SIGKILL);
	while (waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
		;
	c->pid = -1;
	channel_close(&c->channel);
	output_close(&c->out);
	output_close(&c->err);
}

int spawn_process(struct child *c)
{
	char program[PATH_MAX];
	struct spawn_fds f;
	int rc;

	if (snprintf(program, sizeof program, "%s/%s", c->super->programs, spawn_program(c)) >= (int)sizeof program) {
		errno = ENAMETOOLONG;
		return SLUICE_EINVAL;
	}
	if (spawn_fds(&f))
		return SLUICE_EBUSY;
	c->pid = fork();
	if (c->pid < 0) {
		spawn_close(&f);
		return SLUICE_EBUSY;
	}
	if (c->pid == 0)
		spawn_exec(&f, program, c->name);
	rc = channel_open(&c->channel, c->super->base, f.control[0], c->channel.receive, c->channel.lost, c);
	if (output_open(&c->out, c->super->base, f.out[0], LOG_INFO_PRIORITY, c->name, c->pid))
		rc = SLUICE_ENOMEM;
	if (output_open(&c->err, c->super->base, f.err[0], LOG_WARN_PRIORITY, c->name, c->pid))
		rc = SLUICE_ENOMEM;
	f.control[0] = f.out[0] = f.err[0] = -1; /* taken over */
	spawn_close(&f);
	if (rc) {
		spawn_undo(c);
		errno = ENOMEM;
	}
	return rc;
}

static _Noreturn void successor_exec(const struct supervisor *s, int fd)
{
	sigset_t none;

	if (place(fd, CONTROL_FD))
		_exit(126);
	(void)close_range(CONTROL_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv(s->program, s->argv);
	dprintf(STDERR_FILENO, "<3>sluiced cannot start %s: %s\n", s->program, strerror(errno));
	_exit(126);
}

/* Tells the process id, and stays until it may go: as long as it is there, the id cannot become somebody else's. */
static _Noreturn void successor_start(const struct supervisor *s, int channel, int tell)
{
	pid_t pid = fork();
	char byte;

	if (pid == 0)
		successor_exec(s, channel);
	if (write(tell, &pid, sizeof pid) == sizeof pid)
		while (read(tell, &byte, 1) < 0 && errno == EINTR)
			;
	_exit(0);
}

/* What the process between us says of the successor: its id, and a descriptor that ends with it. */
static int successor_meet(int tell, struct successor *n)
{
	ssize_t got;

	do
		got = read(tell, &n->pid, sizeof n->pid);
	while (got < 0 && errno == EINTR);
	if (got != sizeof n->pid || n->pid < 0) {
		errno = EAGAIN;
		return SLUICE_EBUSY;
	}
	n->pidfd = pidfd_open(n->pid, 0);
	if (n->pidfd >= 0)
		return 0;
	kill(n->pid, SIGKILL);
	return SLUICE_EBUSY;
}

/* By way of a process that ends at once, so that the successor is a child of whoever is asked to care for orphans: the service manager
 * waits for the end of a main process, and does not kill the family in the middle of a drain, only when it is a child of its own. */
int spawn_successor(struct supervisor *s, struct successor *n)
{
	int pair[2] = {-1, -1}, tell[2] = {-1, -1}, rc = SLUICE_EBUSY;
	char mark[24];
	pid_t between = -1;

	*n = (struct successor){.pid = -1, .pidfd = -1, .channel = -1};
	/* Its output goes where ours goes, and it stays in our session: it is what we are. */
	snprintf(mark, sizeof mark, "%ld", (long)getpid());
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0 &&
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, tell) == 0 && setenv(SPAWN_HANDOVER, mark, 1) == 0)
		between = fork();
	if (between == 0) {
		close(tell[0]);
		successor_start(s, pair[1], tell[1]);
	}
	unsetenv(SPAWN_HANDOVER);
	if (between > 0) {
		close(tell[1]);
		tell[1] = -1;
		rc = successor_meet(tell[0], n);
	}
	close_pair(tell);
	while (between > 0 && waitpid(between, NULL, 0) < 0 && errno == EINTR)
		;
	if (rc == 0) {
		n->channel = pair[0];
		pair[0] = -1;
	}
	close_pair(pair);
	return rc;
}
