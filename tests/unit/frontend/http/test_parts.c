/*
 * test_parts.c - the pieces that need no connection: targets, queries, UTF-8, chunks, routes, Accept-Encoding, shared
 * buffers, payloads. Unit test.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/frontend/http/harness.h"

struct target_case {
	const char *raw, *decoded; /* NULL: refused */
};
static const struct target_case targets[] = {
	{"/", "/"},
	{"/a/b", "/a/b"},
	{"/a%20b", "/a b"},
	{"/%41%6a%7E", "/Aj~"},
	{"/a%2Fb", "/a/b"},
	{"/a%252Fb", "/a%2Fb"},
	{"/a+b", "/a+b"},
	{"/%C3%A4", "/\xc3\xa4"},
	{"/%F0%9F%8E%89", "/\xf0\x9f\x8e\x89"},
	{"/a//b/", "/a//b/"},
	{"/...", "/..."},
	{"/a.b/.c/..d", "/a.b/.c/..d"},
	{"/.", NULL},
	{"/..", NULL},
	{"/./a", NULL},
	{"/a/../b", NULL},
	{"/a/..", NULL},
	{"/a%2f..%2fb", NULL},
	{"/%2e%2e/a", NULL},
	{"/%", NULL},
	{"/%1", NULL},
	{"/%1g", NULL},
	{"/%g1", NULL},
	{"/%00", NULL},
	{"/%80", NULL},
	{"/%C0%AF", NULL},       /* overlong '/' */
	{"/%ED%A0%80", NULL},    /* surrogate */
	{"/%F4%90%80%80", NULL}, /* beyond U+10FFFF */
	{"/%C3", NULL},
	{"/%E2%82", NULL},
};

static void test_targets(void)
{
	for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
		uint8_t out[64];
		size_t n = 0;
		const char *why = NULL;
		int e = target_decode(sl_slice_str(targets[i].raw), out, &n, &why);

		out[n] = '\0';
		if (targets[i].decoded)
			is_str(e ? "refused" : (char *)out, targets[i].decoded, targets[i].raw);
		else
			ok(e == 400 && why, "refused: a malformed or dangerous path");
	}
}

static void test_query(void)
{
	sl_slice rest = SL_STR("a=1&&b&c=%41+%zz&=x&a=2=3"), n, v;
	char text[128] = "";
	uint8_t out[32];

	while (query_next(&rest, &n, &v)) {
		size_t at = strlen(text), k = query_decode(v, out);

		snprintf(text + at, sizeof text - at, "[%.*s:%.*s]", (int)n.len, (const char *)n.data, (int)k,
		         (char *)out);
	}
	is_str(text, "[a:1][b:][c:A %zz][:x][a:2=3]", "queries");
}

/* Fed whole, and byte by byte: the same result. */
static int chunks(const char *text, size_t step, struct sl_buf *out, size_t *used)
{
	struct chunk_dec d = {0};
	size_t n = strlen(text);
	sl_slice piece;

	*used = 0;
	for (size_t end = step; *used < n; end = end + step < n ? end + step : n) {
		int e;

		end = end < n ? end : n;
		while ((e = chunk_feed(&d, (const uint8_t *)text, end, used, &piece)) == CHUNK_DATA)
			sl_buf_add(out, piece.data, piece.len);
		if (e != CHUNK_MORE)
			return e;
	}
	return CHUNK_MORE;
}

static void test_chunks(void)
{
	static const char good[] =
		"5\r\nhello\r\nA;name=\"va;l\\\"ue\"\r\n0123456789\r\n0;last\r\nTrailer: x\r\nT2:\r\n\r\nREST";
	struct sl_buf a = {0}, b = {0};
	size_t used;

	is_int(chunks(good, sizeof good, &a, &used), CHUNK_END, "chunks");
	is_int(used, strlen(good) - 4, "stops at its end");
	is_int(chunks(good, 1, &b, &used), CHUNK_END, "byte by byte");
	ok(a.len == 15 && b.len == 15 && memcmp(a.data, "hello0123456789", 15) == 0 && memcmp(b.data, a.data, 15) == 0,
	   "data");
	sl_buf_fini(&a);
	sl_buf_fini(&b);
}

