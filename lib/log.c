/*
 * log.c - one line per event on standard error. Programs only; lib/ itself never logs.
 */
#include "lib/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
	char name[64];
	enum sluice_level level;
	int terminal;
} log_state = {"sluice", SLUICE_LOG_INFO, 0};

static const char log_priority[] = {
        [SLUICE_LOG_ERR] = '3', [SLUICE_LOG_WARN] = '4', [SLUICE_LOG_INFO] = '6', [SLUICE_LOG_DEBUG] = '7'};

void sl_log_init(const char *name, enum sluice_level level)
{
	snprintf(log_state.name, sizeof log_state.name, "%s", name);
	log_state.level = level;
	log_state.terminal = isatty(STDERR_FILENO);
}

void sl_log_level(enum sluice_level level)
{
	log_state.level = level;
}

enum sluice_level sl_log_level_get(void)
{
	return log_state.level;
}

bool sl_log_is_journal(void)
{
	const char *named = getenv("JOURNAL_STREAM");
	char have[64];
	struct stat st;

	if (!named || fstat(STDERR_FILENO, &st))
		return false;
	snprintf(have, sizeof have, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
	return strcmp(have, named) == 0;
}

static size_t log_add(char *line, size_t at, const char *text)
{
	for (; *text && at < SL_LOG_LINE_MAX - 5; text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c == 0x7f)
			at += (size_t)snprintf(line + at, 5, "\\x%02x", c);
		else
			line[at++] = (char)c;
	}
	return at;
}

static void log_line(enum sluice_level level, const char *prefix, const char *error, const char *fmt, va_list ap)
{
	char text[SL_LOG_LINE_MAX], line[SL_LOG_LINE_MAX + 1];
	size_t at = 0;
	ssize_t written;

	if (level > log_state.level)
		return;
	vsnprintf(text, sizeof text, fmt, ap);
	if (!log_state.terminal)
		at = (size_t)snprintf(line, sizeof line, "<%c>", log_priority[level]);
	at = log_add(line, at, log_state.name);
	at = log_add(line, at, " ");
	at = log_add(line, at, prefix);
	at = log_add(line, at, text);
	if (error) {
		at = log_add(line, at, " error=\"");
		at = log_add(line, at, error);
		at = log_add(line, at, "\"");
	}
	line[at++] = '\n';
	/* One write a line keeps lines of several processes apart; nobody is left to tell when it fails. */
	written = write(STDERR_FILENO, line, at);
	(void)written;
}

void sl_log_v(enum sluice_level level, const char *prefix, const char *fmt, va_list ap)
{
	log_line(level, prefix, NULL, fmt, ap);
}

void sl_log(enum sluice_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(level, "", NULL, fmt, ap);
	va_end(ap);
}

void sl_log_errno(enum sluice_level level, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	log_line(level, "", strerror(saved), fmt, ap);
	va_end(ap);
	errno = saved;
}

void sl_fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(SLUICE_LOG_ERR, "fatal ", NULL, fmt, ap);
	va_end(ap);
	exit(1);
}
