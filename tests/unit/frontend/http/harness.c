/*
 * harness.c - see harness.h. Tests only.
 */
#include "tests/unit/frontend/http/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct sluice_http *H = &http_table;

uint64_t __real_clock_ms(void);
uint64_t __wrap_clock_ms(void);

uint64_t fx_clock;

uint64_t __wrap_clock_ms(void)
{
	return fx_clock ? fx_clock : __real_clock_ms();
}

static void fx_log(struct fx *f, const char *what, struct sluice_http_req *r)
{
	sl_slice p = H->path(r);
	size_t at = strlen(f->log);

	snprintf(f->log + at, sizeof f->log - at, "%s:%.*s ", what, (int)p.len, (const char *)p.data);
}

static void fx_hold(struct fx *f, struct sluice_http_req *r)
{
	if (f->n_held < HELD_MAX)
		f->held[f->n_held++] = r;
}

static void fx_unhold(struct fx *f, struct sluice_http_req *r)
{
	for (size_t i = 0; i < f->n_held; i++)
		if (f->held[i] == r) {
			memmove(f->held + i, f->held + i + 1, (f->n_held - i - 1) * sizeof *f->held);
			f->n_held--;
			return;
		}
}

static void on_gone(void *self, struct sluice_http_req *r)
{
	struct fx *f = self;

	f->gone++;
	fx_log(f, "gone", r);
	fx_unhold(f, r);
}

static void on_hello(void *self, struct sluice_http_req *r)
{
	static const struct sluice_header h = {{"content-type", 12}, {"text/plain", 10}};
	struct fx *f = self;

	f->requests++;
	H->reply(r, 200, &h, 1, SL_STR("hello"));
}

static void on_echo(void *self, struct sluice_http_req *r)
{
	struct fx *f = self;
	struct sluice_payload *p = H->payload(r);
	void *data = NULL;
	size_t len = 0;

	f->requests++;
	if (p)
		payload_map(p, &data, &len);
	H->reply(r, 200, NULL, 0, SL_SLICE(data, len));
	payload_free(p);
}

static void on_wait(void *self, struct sluice_http_req *r)
{
	struct fx *f = self;

	f->requests++;
	fx_log(f, "request", r);
	fx_hold(f, r);
}

static void on_expire(void *self, struct sluice_http_req *r)
{
	fx_log(self, "expire", r);
	fx_unhold(self, r);
	H->refuse(r);
}

static void on_live(void *self, struct sluice_http_req *r)
{
	on_wait(self, r);
	H->respond(r, 200, NULL, 0, -1);
}

static void on_pull(void *self, struct sluice_http_req *r, size_t room)
{
	struct fx *f = self;

	(void)r;
	(void)room;
	f->pulls++;
}

/* /big?n=BYTES: a body that is written as it is pulled, every byte known from its position. */
static void on_big(void *self, struct sluice_http_req *r)
{
	struct fx *f = self;
	sl_slice q = H->query(r, "n", 0);
	char text[32] = "";
	long n;

	f->requests++;
	memcpy(text, q.data ? q.data : "", q.len < 31 ? q.len : 31);
	n = atol(text) < 0 ? 0 : atol(text);
	*H->slot(r) = (void *)(uintptr_t)n;
	if (H->query(r, "gzip", 0).data)
		H->compress(r, n);
	H->respond(r, 200, NULL, 0, H->query(r, "unknown", 0).data ? -1 : n);
}

static void on_big_pull(void *self, struct sluice_http_req *r, size_t room)
{
	struct fx *f = self;
	uintptr_t left = (uintptr_t)*H->slot(r);
	char chunk[4096];

	f->pulls++;
	while (left > 0 && room > 0) {
		size_t n = left < sizeof chunk ? left : sizeof chunk;

		n = n < room ? n : room;
		memset(chunk, 'a' + (int)(left % 26), n);
		if (H->write(r, SL_SLICE(chunk, n)))
			break;
		left -= n;
		room -= n;
	}
	*H->slot(r) = (void *)left;
	if (left == 0)
		H->end(r);
}

