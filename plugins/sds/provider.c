/*
 * provider.c - the persistence provider by HTTP (E, G.3): snapshot, patches and values of engines without a disk. Plugin sds, worker
 * process.
 *
 * Everything lies below the name of the store's log. A replica's snapshot is the snapshot of an empty stream, with its clock in the type;
 * a patch is a stream of its own, named so that the order of names is that of clocks; values are in values.c. What is made twice is
 * made once because making a stream that is there changes nothing.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sds.h"

enum { PRUNE_BATCH = 256, LIST_BATCH = 256, PENDING_MAX = 256 << 10 };
#define CLOCK_MAX ((INT64_C(1) << 53) - 1)

/* ---- names ---- */

/* Negative ones before the others. */
static void clock_name(int64_t clock, char out[17])
{
	snprintf(out, 17, "%016llx", (unsigned long long)((uint64_t)clock ^ UINT64_C(1) << 63));
}

static bool clock_of_name(slice name, int64_t *clock)
{
	char text[17];
	char *end;

	if (name.len < 16)
		return false;
	memcpy(text, (const char *)name.data + name.len - 16, 16);
	text[16] = '\0';
	*clock = (int64_t)(strtoull(text, &end, 16) ^ UINT64_C(1) << 63);
	return *end == '\0';
}

static bool clock_parse(slice s, int64_t *clock)
{
	const char *p = s.data;
	bool minus = s.len > 0 && p[0] == '-';
	int64_t n = 0;

	if (s.len == minus || s.len > 17)
		return false;
	for (size_t i = minus; i < s.len; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		n = n * 10 + (p[i] - '0');
	}
	*clock = minus ? -n : n;
	return n <= CLOCK_MAX;
}

/* "/s/r" + replica, "/p/r" + replica + "/": a replica without a name has a name, too. */
static size_t replica_name(const struct call *c, const char *kind, char out[BELOW_MAX])
{
	return below_store(SLICE(c->id, c->n_id), kind, SLICE(c->replica, c->n_replica), out);
}

static void patch_names(struct call *c)
{
	c->n_stream = replica_name(c, "/p/r", c->stream);
	c->stream[c->n_stream++] = '/';
	c->n_prefix = c->n_stream;
}

static void patch_name(struct call *c, int64_t clock)
{
	char text[17];

	clock_name(clock, text);
	memcpy(c->stream + c->n_prefix, text, 16);
	c->n_stream = c->n_prefix + 16;
}

/* ---- answers ---- */

static const struct sluice_header no_store = {{.data = "cache-control", .len = 13}, {.data = "no-store", .len = 8}};

/* Ends the call, too. */
static void call_reply(struct call *c, int status, slice name, int64_t value)
{
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;
	char text[24];
	int n = snprintf(text, sizeof text, "%lld", (long long)value);
	const struct sluice_header header[] = {no_store, {name, SLICE(text, n > 0 ? (size_t)n : 0)}};

	call_free(c);
	http_reply(s, http, status, header, name.data ? 2 : 1, STR(""));
}

static void call_trouble(struct call *c, int status)
{
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;
	bool started = c->started;

	call_free(c);
	if (started)
		s->http->reset(http);
	else
		answer_trouble(s, http, status);
}

static void call_refuse(struct call *c, int status, const char *text)
{
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;

	call_free(c);
	answer_error(s, http, status, text);
}

/* ---- one blob: read and sent step by step ---- */

static void blob_step(void *arg, const struct sluice_read_result *r);

static void blob_ask(struct call *c)
{
	int rc = c->s->store->read(c->s->ctx, &c->blob, blob_step, c, &c->req);

	if (rc) {
		c->req = NULL;
		call_trouble(c, rc);
	}
}

static void blob_step(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;

	c->req = NULL;
	if (r->status || r->data.len == 0 || s->http->write(http, r->data)) {
		call_trouble(c, SLUICE_EINTERNAL);
		return;
	}
	c->blob.from = r->next;
	c->blob.skip = r->skip;
	if (r->next < c->blob.until || r->skip > 0) {
		s->http->wake(http);
		return;
	}
	call_free(c);
	s->http->end(http);
}

