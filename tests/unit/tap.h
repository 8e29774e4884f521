/*
 * tap.h - the few lines of TAP output that the unit tests need. Tests only.
 */
#ifndef TAP_H
#define TAP_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tap_n, tap_failed;

#define ok(cond, ...) tap_ok(!!(cond), #cond, __FILE__, __LINE__, "" __VA_ARGS__)
#define is_int(got, want, name) \
	do { \
		long long got_ = (long long)(got), want_ = (long long)(want); \
		tap_ok(got_ == want_, #got " == " #want, __FILE__, __LINE__, name); \
		if (got_ != want_) \
			printf("#   got %lld, want %lld\n", got_, want_); \
	} while (0)
#define is_str(got, want, name) \
	do { \
		const char *got_ = (got), *want_ = (want); \
		tap_ok(got_ && strcmp(got_, want_) == 0, #got, __FILE__, __LINE__, name); \
		if (!got_ || strcmp(got_, want_) != 0) \
			printf("#   got \"%s\"\n#   want \"%s\"\n", got_ ? got_ : "(null)", want_); \
	} while (0)

static inline void tap_ok(int good, const char *expr, const char *file, int line, const char *name)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++tap_n, *name ? name : expr);
	if (!good) {
		tap_failed++;
		printf("#   %s:%d: %s\n", file, line, expr);
	}
	fflush(stdout);
}

/* The last line of main: return tap_done(). */
static inline int tap_done(void)
{
	printf("1..%d\n", tap_n);
	return tap_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