static int on_pieces_body(void *self, struct sluice_http_req *r, sl_slice s, int last)
{
	struct fx *f = self;

	if (f->refuse_pieces)
		return SLUICE_EAGAIN;
	sl_buf_add(&f->pieces, s.data, s.len);
	if (last) {
		f->ended_pieces++;
		fx_unhold(f, r);
		H->reply(r, 200, NULL, 0, sl_buf_slice(&f->pieces));
	}
	return 0;
}

/* What the engine made of the request line: "path|target|origin|q=..." */
static void on_show(void *self, struct sluice_http_req *r)
{
	struct fx *f = self;
	sl_slice p = H->path(r), t = H->target(r), o = H->origin(r), q = H->query(r, "q", 0), q1 = H->query(r, "q", 1);
	char text[2048];
	int n = snprintf(text, sizeof text, "%.*s|%.*s|%.*s|%.*s|%s", (int)p.len, (const char *)p.data, (int)t.len,
	                 (const char *)t.data, (int)o.len, (const char *)o.data, q.data ? (int)q.len : 4,
	                 q.data ? (const char *)q.data : "none", q1.data ? "two" : "one");

	f->requests++;
	H->reply(r, 200, NULL, 0, SL_SLICE(text, (size_t)n));
}

static void on_gzip(void *self, struct sluice_http_req *r)
{
	static char text[200000];
	struct sluice_header h[2] = {{SL_STR("content-type"), SL_STR("text/plain")}};
	sl_slice q = H->query(r, "n", 0);
	char num[16] = "";
	size_t n;
	const char *coding;

	(void)self;
	memcpy(num, q.data ? q.data : "", q.len < 15 ? q.len : 15);
	n = (size_t)atol(num);
	n = n < sizeof text ? n : sizeof text;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (char)('a' + i / 7 % 20);
	coding = H->compress(r, (int64_t)n);
	h[1] = (struct sluice_header){SL_STR("x-coding"), sl_slice_str(coding)};
	H->reply(r, 200, h, 2, SL_SLICE(text, n));
}

static void on_nobody(void *self, struct sluice_http_req *r)
{
	(void)self;
	H->reply(r, sl_slice_is(H->path(r), "nobody/304") ? 304 : 204, NULL, 0, SL_STR("must not be seen"));
}

static void on_reset(void *self, struct sluice_http_req *r)
{
	(void)self;
	H->respond(r, 200, NULL, 0, 100);
	H->write(r, SL_STR("part"));
	H->reset(r);
}

static void on_short(void *self, struct sluice_http_req *r)
{
	struct fx *f = self;

	f->requests++;
	H->respond(r, 200, NULL, 0, 10);
	H->write(r, SL_STR("short"));
	f->too_much = H->write(r, SL_STR("too much"));
	H->end(r);
}

#define ROUTE(f, m, p, ...) \
	do { \
		struct sluice_route r_ = {.size = sizeof r_, \
		                          .methods = m, \
		                          .pattern = p, \
		                          .gone = on_gone, \
		                          .action = "read", \
		                          __VA_ARGS__}; \
		if (H->route(&(f)->ctx, &r_)) \
			abort(); \
	} while (0)