/* c->blob is what is read, of so many bytes. */
static void blob_begin(struct call *c, uint64_t len, slice name, int64_t value)
{
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;
	char text[24];
	int n = snprintf(text, sizeof text, "%lld", (long long)value);
	const struct sluice_header header[] = {no_store,
	                                       {STR("content-type"), STR("application/octet-stream")},
	                                       {name, SLICE(text, n > 0 ? (size_t)n : 0)}};
	size_t n_header = name.data ? 3 : 2;

	if (len == 0) {
		call_free(c);
		http_reply(s, http, 200, header, n_header, STR(""));
		return;
	}
	c->started = true;
	if (http_respond(s, http, 200, header, n_header, (int64_t)len))
		call_trouble(c, SLUICE_ENOMEM);
	else
		s->http->wake(http);
}

/* ---- snapshot ---- */

static void snapshot_found(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	long long clock = 0;
	char type[96];
	int n;

	c->req = NULL;
	if (r->status == SLUICE_ENOENT || (r->status == 0 && !(r->flags & SLUICE_R_SNAPSHOT))) {
		call_refuse(c, 404, "there is no snapshot");
		return;
	}
	if (r->status) {
		call_trouble(c, r->status);
		return;
	}
	n = snprintf(type, sizeof type, "%.*s", (int)(r->snapshot_type.len < 90 ? r->snapshot_type.len : 90),
	             (const char *)r->snapshot_type.data);
	if (n > 0 && sscanf(type, "application/x-sds-snapshot; clock=%lld", &clock) != 1)
		clock = 0;
	c->blob = (struct sluice_read){.size = sizeof c->blob,
	                               .flags = SLUICE_RD_SNAPSHOT | SLUICE_RD_CONTINUE,
	                               .stream = SLICE(c->stream, c->n_stream),
	                               .until = r->snapshot_len,
	                               .incarnation = r->snapshot_id};
	blob_begin(c, r->snapshot_len, STR("sds-clock"), clock);
}

static void snapshot_get(struct call *c)
{
	struct sluice_read q = {.size = sizeof q, .flags = SLUICE_RD_SNAPSHOT};
	int rc;

	c->n_stream = replica_name(c, "/s/r", c->stream);
	q.stream = SLICE(c->stream, c->n_stream);
	rc = c->s->store->read(c->s->ctx, &q, snapshot_found, c, &c->req);
	if (rc) {
		c->req = NULL;
		call_trouble(c, rc);
	}
}

static const struct sluice_result *first_bad(const struct sluice_result *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (r[i].status && r[i].status != SLUICE_ECANCELED)
			return &r[i];
	return r;
}

static void changed_done(void *arg, const struct sluice_result *r, size_t n)
{
	struct call *c = arg;
	const struct sluice_result *bad = first_bad(r, n);

	c->req = NULL;
	if (bad->status)
		call_trouble(c, bad->status);
	else
		call_reply(c, 204, SLICE(NULL, 0), 0);
}

/* Takes the payload over; a body without bytes has none. */
static void call_submit(struct call *c, struct sluice_op *op, size_t n, sluice_done_fn *done)
{
	struct sds *s = c->s;
	int rc = s->store->submit(s->ctx, op, n, done, c, &c->req);

	if (rc == 0)
		return;
	c->req = NULL;
	s->host->payload_free(op[n - 1].payload);
	call_trouble(c, rc);
}

static void snapshot_put(struct call *c, struct sluice_payload *body)
{
	char type[64];
	int n = snprintf(type, sizeof type, "application/x-sds-snapshot; clock=%lld", (long long)c->clock);
	struct sluice_op op[2] = {
		{.size = sizeof *op, .kind = SLUICE_OP_CREATE, .content_type = STR("application/octet-stream")},
		{.size = sizeof *op, .kind = SLUICE_OP_SNAPSHOT, .flags = SLUICE_A_REPLACE, .payload = body}};

	c->n_stream = replica_name(c, "/s/r", c->stream);
	op[0].stream = op[1].stream = SLICE(c->stream, c->n_stream);
	op[1].content_type = SLICE(type, n > 0 ? (size_t)n : 0);
	if (!body)
		op[1].data = STR("");
	call_submit(c, op, 2, changed_done);
}

/* ---- patches ---- */

