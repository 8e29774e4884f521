/*
 * fuzz_target.c - fuzz target: request targets. What is accepted as a path is UTF-8, begins with '/', has no NUL and
 * no dot segment, however it was spelled. Tests only.
 */
#include <stdlib.h>

#include "frontend/http/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void check_path(const uint8_t *p, size_t n)
{
	size_t from = 1;

	if (n == 0 || p[0] != '/' || memchr(p, 0, n) || !utf8_valid(p, n))
		abort();
	for (size_t i = 1; i <= n; i++) {
		size_t len = i - from;

		if (i < n && p[i] != '/')
			continue;
		if ((len == 1 && p[from] == '.') || (len == 2 && p[from] == '.' && p[from + 1] == '.'))
			abort();
		from = i + 1;
	}
}

static void check_query(sl_slice query)
{
	uint8_t *out = malloc(query.len + 1);
	sl_slice name, value;

	if (!out)
		return;
	while (query_next(&query, &name, &value))
		if (query_decode(name, out) > name.len || query_decode(value, out) > value.len)
			abort(); /* decoding never lengthens: callers count on it */
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct http_target t;
	const char *why = NULL;
	uint8_t *path;
	size_t len = 0;

	if (target_split(SL_SLICE(data, n), &t, &why)) {
		if (!why)
			abort();
		return 0;
	}
	check_query(t.query);
	path = malloc(t.raw.len + 1);
	if (path && !t.asterisk && target_decode(t.raw, path, &len, &why) == 0) {
		if (len > t.raw.len)
			abort();
		check_path(path, len);
	}
	free(path);
	return 0;
}
