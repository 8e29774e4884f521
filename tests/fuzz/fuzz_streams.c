/*
 * fuzz_streams.c - fuzz targets: requests to the plugins streams and riverrun, as the engine would hand them over. Tests only.
 *
 * An input is a text of requests (requests.h) with a NUL between them; `+N` in place of a request lets N tenths of a second
 * pass. They share one host and its few streams; what waits is left behind at the end. The fake host checks the rules of the
 * ABI. Here: no request is left without an answer once its time is over, none is answered 500, lengths are as announced, and
 * nothing leaks.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "tests/fuzz/requests.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);
ssize_t __wrap_getrandom(void *, size_t, unsigned);

extern const struct sluice_plugin sluice_plugin_v1;

enum { REQUESTS_MAX = 12 };

/* The same every time. */
ssize_t __wrap_getrandom(void *p, size_t n, unsigned flags)
{
	(void)flags;
	memset(p, 0x5a, n);
	return (ssize_t)n;
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
	char *text = input_copy(data, n), *piece;
	size_t at = 0, len = 0;
	fake *f;

	if (!text)
		return 0;
	f = fake_new(&sluice_plugin_v1, settings);
	for (size_t i = 0; i < REQUESTS_MAX && (piece = input_piece(text, n, &at, &len)); i++)
		run(f, piece, len, &made[i]);
	fake_advance(f, 2000);       /* longer than any of them may take */
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
