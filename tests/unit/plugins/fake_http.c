/*
 * fake_http.c - the fake's HTTP engine: requests are made by the test, answers collected, rules of the ABI checked. Tests only.
 */
#include "tests/unit/plugins/fake_host.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct sluice_http_req hreq;
typedef struct sluice_slice slice;

static slice slice_of(const char *s)
{
	return (slice){.data = s, .len = strlen(s)};
}

static int http_hex(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

static size_t http_decode(char *out, const char *in, size_t n, bool query)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		if (in[i] == '%' && i + 2 < n) {
			out[len++] = (char)(http_hex(in[i + 1]) << 4 | http_hex(in[i + 2]));
			i += 2;
		} else {
			out[len++] = query && in[i] == '+' ? ' ' : in[i];
		}
	}
	out[len] = '\0';
	return len;
}

/* ---- routes ---- */

static int http_route(fake *f, const struct sluice_route *route)
{
	if (fake_fails(f))
		return SLUICE_ENOMEM;
	assert(f->n_route < 32 && route->size == sizeof *route);
	f->route[f->n_route++] = *route;
	return 0;
}

static int http_defaults(fake *f, const struct sluice_header *h, size_t n)
{
	if (fake_fails(f))
		return SLUICE_ENOMEM;
	assert(n <= 16);
	memcpy(f->defaults, h, n * sizeof *h);
	f->n_defaults = n;
	return 0;
}

static int http_errors(fake *f, const char *type, size_t (*fn)(int, const char *, char *, size_t))
{
	(void)type;
	(void)fn;
	return fake_fails(f) ? SLUICE_ENOMEM : 0;
}

static bool http_method_in(const char *methods, const char *method)
{
	size_t n = strlen(method);

	for (const char *p = methods; p; p = strchr(p, '|') ? strchr(p, '|') + 1 : NULL)
		if (strncmp(p, method, n) == 0 && (p[n] == '|' || p[n] == '\0'))
			return true;
	return false;
}

static const struct sluice_route *http_find(const fake *f, const char *method, const char *path)
{
	const struct sluice_route *best = NULL;
	size_t best_len = 0;

	for (size_t i = 0; i < f->n_route; i++) {
		const char *p = f->route[i].pattern + (f->route[i].pattern[0] == '/');
		size_t n = strlen(p);
		bool rest = n > 0 && p[n - 1] == '*';

		if (f->route[i].pattern[0] == '\0') /* the mount without a slash behind it: no request of a test means that */
			continue;
		n -= rest;
		if (strncmp(path, p, n) != 0 || (rest ? path[n] == '\0' : path[n] != '\0'))
			continue;
		if (!http_method_in(f->route[i].methods, method))
			continue;
		if (!best || n + !rest > best_len) {
			best = &f->route[i];
			best_len = n + !rest;
		}
	}
	return best;
}

/* ---- requests ---- */

static void http_parse_query(hreq *r, char *text)
{
	char *save = NULL, *part;

	for (part = strtok_r(text, "&", &save); part; part = strtok_r(NULL, "&", &save)) {
		char *eq = strchr(part, '='), *value = eq ? eq + 1 : part + strlen(part);

		if (eq)
			*eq = '\0';
		assert(r->n_query < 16);
		r->query[r->n_query].name = slice_of(part);
		r->query[r->n_query++].value =
			(slice){.data = value, .len = http_decode(value, value, strlen(value), true)};
	}
}

