/*
 * date.c - the two clocks of the HTTP engine: monotonic milliseconds and the Date header, formatted once a second.
 * Worker.
 */
#include "frontend/http/engine.h"

#include <stdio.h>

uint64_t clock_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* strftime() would follow the locale; RFC 9110 5.6.7 wants these very names. */
static void date_format(char *out, size_t size, time_t s)
{
	static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
	                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	struct tm tm;

	gmtime_r(&s, &tm);
	snprintf(out, size, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday % 7], (unsigned)tm.tm_mday % 100,
	         months[tm.tm_mon % 12], (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
	         (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

sl_slice date_now(struct http_engine *e)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME_COARSE, &t);
	if (t.tv_sec != e->date_s) {
		e->date_s = t.tv_sec;
		date_format(e->date, sizeof e->date, t.tv_sec);
	}
	return SL_SLICE(e->date, 29);
}