static void fx_routes(struct fx *f)
{
	ROUTE(f, "GET|HEAD", "/hello", .flags = SLUICE_RT_COLLECT, .request = on_hello);
	ROUTE(f, "POST|PUT", "/echo", .flags = SLUICE_RT_COLLECT, .request = on_echo);
	ROUTE(f, "POST", "/tiny", .flags = SLUICE_RT_COLLECT, .request = on_echo, .max_body = 10);
	ROUTE(f, "GET|POST", "/wait/:id", .flags = SLUICE_RT_COLLECT, .request = on_wait, .pull = on_pull);
	ROUTE(f, "GET|HEAD", "/live/:id", .flags = SLUICE_RT_COLLECT, .request = on_live, .pull = on_pull);
	ROUTE(f, "GET|HEAD", "/big", .flags = SLUICE_RT_COLLECT, .request = on_big, .pull = on_big_pull);
	ROUTE(f, "GET", "/expire/:id", .flags = SLUICE_RT_COLLECT, .request = on_wait, .pull = on_pull,
	      .expire = on_expire, .token_query = "token");
	ROUTE(f, "GET", "/own/:id", .flags = SLUICE_RT_COLLECT | SLUICE_RT_OWN_AUTH, .request = on_wait,
	      .pull = on_pull, .expire = on_expire);
	ROUTE(f, "POST", "/pieces", .request = on_wait, .body = on_pieces_body);
	ROUTE(f, "GET", "/show/*", .flags = SLUICE_RT_COLLECT, .request = on_show);
	ROUTE(f, "GET|HEAD", "/gzip", .flags = SLUICE_RT_COLLECT, .request = on_gzip);
	ROUTE(f, "GET|HEAD|DELETE", "/nobody/:status", .flags = SLUICE_RT_COLLECT, .request = on_nobody);
	ROUTE(f, "GET", "/reset", .flags = SLUICE_RT_COLLECT, .request = on_reset);
	ROUTE(f, "GET", "/short", .flags = SLUICE_RT_COLLECT, .request = on_short);
}

/* ---- hooks ---- */

static void hook_refusal(const struct sluice_principal *p, struct auth_verdict *v)
{
	(void)p;
	v->status = 401;
	v->why = "Authorization is required.";
	v->challenge = "Bearer realm=\"test\"";
}

static void hook_admit(void *arg, const struct auth_ask *ask, struct auth_verdict *v)
{
	struct fx *f = arg;

	*v = (struct auth_verdict){.principal = arg, .expires_ms = f->expires_ms};
	f->n_principals++;
	snprintf(f->token, sizeof f->token, "%.*s|%.*s", (int)ask->authorization.len,
	         ask->authorization.data ? (const char *)ask->authorization.data : "", (int)ask->token.len,
	         ask->token.data ? (const char *)ask->token.data : "");
	if (!ask->action)
		return;
	snprintf(f->asked, sizeof f->asked, "%s %.*s", ask->action, (int)ask->stream.len,
	         (const char *)ask->stream.data);
	if (f->deny) {
		hook_refusal(arg, v);
		v->status = f->deny;
	}
}

static void hook_release(const struct sluice_principal *p)
{
	struct fx *f = (void *)(uintptr_t)p;

	f->n_principals--;
}

static int hook_upgrade(void *arg, const struct http_upgrade *u)
{
	struct fx *f = arg;

	if (f->upgrade_result)
		return f->upgrade_result;
	f->upgrade_fd = u->fd;
	f->upgrade_len = u->raw.len < sizeof f->upgrade_raw ? u->raw.len : sizeof f->upgrade_raw;
	memcpy(f->upgrade_raw, u->raw.data, f->upgrade_len);
	snprintf(f->upgrade_path, sizeof f->upgrade_path, "%.*s?%.*s", (int)u->path.len, (const char *)u->path.data,
	         (int)u->query.len, (const char *)u->query.data);
	return 0;
}

/* ---- life ---- */

struct fx *fx_new_with(void (*change)(struct fx *))
{
	static const struct sluice_header defaults[] = {{{"x-default", 9}, {"yes", 3}}};
	struct fx *f = calloc(1, sizeof *f);
	const char *why = "";