hreq *fake_http(fake *f, const char *method, const char *target, const char *const *headers, const char *body,
                size_t body_len)
{
	hreq *r = fake_calloc(1, sizeof *r);
	const char *mark = strchr(target, '?');
	size_t path_len = mark ? (size_t)(mark - target) : strlen(target);
	const struct sluice_route *route;

	assert(r && target[0] == '/');
	r->f = f;
	r->method = fake_dup(method, strlen(method));
	r->path = fake_malloc(path_len + 1);
	http_decode(r->path, target + 1, path_len - 1, false);
	r->target = fake_malloc(strlen(f->mount) + path_len + 1);
	assert(r->target);
	sprintf(r->target, "%s%.*s", f->mount, (int)path_len, target);
	r->text = fake_dup(mark ? mark + 1 : "", mark ? strlen(mark + 1) : 0);
	http_parse_query(r, r->text);
	for (size_t i = 0; headers && headers[i]; i++) {
		const char *colon = strchr(headers[i], ':');

		assert(colon && r->n_header < 32);
		r->header[r->n_header].name = (slice){.data = headers[i], .len = (size_t)(colon - headers[i])};
		r->header[r->n_header++].value = slice_of(colon + 1 + strspn(colon + 1, " "));
	}
	if (body && body_len > 0)
		r->payload = fake_payload(f, body, body_len);
	TAILQ_INSERT_TAIL(&f->https, r, link);
	route = http_find(f, method, r->path);
	if (!route) {
		r->status = 405;
		r->responded = r->ended = r->dead = true;
		return r;
	}
	r->route = *route;
	route->request(f->self, r);
	return r;
}

bool fake_open(const hreq *r)
{
	return !r->ended && !r->reset && !r->gone;
}

void fake_leave(hreq *r)
{
	if (!fake_open(r))
		return;
	r->gone = true;
	if (r->route.gone)
		r->route.gone(r->f->self, r);
	r->dead = true;
}

void fake_http_free(hreq *r)
{
	fake_leave(r);
	TAILQ_REMOVE(&r->f->https, r, link);
	fake_payload_free(r->payload);
	for (size_t i = 0; i < r->n_answer; i++) {
		free((void *)(uintptr_t)r->answer[i].name.data);
		free((void *)(uintptr_t)r->answer[i].value.data);
	}
	free(r->body.data);
	free(r->method);
	free(r->path);
	free(r->target);
	free(r->text);
	free(r);
}

const char *fake_header(const hreq *r, const char *name)
{
	for (size_t i = 0; i < r->n_answer; i++)
		if (strcmp(r->answer[i].name.data, name) == 0)
			return r->answer[i].value.data;
	return NULL;
}

/* ---- the table ---- */

static slice http_method(hreq *r)
{
	return slice_of(r->method);
}

static slice http_path(hreq *r)
{
	return slice_of(r->path);
}

static slice http_target(hreq *r)
{
	return slice_of(r->target);
}

static slice http_origin(hreq *r)
{
	(void)r;
	return slice_of("http://host:1");
}

static slice http_nth(const struct sluice_header *h, size_t n, const char *name, size_t i)
{
	for (size_t k = 0; k < n; k++)
		if (h[k].name.len == strlen(name) && memcmp(h[k].name.data, name, h[k].name.len) == 0 && i-- == 0)
			return h[k].value;
	return (slice){0};
}

static slice http_header(hreq *r, const char *name, size_t i)
{
	return http_nth(r->header, r->n_header, name, i);
}

static slice http_query(hreq *r, const char *name, size_t i)
{
	return http_nth(r->query, r->n_query, name, i);
}

static struct sluice_payload *http_payload(hreq *r)
{
	struct sluice_payload *p = r->payload;

	r->payload = NULL;
	return p;
}

static const struct sluice_principal *http_principal(hreq *r)
{
	(void)r;
	return (const struct sluice_principal *)(void *)&fake_who; /* whoever asks */
}

static void **http_slot(hreq *r)
{
	assert(!r->dead);
	return &r->slot;
}

static const char *http_compress(hreq *r, int64_t length)
{
	slice accept = http_header(r, "accept-encoding", 0);

	assert(!r->responded && length >= 0);
	r->gzip = accept.data && strstr(accept.data, "gzip");
	return r->gzip ? "gzip" : "";
}

