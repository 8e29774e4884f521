/*
 * time_rfc3339.c - timestamps of Stream-Expires-At and of the listing (RFC 3339). Plugin streams, worker process.
 */
#include "streams.h"

/* Days from 1970-01-01 to a date of the Gregorian calendar; years begin in March, so that the leap day is the last. */
static int64_t time_days(int64_t year, int64_t month, int64_t day)
{
	int64_t era, of_era, of_year;

	year -= month <= 2;
	era = (year >= 0 ? year : year - 399) / 400;
	of_era = year - era * 400;
	of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool time_digits(const char **p, const char *end, size_t n, int64_t *value)
{
	*value = 0;
	for (; n > 0; n--, (*p)++) {
		if (*p >= end || **p < '0' || **p > '9')
			return false;
		*value = *value * 10 + (**p - '0');
	}
	return true;
}

static bool time_char(const char **p, const char *end, char upper)
{
	if (*p >= end || (**p != upper && !(upper >= 'A' && **p == (upper | 0x20))))
		return false;
	(*p)++;
	return true;
}

static bool time_date(const char **p, const char *end, int64_t *days)
{
	static const uint8_t length[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int64_t year, month, day, last;

	if (!time_digits(p, end, 4, &year) || !time_char(p, end, '-') || !time_digits(p, end, 2, &month) ||
	    !time_char(p, end, '-') || !time_digits(p, end, 2, &day))
		return false;
	if (month < 1 || month > 12)
		return false;
	last = length[month - 1];
	if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
		last = 29;
	if (day < 1 || day > last)
		return false;
	*days = time_days(year, month, day);
	return true;
}

/* Any number of digits; milliseconds count, the rest is dropped. */
static bool time_fraction(const char **p, const char *end, int64_t *ms)
{
	int64_t scale = 100;

	*ms = 0;
	if (*p >= end || **p != '.')
		return true;
	(*p)++;
	if (*p >= end || **p < '0' || **p > '9')
		return false;
	for (; *p < end && **p >= '0' && **p <= '9'; (*p)++, scale /= 10)
		*ms += scale * (**p - '0');
	return true;
}

static bool time_zone(const char **p, const char *end, int64_t *minutes)
{
	int64_t hour, minute;
	bool east;

	*minutes = 0;
	if (time_char(p, end, 'Z'))
		return true;
	if (*p >= end || (**p != '+' && **p != '-'))
		return false;
	east = *(*p)++ == '+';
	if (!time_digits(p, end, 2, &hour) || !time_char(p, end, ':') || !time_digits(p, end, 2, &minute) ||
	    hour > 23 || minute > 59)
		return false;
	*minutes = (hour * 60 + minute) * (east ? 1 : -1);
	return true;
}

bool time_parse(slice s, uint64_t *ms)
{
	const char *p = s.data, *end = p ? p + s.len : p;
	int64_t days, hour, minute, second, fraction, zone, t;

	if (!p || !time_date(&p, end, &days) || !time_char(&p, end, 'T') || !time_digits(&p, end, 2, &hour) ||
	    !time_char(&p, end, ':') || !time_digits(&p, end, 2, &minute) || !time_char(&p, end, ':') ||
	    !time_digits(&p, end, 2, &second) || !time_fraction(&p, end, &fraction) || !time_zone(&p, end, &zone) ||
	    p != end)
		return false;
	/* A leap second is written as 60 and counts as the first of the next minute. */
	if (hour > 23 || minute > 59 || second > 60)
		return false;
	t = (((days * 24 + hour) * 60 + minute - zone) * 60 + second) * 1000 + fraction;
	*ms = t > 0 ? (uint64_t)t : 0;
	return true;
}

static void time_put(char *out, uint64_t value, size_t digits)
{
	for (size_t i = digits; i > 0; i--, value /= 10)
		out[i - 1] = (char)('0' + value % 10);
}

void time_format(uint64_t ms, char out[TIME_LEN])
{
	uint64_t days = ms / 86400000, rest = ms % 86400000;
	uint64_t z = days + 719468, era = z / 146097, of_era = z - era * 146097;
	uint64_t of_year_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	uint64_t of_year = of_era - (365 * of_year_era + of_year_era / 4 - of_year_era / 100);
	uint64_t m = (5 * of_year + 2) / 153, day = of_year - (153 * m + 2) / 5 + 1, month = m < 10 ? m + 3 : m - 9;
	uint64_t year = of_year_era + era * 400 + (month <= 2);

	memcpy(out, "0000-00-00T00:00:00.000Z", TIME_LEN);
	time_put(out, year, 4);
	time_put(out + 5, month, 2);
	time_put(out + 8, day, 2);
	time_put(out + 11, rest / 3600000, 2);
	time_put(out + 14, rest / 60000 % 60, 2);
	time_put(out + 17, rest / 1000 % 60, 2);
	time_put(out + 20, rest % 1000, 3);
}