static void test_accept(void)
{
	static const struct {
		const char *text;
		bool yes;
	} c[] = {{"gzip", true},
	         {"GZip", true},
	         {"deflate, gzip;q=0.5", true},
	         {"gzip;q=0", false},
	         {"gzip; q=0.000", false},
	         {"gzip;q=0.001", true},
	         {"*", true},
	         {"*;q=0", false},
	         {"*, gzip;q=0", false},
	         {"gzip, *;q=0", true},
	         {"identity", false},
	         {"", false},
	         {"br;q=1.0, gzip;q=0.8, *;q=0.1", true},
	         {"gzipped", false},
	         {"gzip;q=junk", false}};

	for (size_t i = 0; i < sizeof c / sizeof *c; i++)
		ok(gzip_accepted(sl_slice_str(c[i].text)) == c[i].yes, "Accept-Encoding");
	ok(!gzip_accepted(SL_SLICE(NULL, 0)), "no Accept-Encoding");
}

static void nothing(void *self, struct sluice_http_req *r)
{
	(void)self;
	(void)r;
}

static int add(struct sluice_ctx *ctx, const char *methods, const char *pattern)
{
	struct sluice_route r = {.size = sizeof r, .methods = methods, .pattern = pattern, .request = nothing};

	return http_table.route(ctx, &r);
}

static const char *find(struct http_engine *e, const char *method, const char *path)
{
	static char text[64];
	struct route_match m;
	int status = route_find(e, sl_slice_str(path), sl_slice_str(method), &m);

	if (status)
		snprintf(text, sizeof text, "%d %s", status, m.mount ? m.mount->ctx->name : "none");
	else
		snprintf(text, sizeof text, "%s %s", m.mount->ctx->name, m.route->pub.pattern);
	return text;
}

static void test_routes(void)
{
	struct event_base *base = event_base_new();
	struct http_limits limits = {.body = 1};
	struct http_hooks hooks = {0};
	struct http_engine *e = http_engine_new(base, &limits, &hooks, NULL);
	struct sluice_ctx root = {
		.magic = CTX_MAGIC, .name = (char *)(uintptr_t) "root", .mount = (char *)(uintptr_t) "/"};
	struct sluice_ctx deep = {
		.magic = CTX_MAGIC, .name = (char *)(uintptr_t) "deep", .mount = (char *)(uintptr_t) "/v1/s"};
	const char *why = NULL;

	http_mount_new(e, &root);
	http_mount_new(e, &deep);
	is_int(add(&root, "GET", "/*"), 0, "");
	is_int(add(&root, "GET", "/"), 0, "");
	is_int(add(&root, "GET", "/health"), 0, "");
	is_int(add(&root, "GET", "/ws/:id"), 0, "");
	is_int(add(&root, "GET", "/ws/:id/more"), 0, "");
	is_int(add(&deep, "GET|PUT", "/*"), 0, "");
	is_int(add(&deep, "POST", "/*"), 0, "");
	is_int(add(&deep, "GET", "/__ds/*"), 0, "");
	is_int(add(&deep, "GET", "/"), 0, "");
	is_int(add(&root, "FETCH", "/x"), SLUICE_EINVAL, "unknown method");
	is_int(add(&root, "GET", "x"), SLUICE_EINVAL, "a pattern begins with a slash");
	is_int(http_engine_ready(e, &why), 0, "no two are equal");
	is_str(find(e, "GET", "/"), "root /", "root");
	is_str(find(e, "GET", "/x/y"), "root /*", "rest");
	is_str(find(e, "GET", "/health"), "root /health", "literal wins");
	is_str(find(e, "GET", "/health/x"), "root /*", "whole segments only");
	is_str(find(e, "GET", "/healthy"), "root /*", "also where one is the beginning of another");
	is_str(find(e, "GET", "/ws/7"), "root /ws/:id", "parameter");
	is_str(find(e, "GET", "/ws/"), "root /*", "a parameter is not empty");
	is_str(find(e, "GET", "/ws/7/more"), "root /ws/:id/more", "behind a parameter");
	is_str(find(e, "GET", "/v1/s/a/b"), "deep /*", "the deeper mount wins");
	is_str(find(e, "POST", "/v1/s/a/b"), "deep /*", "same pattern, other method");
	is_str(find(e, "GET", "/v1/s/__ds/x"), "deep /__ds/*", "longest literal");
	is_str(find(e, "PUT", "/v1/s/__ds/x"), "405 deep", "and it alone decides about methods");
	is_str(find(e, "GET", "/v1/sx"), "root /*", "not below the mount");
	is_str(find(e, "GET", "/v1/s/"), "deep /", "the mount itself");
	is_str(find(e, "DELETE", "/v1/s/a"), "405 deep", "405 has a mount");
	is_int(add(&deep, "DELETE|GET", "/*"), 0, "");
	is_int(http_engine_ready(e, &why), SLUICE_EEXIST, "equal routes are found");
	ok(why && has(why, "/v1/s/*") && has(why, "deep"), "and named");
	http_engine_free(e);
	event_base_free(base);
}