/* The bytes that are there already are compared with those that came, which the host has given back as its own. */
static void patch_compared(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;
	static const struct sluice_header conflict[] = {
		{{.data = "cache-control", .len = 13}, {.data = "no-store", .len = 8}},
		{{.data = "sds-conflict", .len = 12}, {.data = "1", .len = 1}}};
	const uint8_t *body = c->body;
	bool same = r->status == 0 && r->tail_pos == c->n_body && c->compared + r->data.len <= c->n_body &&
	            (r->data.len == 0 || memcmp(r->data.data, body + c->compared, r->data.len) == 0);

	c->req = NULL;
	if (same && r->data.len > 0 && (r->next < r->end || r->skip > 0)) {
		c->compared += r->data.len;
		c->blob = (struct sluice_read){.size = sizeof c->blob,
		                               .flags = SLUICE_RD_CONTINUE,
		                               .stream = SLICE(c->stream, c->n_stream),
		                               .from = r->next,
		                               .skip = r->skip,
		                               .until = r->end,
		                               .incarnation = r->incarnation};
		if (s->store->read(s->ctx, &c->blob, patch_compared, c, &c->req) == 0)
			return;
		c->req = NULL;
		same = false;
	}
	*s->count.conflicts += !same;
	call_free(c);
	http_reply(s, http, 200, conflict, same ? 1 : 2, STR(""));
}

static void patch_made(void *arg, const struct sluice_result *r, size_t n)
{
	struct call *c = arg;
	struct sluice_read q = {.size = sizeof q, .stream = SLICE(c->stream, c->n_stream), .budget = UINT64_MAX};

	(void)n;
	c->req = NULL;
	if (r->status) {
		call_trouble(c, r->status);
	} else if (r->flags & SLUICE_R_CREATED) {
		call_reply(c, 201, SLICE(NULL, 0), 0);
	} else if (c->s->store->read(c->s->ctx, &q, patch_compared, c, &c->req)) {
		c->req = NULL;
		call_reply(c, 200, SLICE(NULL, 0), 0);
	}
}

/* The body is kept for the comparison; the host copies what it is given. */
static void patch_put(struct call *c, struct sluice_payload *body)
{
	struct sds *s = c->s;
	struct sluice_op op = {
		.size = sizeof op, .kind = SLUICE_OP_CREATE, .content_type = STR("application/octet-stream"), .n_messages = 1};

	c->payload = body;
	if (body && s->host->payload_map(body, &c->body, &c->n_body)) {
		call_trouble(c, SLUICE_ENOMEM);
		return;
	}
	patch_names(c);
	patch_name(c, c->clock);
	op.stream = SLICE(c->stream, c->n_stream);
	op.data = SLICE(c->n_body ? c->body : NULL, c->n_body);
	op.n_messages = c->n_body ? 1 : 0;
	call_submit(c, &op, 1, patch_made);
}

static void patches_more(struct call *c);

/* The patches of one page of names, one behind the other. */
static void patches_next(struct call *c);

static void patch_read(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;
	bool first = !c->inside;
	uint8_t head[12];
	int rc = 0;

	c->req = NULL;
	if (r->status == SLUICE_ENOENT && first) { /* pruned meanwhile */
		patches_next(c);
		return;
	}
	if (r->status == 0 && first) {
		put_u64(head, (uint64_t)c->clock);
		put_u32(head + 8, (uint32_t)r->tail_pos);
		rc = s->http->write(http, SLICE(head, sizeof head));
	}
	if (rc == 0 && r->status == 0 && r->data.len)
		rc = s->http->write(http, r->data);
	if (r->status || rc) {
		call_trouble(c, SLUICE_EINTERNAL);
		return;
	}
	c->inside = r->data.len > 0 && (r->next < r->end || r->skip > 0);
	c->blob = (struct sluice_read){.size = sizeof c->blob,
	                               .flags = SLUICE_RD_CONTINUE,
	                               .stream = SLICE(c->stream, c->n_stream),
	                               .from = r->next,
	                               .skip = r->skip,
	                               .until = r->end,
	                               .incarnation = r->incarnation};
	if (s->http->pending(http) > PENDING_MAX)
		s->http->wake(http); /* when there is room */
	else
		patches_next(c);
}

