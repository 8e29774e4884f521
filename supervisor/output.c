/*
 * output.c - captured stdout and stderr of a child, passed on line by line with its name and pid. Supervisor.
 *
 * Children log with a priority prefix ("<6>streams#1 started ..."), which is kept for systemd and left out on a terminal; what libraries
 * print without one gets a level by its stream. Reading is bounded per turn, so a child that prints without end is slowed down by
 * its pipe. Lines longer than the buffer are cut into several.
 */
#include <stdio.h>
#include <unistd.h>

#include "lib/log.h"
#include "supervisor/supervisor.h"

enum { READ_PER_TURN = 64 * 1024, LINE_MAX_OUT = 4 * 2048 + 128 };

size_t output_format(char *out, size_t size, bool terminal, int level, const char *name, pid_t pid, const char *line, size_t len)
{
	size_t at = 0, name_len = strlen(name);

	if (len >= 3 && line[0] == '<' && line[1] >= '0' && line[1] <= '7' && line[2] == '>') {
		level = line[1] - '0';
		line += 3;
		len -= 3;
	}
	/* The child's own name is replaced by one with the pid. */
	if (len > name_len && memcmp(line, name, name_len) == 0 && line[name_len] == ' ') {
		line += name_len + 1;
		len -= name_len + 1;
	}
	if (!terminal)
		at += (size_t)snprintf(out + at, size - at, "<%d>", level);
	at += (size_t)snprintf(out + at, size - at, "%.64s[%ld] ", name, (long)pid);
	for (; len > 0 && at + 5 < size; line++, len--) {
		unsigned char c = (unsigned char)*line;

		if ((c < 0x20 && c != '\t') || c == 0x7f)
			at += (size_t)snprintf(out + at, size - at, "\\x%02x", c);
		else
			out[at++] = (char)c;
	}
	return at;
}

static void output_line(struct output *o)
{
	char out[LINE_MAX_OUT];
	size_t n = output_format(out, sizeof out - 1, isatty(STDERR_FILENO), o->level, o->name, o->pid, o->line, o->len);
	ssize_t written;

	o->len = 0;
	out[n++] = '\n';
	written = write(STDERR_FILENO, out, n);
	(void)written; /* nobody is left to tell */
}

static void output_feed(struct output *o, const char *p, size_t n)
{
	for (; n > 0; p++, n--) {
		if (*p == '\n') {
			if (o->len > 0)
				output_line(o);
			continue;
		}
		if (o->len == sizeof o->line)
			output_line(o);
		o->line[o->len++] = *p;
	}
}

static void output_on_read(evutil_socket_t fd, short what, void *arg)
{
	struct output *o = arg;
	char buf[4096];

	(void)what;
	for (size_t total = 0; total < READ_PER_TURN;) {
		ssize_t n = read(fd, buf, sizeof buf);

		if (n == 0)
			event_del(o->readable);
		if (n <= 0)
			return;
		output_feed(o, buf, (size_t)n);
		total += (size_t)n;
	}
}

int output_open(struct output *o, struct event_base *base, int fd, int level, const char *name, pid_t pid)
{
	o->fd = fd;
	o->level = level;
	o->name = name;
	o->pid = pid;
	o->len = 0;
	o->readable = event_new(base, fd, EV_READ | EV_PERSIST, output_on_read, o);
	if (o->readable && event_add(o->readable, NULL) == 0)
		return 0;
	output_close(o);
	return SLUICE_ENOMEM;
}

void output_close(struct output *o)
{
	if (o->fd < 0)
		return;
	if (o->readable) {
		output_on_read(o->fd, EV_READ, o);
		event_free(o->readable);
	}
	if (o->len > 0)
		output_line(o);
	close(o->fd);
	o->readable = NULL;
	o->fd = -1;
}
