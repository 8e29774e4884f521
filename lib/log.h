/*
 * log.h - one line per event on standard error: "<6>name event key=value ...". Programs only; lib/ itself never logs.
 *
 * The priority prefix is the one systemd reads; on a terminal it is left out. A child's lines are read by the
 * supervisor, which adds nothing but the pid and passes them on.
 */
#ifndef SL_LOG_H
#define SL_LOG_H

#include <stdbool.h>

#include "sluice/plugin.h"

#define SL_LOG_LINE_MAX 2048

void sl_log_init(const char *name, enum sluice_level);
void sl_log_level(enum sluice_level);
enum sluice_level sl_log_level_get(void);
/* Whether standard error is the journal's, as JOURNAL_STREAM names it; children of services inherit the name, not the descriptor. */
bool sl_log_is_journal(void);
/* fmt begins with the event's name, then key=value pairs. Control characters in the result are escaped. */
void sl_log(enum sluice_level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same with " error=..." from errno appended. */
void sl_log_errno(enum sluice_level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sl_log_v(enum sluice_level, const char *prefix, const char *fmt, __builtin_va_list);
/* Start-up only: logs at error level and exits with 1. */
void sl_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