static void patches_next(struct call *c)
{
	struct sds *s = c->s;
	struct sluice_read q = {.size = sizeof q, .budget = UINT64_MAX};
	struct sluice_http_req *http = c->http;
	int rc;

	if (!c->inside) {
		if (c->at == c->n_clocks && c->more) {
			patches_more(c);
			return;
		}
		if (c->at == c->n_clocks) {
			call_free(c);
			s->http->end(http);
			return;
		}
		c->clock = c->clocks[c->at++];
		patch_name(c, c->clock);
		q.stream = SLICE(c->stream, c->n_stream);
		c->blob = q;
	}
	rc = s->store->read(s->ctx, &c->blob, patch_read, c, &c->req);
	if (rc) {
		c->req = NULL;
		call_trouble(c, rc);
	}
}

static void patches_listed(void *arg, int status, const struct sluice_list_entry *e, size_t n, int more)
{
	static const struct sluice_header header[] = {
		{{.data = "cache-control", .len = 13}, {.data = "no-store", .len = 8}},
		{{.data = "content-type", .len = 12}, {.data = "application/octet-stream", .len = 24}}};
	struct call *c = arg;
	struct sds *s = c->s;

	c->req = NULL;
	if (status) {
		call_trouble(c, status);
		return;
	}
	c->n_clocks = c->at = 0;
	c->more = more && n > 0;
	for (size_t i = 0; i < n; i++)
		if (clock_of_name(e[i].stream, &c->clocks[c->n_clocks]))
			c->n_clocks++;
	if (c->n_clocks)
		c->since = (uint64_t)c->clocks[c->n_clocks - 1];
	if (!c->started && http_respond(s, c->http, 200, header, 2, -1)) {
		call_trouble(c, SLUICE_ENOMEM);
		return;
	}
	c->started = true;
	s->http->wake(c->http);
}

/* Names behind that of the clock in c->since. */
static void patches_more(struct call *c)
{
	struct sds *s = c->s;
	slice prefix;
	int rc;

	patch_name(c, (int64_t)c->since);
	prefix = SLICE(c->stream, c->n_prefix);
	rc = s->store->list(s->ctx, prefix, SLICE(c->stream, c->n_stream), LIST_BATCH, patches_listed, c, &c->req);
	if (rc) {
		c->req = NULL;
		call_trouble(c, rc);
	}
}

static void patches_get(struct call *c)
{
	c->clocks = calloc(LIST_BATCH, sizeof *c->clocks);
	if (!c->clocks) {
		call_trouble(c, SLUICE_ENOMEM);
		return;
	}
	patch_names(c);
	c->since = (uint64_t)c->clock;
	patches_more(c);
}

/* ---- pruning: a page of names, removed in one transaction, until none is left ---- */

static void prune_more(struct call *c);

static void prune_done(void *arg, const struct sluice_result *r, size_t n)
{
	struct call *c = arg;
	const struct sluice_result *bad = first_bad(r, n);

	c->req = NULL;
	if (bad->status && bad->status != SLUICE_ENOENT) /* somebody else prunes as well */
		call_trouble(c, bad->status);
	else if (bad->status || c->more)
		prune_more(c);
	else
		call_reply(c, 204, SLICE(NULL, 0), 0);
}

static void prune_listed(void *arg, int status, const struct sluice_list_entry *e, size_t n, int more)
{
	struct call *c = arg;
	struct sluice_op *op = calloc(PRUNE_BATCH, sizeof *op);
	size_t k = 0;
	int64_t clock;

	c->req = NULL;
	if (status || !op) {
		free(op);
		call_trouble(c, status ? status : SLUICE_ENOMEM);
		return;
	}
	while (k < n && k < PRUNE_BATCH && clock_of_name(e[k].stream, &clock) && clock < c->clock) {
		op[k] = (struct sluice_op){.size = sizeof *op, .kind = SLUICE_OP_REMOVE, .stream = e[k].stream};
		k++;
	}
	c->more = k == n && more;
	if (k > 0)
		call_submit(c, op, k, prune_done);
	else
		call_reply(c, 204, SLICE(NULL, 0), 0);
	free(op);
}

