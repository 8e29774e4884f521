/*
 * fuzz_streams.c - fuzz targets: requests to the plugins streams and riverrun, as the engine would hand them over. Tests only.
 *
 * An input is a text of requests with a NUL between them: a line with method and target (below the mount), lines "name: value",
 * a blank line, the body; `+N` in place of a request lets N tenths of a second pass. They share one host and its few streams; what waits is left
 * behind at the end. The fake host checks the rules of the ABI. Here: no request is left without an answer once its time is
 * over, none is answered 500, lengths are as announced, and nothing leaks.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "tests/unit/plugins/fake_host.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);
ssize_t __wrap_getrandom(void *, size_t, unsigned);

extern const struct sluice_plugin sluice_plugin_v1;

enum { REQUESTS_MAX = 12, HEADERS_MAX = 16, INPUT_MAX = 8192 };

struct request {
	char *method, *target;
	const char *header[HEADERS_MAX + 1];
	char *body;
	size_t body_len;
};

/* The same every time. */
ssize_t __wrap_getrandom(void *p, size_t n, unsigned flags)
{
	(void)flags;
	memset(p, 0x5a, n);
	return (ssize_t)n;
}

static const char *methods(const char *s)
{
	static const char *const known[] = {"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", NULL};

	for (size_t i = 0; known[i]; i++)
		if (strcmp(s, known[i]) == 0)
			return known[i];
	return NULL;
}

/* What the engine lets through: printable, escapes well-formed and not of control characters, no dot segments. */
static bool target_valid(const char *s)
{
	unsigned params = 1;

	if (s[0] != '/' || strstr(s, "/.") || strstr(s, "%2e") || strstr(s, "%2E"))
		return false;
	for (; *s; s++) {
		params += *s == '&';
		if (*s < 0x21 || *s > 0x7e)
			return false;
		if (*s == '%' &&
		    (s[1] < '2' || s[1] > '7' || !isxdigit((unsigned char)s[2]) || strncasecmp(s, "%7f", 3) == 0))
			return false;
	}
	return params <= 16;
}

/* Cuts the line at *p off; NULL at the end. */
static char *line_next(char **p)
{
	char *line = *p, *end = strchr(line, '\n');

	if (*line == '\0')
		return NULL;
	*p = end ? end + 1 : line + strlen(line);
	if (end)
		*end = '\0';
	return line;
}

static bool header_valid(char *line)
{
	char *colon = strchr(line, ':');

	if (!colon || colon == line)
		return false;
	for (char *s = line; s < colon; s++)
		if (!isalnum((unsigned char)*s) && *s != '-')
			return false;
		else
			*s = (char)tolower((unsigned char)*s);
	for (char *s = colon; *s; s++)
		if (*s == '\r' || *s == '\v')
			return false;
	for (char *s = colon + strlen(colon); s > colon + 1 && s[-1] == ' ';)
		*--s = '\0'; /* values come trimmed */
	return true;
}

static bool request_parse(char *text, size_t len, struct request *r)
{
	char *at = text, *line = line_next(&at), *space = line ? strchr(line, ' ') : NULL;
	size_t n = 0;

	if (!space)
		return false;
	*space = '\0';
	r->method = line;
	r->target = space + 1;
	while ((line = line_next(&at)) && *line)
		if (n < HEADERS_MAX && header_valid(line))
			r->header[n++] = line;
	r->header[n] = NULL;
	r->body = at;
	r->body_len = (size_t)(text + len - at);
	return methods(r->method) && target_valid(r->target);
}

static void check(const struct sluice_http_req *r)
{
	if (r->wrong || (r->responded && (r->status < 200 || r->status == 500 || r->status > 599)))
		abort();
	if (fake_open(r))
		abort(); /* waits for ever */
}

static void run(fake *f, char *text, size_t len, struct sluice_http_req **made)
{
	struct request r;

	if (text[0] == '+')
		fake_advance(f, 100 * (uint64_t)(atoi(text + 1) & 63));
	else if (request_parse(text, len, &r)) {
		*made = fake_http(f, r.method, r.target, r.header, r.body, r.body_len);
		fake_turn(f);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const settings[] = {"long_poll_timeout=500ms", "sse_lifetime=1s", "read_chunk=4K", NULL};
	struct sluice_http_req *made[REQUESTS_MAX] = {NULL};
	char *text = malloc(n + 1);
	size_t at = 0;
	fake *f;

	if (n > INPUT_MAX || !text) {
		free(text);
		return 0;
	}
	memcpy(text, data, n);
	text[n] = '\0';
	f = fake_new(&sluice_plugin_v1, settings);
	for (size_t i = 0; i < REQUESTS_MAX && at < n; i++) {
		const char *end = memchr(text + at, '\0', n - at);
		size_t len = end ? (size_t)(end - text) - at : n - at;

		run(f, text + at, len, &made[i]);
		at += len + 1;
	}
	fake_advance(f, 2000); /* longer than any of them may take */
	fake_channels_end(f, false); /* whose subscribers stay as long as they do */
	fake_turn(f);
	for (size_t i = 0; i < REQUESTS_MAX; i++)
		if (made[i])
			check(made[i]);
	if (fake_free(f))
		abort();
	free(text);
	return 0;
}