	f->base = event_base_new();
	f->budget.max = 64 << 20;
	f->limits = (struct http_limits){.body = 1 << 20,
	                                 .header_bytes = 8192,
	                                 .path_bytes = 1024,
	                                 .connections = 1000,
	                                 .h2_streams = 200,
	                                 .header_timeout = 10000,
	                                 .body_timeout = 20000,
	                                 .idle_timeout = 60000,
	                                 .send_timeout = 30000};
	f->hooks = (struct http_hooks){
		.arg = f,
		.auth = {.arg = f, .admit = hook_admit, .refusal = hook_refusal, .release = hook_release},
		.upgrade = hook_upgrade,
		.requests = &f->cell_requests,
		.connections = &f->cell_connections,
		.answers_5xx = &f->cell_5xx};
	f->upgrade_result = SLUICE_ENOENT;
	f->upgrade_fd = -1;
	f->ctx = (struct sluice_ctx){.magic = CTX_MAGIC,
	                             .self = f,
	                             .name = (char *)(uintptr_t) "test",
	                             .mount = (char *)(uintptr_t) "/t",
	                             .prefix = (char *)(uintptr_t) ""};
	if (change)
		change(f);
	f->engine = http_engine_new(f->base, &f->limits, &f->hooks, &f->budget);
	http_mount_new(f->engine, &f->ctx);
	fx_routes(f);
	H->defaults(&f->ctx, defaults, 1);
	if (http_engine_ready(f->engine, &why)) {
		printf("Bail out! %s\n", why);
		exit(1);
	}
	return f;
}

struct fx *fx_new(void)
{
	return fx_new_with(NULL);
}

void fx_free(struct fx *f)
{
	http_engine_free(f->engine);
	event_base_free(f->base);
	sl_buf_fini(&f->pieces);
	if (f->budget.used || f->n_held || f->n_principals) {
		printf("Bail out! %llu bytes of the body budget are still used, %zu handles never ended, %d principals are held\n",
		       (unsigned long long)f->budget.used, f->n_held, f->n_principals);
		exit(1);
	}
	free(f);
}

int fx_connect(struct fx *f)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv) != 0)
		abort();
	if (!conn_new(f->engine, sv[0], &transport_plain, NULL))
		abort();
	return sv[1];
}

void fx_run(struct fx *f)
{
	/* Each round takes what is ready; a few rounds settle everything that goes on through the next iteration. */
	for (int i = 0; i < 6; i++)
		event_base_loop(f->base, EVLOOP_NONBLOCK);
}

void fx_sweep(struct fx *f, uint64_t ms)
{
	engine_sweep(f->engine, clock_ms() + ms);
	engine_schedule(f->engine);
	fx_run(f);
}

void fx_send_bytes(struct fx *f, int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n > 0) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k < 0 && errno == EAGAIN) {
			fx_run(f);
			k = send(fd, p, n, MSG_NOSIGNAL);
		}
		if (k < 0)
			break; /* the other side does not read, or has closed: the test will see */
		p += k;
		n -= (size_t)k;
	}
	fx_run(f);
}

void fx_send(struct fx *f, int fd, const char *s)
{
	fx_send_bytes(f, fd, s, strlen(s));
}

const char *fx_recv(struct fx *f, int fd, size_t *len, bool *eof)
{
	static char *buf;
	static size_t cap;
	size_t n = 0;
	int idle = 0;

	if (eof)
		*eof = false;
	while (idle < 2) {
		ssize_t k;

		if (cap - n < 65536 + 1)
			buf = realloc(buf, cap = (cap ? cap * 2 : 262144));
		k = recv(fd, buf + n, cap - n - 1, 0);
		if (k > 0) {
			n += (size_t)k;
			idle = 0;
		} else if (k == 0 || errno != EAGAIN) {
			if (eof)
				*eof = true;
			break;
		} else {
			fx_run(f);
			idle++;
		}
	}
	if (!buf)
		buf = calloc(1, cap = 262144);
	buf[n] = '\0';
	if (len)
		*len = n;
	return buf;
}

const char *fx_ask(struct fx *f, int fd, const char *s)
{
	fx_send(f, fd, s);
	return fx_recv(f, fd, NULL, NULL);
}

const char *fx_once(struct fx *f, const char *s)
{
	int fd = fx_connect(f);
	const char *a = fx_ask(f, fd, s);

	close(fd);
	fx_run(f);
	return a;
}

int status_of(const char *a)
{
	return strncmp(a, "HTTP/1.1 ", 9) == 0 ? atoi(a + 9) : -1;
}

const char *body_of(const char *a)
{
	const char *p = strstr(a, "\r\n\r\n");

	return p ? p + 4 : "";
}

bool has(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}