static void prune_more(struct call *c)
{
	struct sds *s = c->s;
	int rc = s->store->list(s->ctx, SLICE(c->stream, c->n_prefix), SLICE(NULL, 0), PRUNE_BATCH, prune_listed, c, &c->req);

	if (rc) {
		c->req = NULL;
		call_trouble(c, rc);
	}
}

static void patches_prune(struct call *c)
{
	patch_names(c);
	prune_more(c);
}

/* ---- values ---- */

static void value_found(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;

	c->req = NULL;
	if (r->status == SLUICE_ENOENT) {
		call_refuse(c, 404, "there is no such value");
		return;
	}
	if (r->status) {
		call_trouble(c, r->status);
		return;
	}
	c->blob = (struct sluice_read){.size = sizeof c->blob,
	                               .flags = SLUICE_RD_CONTINUE,
	                               .stream = SLICE(c->stream, c->n_stream),
	                               .from = r->earliest,
	                               .until = r->tail,
	                               .incarnation = r->incarnation};
	blob_begin(c, r->tail_pos, SLICE(NULL, 0), 0);
}

static void value_get(struct call *c)
{
	struct sluice_read q = {.size = sizeof q, .flags = SLUICE_RD_SNAPSHOT};
	int rc;

	c->n_stream = below_store(SLICE(c->id, c->n_id), "/v/", SLICE(c->name, c->n_name), c->stream);
	q.stream = SLICE(c->stream, c->n_stream);
	rc = c->s->store->read(c->s->ctx, &q, value_found, c, &c->req);
	if (rc) {
		c->req = NULL;
		call_trouble(c, rc);
	}
}

static void value_changed(void *arg, int status, const struct value_facts *facts)
{
	struct call *c = arg;
	bool put = c->kind == CALL_VALUE_PUT;
	int64_t refs = facts->refs;

	c->change = NULL;
	if (status)
		call_trouble(c, status);
	else
		call_reply(c, 204, put ? STR("sds-ref-count") : SLICE(NULL, 0), refs);
}

/* A name of 64 digits may be asked for by socket, when it is the content's. */
static bool value_good(struct call *c, struct sluice_payload *body)
{
	char hex[VALUE_NAME];
	uint8_t digest[HASH_LEN];
	void *data = NULL;
	size_t len = 0;

	if (c->n_name != VALUE_NAME || (body && c->s->host->payload_map(body, &data, &len)) || !sha256(SLICE(data, len), digest))
		return false;
	hex_put(digest, HASH_LEN, hex);
	return memcmp(hex, c->name, VALUE_NAME) == 0;
}

static void value_change(struct call *c, enum change_kind kind, struct sluice_payload *body)
{
	slice request = c->s->http->header(c->http, "sds-request-id", 0);
	struct change *change;

	if (request.data && (request.len == 0 || request.len > REQUEST_MAX)) {
		c->s->host->payload_free(body);
		call_refuse(c, 400, "SDS-Request-Id has 1 to 256 bytes");
		return;
	}
	change = change_new(c->s, kind, SLICE(c->id, c->n_id), SLICE(c->name, c->n_name));
	if (!change) {
		c->s->host->payload_free(body);
		call_trouble(c, SLUICE_ENOMEM);
		return;
	}
	if (request.data)
		change_once(change, SLICE(c->id, c->n_id), request);
	change->payload = body;
	change->good = kind == CHANGE_SAVE && value_good(c, body);
	change->done = value_changed;
	change->arg = c;
	c->change = change;
	change_run(change);
}

static void value_put(struct call *c, struct sluice_payload *body)
{
	value_change(c, CHANGE_SAVE, body);
}

static void value_release(struct call *c)
{
	value_change(c, CHANGE_RELEASE, NULL);
}

/* ---- which of them ---- */