static void test_shared(void)
{
	static uint8_t big[70000];
	struct sluice_buf *b = shared_new(SL_STR("0123456789abcdef!"));
	uint8_t *data;

	ok(b->head == 4 && memcmp(b->data - 4, "11\r\n0123456789abcdef!\r\n", 23) == 0, "framed once");
	ok(shared_ref(b) == b && b->refs == 2, "counted");
	shared_unref(b);
	shared_unref(b);
	b = shared_alloc(sizeof big, &data);
	ok(b->head == 7 && memcmp(b->data - 7, "11170\r\n", 7) == 0 && data == b->data, "any length");
	shared_unref(b);
	b = shared_new(SL_SLICE(NULL, 0));
	ok(b->len == 0 && memcmp(b->data - 3, "0\r\n\r\n", 5) == 0, "empty");
	shared_unref(b);
	shared_unref(NULL);
}

static void test_payload(void)
{
	static uint8_t bytes[100000];
	struct payload_budget budget = {.max = 250000};
	struct sluice_payload *p = payload_new(&budget), *q = payload_new(&budget);
	void *data;
	size_t len;

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(i * 7);
	is_int(payload_add(p, SL_SLICE(bytes, sizeof bytes)), 0, "in memory");
	is_int(payload_fd(p), -1, "no descriptor");
	is_int(payload_add(p, SL_SLICE(bytes, sizeof bytes)), 0, "spilled");
	ok(payload_fd(p) >= 0 && payload_len(p) == 200000, "into a descriptor");
	is_int(payload_add(p, SL_SLICE(bytes, 60000)), SLUICE_EBUSY, "the budget is a bound");
	is_int(payload_add(q, SL_SLICE(bytes, 50000)), 0, "up to the last byte");
	is_int(payload_add(q, SL_SLICE(bytes, 1)), SLUICE_EBUSY, "and no further");
	is_int(payload_map(p, &data, &len), 0, "mapped");
	ok(len == 200000 && memcmp(data, bytes, 100000) == 0 && memcmp((uint8_t *)data + 100000, bytes, 100000) == 0,
	   "the bytes");
	memset(data, 'x', 10);
	payload_truncate(p, 5);
	is_int(payload_map(p, &data, &len), 0, "again");
	ok(len == 5 && memcmp(data, "xxxxx", 5) == 0, "edited in place, then shorter");
	payload_free(p);
	is_int(budget.used, 50000, "given back whole");
	is_int(payload_map(q, &data, &len), 0, "from memory");
	ok(len == 50000 && memcmp(data, bytes, len) == 0, "the bytes");
	payload_truncate(q, 3);
	is_int(payload_len(q), 3, "truncated");
	payload_free(q);
	is_int(budget.used, 0, "all given back");
	payload_free(NULL);
}

int main(void)
{
	test_targets();
	test_query();
	test_chunks();
	test_accept();
	test_routes();
	test_shared();
	test_payload();
	return tap_done();
}