static void http_head(hreq *r, int status, const struct sluice_header *h, size_t n, int64_t length)
{
	assert(!r->responded && !r->dead && n <= 40);
	r->responded = true;
	r->status = status;
	r->length = length;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < h[i].name.len; k++) {
			char c = ((const char *)h[i].name.data)[k];

			assert(c == '-' || (c >= 'a' && c <= 'z'));
		}
		assert(h[i].value.data && !memchr(h[i].value.data, '\n', h[i].value.len));
		r->answer[r->n_answer].name = slice_of(fake_dup(h[i].name.data, h[i].name.len));
		r->answer[r->n_answer++].value = slice_of(fake_dup(h[i].value.data, h[i].value.len));
	}
}

static int http_respond(hreq *r, int status, const struct sluice_header *h, size_t n, int64_t length)
{
	if (fake_fails(r->f))
		return SLUICE_ENOMEM;
	http_head(r, status, h, n, length);
	r->want_pull = true;
	return 0;
}

static int http_put(hreq *r, const void *data, size_t n)
{
	assert(r->responded && !r->dead && !r->ended);
	fake_bytes_add(&r->body, data, n);
	r->want_pull = true;
	return 0;
}

static int http_write(hreq *r, slice s)
{
	return fake_fails(r->f) ? SLUICE_ENOMEM : http_put(r, s.data, s.len);
}

static int http_write_buf(hreq *r, struct sluice_buf *b)
{
	if (fake_fails(r->f))
		return SLUICE_ENOMEM;
	r->shared_writes++;
	return http_put(r, b->bytes.data, b->bytes.len);
}

static void http_wake(hreq *r)
{
	assert(!r->dead);
	r->want_pull = true;
}

static void http_end(hreq *r)
{
	assert(r->responded && !r->dead);
	r->ended = r->dead = true;
	/* What was announced must be what came. */
	r->wrong += r->length >= 0 && strcmp(r->method, "HEAD") != 0 && (uint64_t)r->length != r->body.len;
}

/* gone() follows, but not from inside this call. */
static void http_reset(hreq *r)
{
	assert(!r->dead);
	r->reset = true;
}

static void http_reply(hreq *r, int status, const struct sluice_header *h, size_t n, slice body)
{
	http_head(r, status, h, n, (int64_t)body.len);
	if (status != 204 && status != 304 && strcmp(r->method, "HEAD") != 0)
		fake_bytes_add(&r->body, body.data, body.len);
	else
		fake_bytes_add(&r->body, "", 0);
	r->ended = r->dead = true;
}

static void http_refuse(hreq *r)
{
	http_reply(r, 401, NULL, 0, (slice){"refused\n", 8});
}

static size_t http_pending(hreq *r)
{
	return r->slow ? r->body.len - r->taken : 0;
}

void fake_take(hreq *r, size_t n)
{
	r->taken = r->taken + n < r->body.len ? r->taken + n : r->body.len;
}

static bool http_turn(fake *f, hreq *r)
{
	size_t pending = http_pending(r);

	if (r->reset && !r->dead) {
		if (r->route.gone)
			r->route.gone(f->self, r);
		r->dead = true;
		return true;
	}
	if (r->dead || !r->want_pull || !r->responded || pending >= FAKE_LOW || !r->route.pull)
		return false;
	r->want_pull = false;
	r->pulls++;
	r->route.pull(f->self, r, FAKE_HIGH - pending);
	return true; /* it may have started something that is to be run in this turn */
}

void fake_http_turn(fake *f, bool *busy)
{
	hreq *r;

	for (r = TAILQ_FIRST(&f->https); r; r = TAILQ_NEXT(r, link))
		*busy = http_turn(f, r) || *busy;
}

const struct sluice_http fake_http_table = {
	.size = sizeof fake_http_table,
	.route = http_route,
	.defaults = http_defaults,
	.errors = http_errors,
	.method = http_method,
	.path = http_path,
	.target = http_target,
	.origin = http_origin,
	.header = http_header,
	.query = http_query,
	.payload = http_payload,
	.principal = http_principal,
	.slot = http_slot,
	.compress = http_compress,
	.respond = http_respond,
	.write = http_write,
	.write_buf = http_write_buf,
	.wake = http_wake,
	.end = http_end,
	.reset = http_reset,
	.reply = http_reply,
	.pending = http_pending,
	.refuse = http_refuse,
};