static const struct provided {
	enum call_kind kind;
	const char *method, *what;
	bool named, writes;     /* a part of the path behind it; needs a scope that may write */
	const char *argument;   /* a clock in the query */
	bool needed;            /* which has to be there */
	void (*run)(struct call *);
	void (*take)(struct call *, struct sluice_payload *);
} provided[] = {
	{CALL_SNAPSHOT_GET, "GET", "snapshot", false, false, NULL, false, snapshot_get, NULL},
	{CALL_SNAPSHOT_PUT, "PUT", "snapshot", false, true, "clock", false, NULL, snapshot_put},
	{CALL_PATCHES_GET, "GET", "patches", false, false, "since", false, patches_get, NULL},
	{CALL_PATCH_PUT, "PUT", "patches", true, true, NULL, false, NULL, patch_put},
	{CALL_PATCHES_PRUNE, "DELETE", "patches", false, true, "before", true, patches_prune, NULL},
	{CALL_VALUE_GET, "GET", "values", true, false, NULL, false, value_get, NULL},
	{CALL_VALUE_PUT, "PUT", "values", true, true, NULL, false, NULL, value_put},
	{CALL_VALUE_RELEASE, "DELETE", "values", true, true, NULL, false, value_release, NULL},
};

static const struct provided *provided_find(slice method, const slice *part, size_t n)
{
	for (size_t i = 0; i < sizeof provided / sizeof *provided; i++)
		if (slice_is(method, provided[i].method) && n >= 2 && slice_is(part[1], provided[i].what) &&
		    n == (provided[i].named ? 3u : 2u))
			return &provided[i];
	return NULL;
}

/* Characters, not bytes. */
static bool replica_parse(struct call *c)
{
	slice s = c->s->http->query(c->http, "replica", 0);
	const uint8_t *p = s.data;
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++)
		n += (p[i] & 0xc0) != 0x80;
	if (n > 128 || s.len > REPLICA_MAX || !utf8_valid(s) || (s.len && memchr(p, '\0', s.len)))
		return false;
	if (s.len)
		memcpy(c->replica, s.data, s.len);
	c->n_replica = s.len;
	return true;
}

/* What is wrong with the question; NULL: nothing. */
static const char *provider_parse(struct call *c, const slice *part)
{
	const struct provided *what = c->what;
	slice argument = what->argument ? c->s->http->query(c->http, what->argument, 0) : SLICE(NULL, 0);

	if (!replica_parse(c))
		return "replica has at most 128 characters";
	if (what->needed && !argument.data)
		return "before is missing";
	if (argument.data && !clock_parse(argument, &c->clock))
		return "a clock is a whole number between -(2^53-1) and 2^53-1";
	if (!what->named)
		return NULL;
	if (what->kind == CALL_PATCH_PUT)
		return clock_parse(part[2], &c->clock) ? NULL : "a clock is a whole number between -(2^53-1) and 2^53-1";
	if (!percent_decode(part[2], c->name, VALUE_ID_MAX, &c->n_name) || c->n_name == 0 ||
	    !utf8_valid(SLICE(c->name, c->n_name)) || memchr(c->name, '\0', c->n_name))
		return "the name of a value has 1 to 512 bytes of UTF-8";
	return NULL;
}

static void provider_run(struct call *c, const slice *part)
{
	struct sds *s = c->s;
	const char *wrong = provider_parse(c, part);

	++*s->count.provider;
	if (wrong)
		call_refuse(c, 400, wrong);
	else if (c->what->take)
		c->what->take(c, s->http->payload(c->http));
	else
		c->what->run(c);
}

void provider_request(void *self, struct sluice_http_req *http)
{
	struct sds *s = self;
	slice part[3];
	char id[ID_MAX];
	size_t n, n_id;
	const struct provided *what;
	struct call *c;

	if (!s->storage || !path_split(s->http->target(http), "/api/persistence/", part, 3, &n) ||
	    !id_decode(part[0], id, &n_id) || !(what = provided_find(s->http->method(http), part, n))) {
		answer_error(s, http, 404, "not found");
		return;
	}
	if (!http_admit(s, http, SLICE(id, n_id), what->writes ? SCOPE_WRITE : SCOPE_READ))
		return;
	c = call_new(s, http, what->kind);
	if (!c)
		return;
	c->what = what;
	memcpy(c->id, id, n_id);
	c->n_id = n_id;
	provider_run(c, part);
}

void provider_pull(void *self, struct sluice_http_req *http, size_t room)
{
	struct sds *s = self;
	struct call *c = *s->http->slot(http);

	(void)room;
	if (!c || c->magic != CALL_MAGIC || !c->started || c->req)
		return;
	if (c->kind == CALL_PATCHES_GET)
		patches_next(c);
	else
		blob_ask(c);
}
