/*
 * http.c - requests that are answered at once: write, show, list, clear. Plugin presence, worker process.
 */
#include <jansson.h>
#include <stdlib.h>

#include "presence.h"

/* The one value of a parameter. false: it is given twice. */
static bool query_one(struct presence *p, struct sluice_http_req *http, const char *name, slice *value)
{
	*value = p->http->query(http, name, 0);
	return !value->data || !p->http->query(http, name, 1).data;
}

static bool slice_is(slice s, const char *text)
{
	return s.data && s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static void call_finish(struct call *c, int status)
{
	struct presence *p = c->p;
	struct sluice_http_req *http = c->http;

	c->req = NULL; /* answered */
	call_free(c);
	if (status)
		answer_trouble(p, http, status);
	else
		answer_empty(p, http);
}

static void write_done(void *arg, int status)
{
	call_finish(arg, status);
}

void write_request(void *self, struct sluice_http_req *http)
{
	struct presence *p = self;
	struct sluice_payload *payload = p->http->payload(http);
	char name[sizeof DOOR + CHANNEL_MAX];
	struct sluice_channel channel;
	void *data = NULL;
	size_t len = 0;
	struct call *c;
	int rc;

	if (!channel_of(p->http->path(http), name, &channel)) {
		p->host->payload_free(payload);
		answer_error(p, http, 400, "bad_request", "A channel's name has 1 to 256 bytes of UTF-8.");
		return;
	}
	rc = payload ? p->host->payload_map(payload, &data, &len) : 0;
	c = rc ? NULL : call_new(p, http, CALL_WRITE);
	if (c) {
		++*p->n_updates;
		rc = p->eph->apply(p->ctx, &channel, 0, SLICE(data ? data : "", len), write_done, c, &c->req);
		if (rc) {
			call_free(c);
			answer_trouble(p, http, rc);
		}
	} else if (rc) {
		answer_trouble(p, http, rc);
	}
	p->host->payload_free(payload);
}

static void show_done(void *arg, const struct sluice_channel_state *s, const char *type)
{
	struct call *c = arg;
	struct presence *p = c->p;
	struct sluice_http_req *http = c->http;
	const struct sluice_header header[] = {{STR("content-type"), SLICE(type, strlen(type))},
	                                       {STR("cache-control"), STR("no-store")}};

	c->req = NULL;
	call_free(c);
	if (s->status)
		answer_trouble(p, http, s->status);
	else
		p->http->reply(http, 200, header, 2, s->state);
}

static void show_bytes(void *arg, const struct sluice_channel_state *s)
{
	show_done(arg, s, "application/octet-stream");
}

static void show_json(void *arg, const struct sluice_channel_state *s)
{
	show_done(arg, s, "application/json");
}

void show_request(void *self, struct sluice_http_req *http)
{
	struct presence *p = self;
	slice accept = p->http->header(http, "accept", 0), live;
	bool json = accept.data && memmem(accept.data, accept.len, "application/json", 16);
	char name[sizeof DOOR + CHANNEL_MAX];
	struct sluice_channel channel;
	struct call *c;
	int rc;

	if (!channel_of(p->http->path(http), name, &channel)) {
		answer_error(p, http, 400, "bad_request", "A channel's name has 1 to 256 bytes of UTF-8.");
	} else if (!query_one(p, http, "live", &live) || (live.data && !slice_is(live, "sse"))) {
		answer_error(p, http, 400, "invalid_live", "live is sse, or absent.");
	} else if (live.data) {
		stream_begin(p, http, &channel);
	} else {
		c = call_new(p, http, CALL_SHOW);
		if (!c)
			return;
		rc = p->eph->bootstrap(p->ctx, &channel, json ? SLUICE_CHANNEL_JSON : 0, json ? show_json : show_bytes,
		                       c, &c->req);
		if (rc) {
			call_free(c);
			answer_trouble(p, http, rc);
		}
	}
}

/* ---- the list of channels ---- */

static json_t *list_entry(const struct sluice_channel_entry *e)
{
	const size_t door = sizeof DOOR - 1;

	return json_pack("{s:o, s:I, s:I, s:I}", "channel",
	                 json_stringn((const char *)e->name.data + door, e->name.len - door), "entries",
	                 (json_int_t)e->entries, "subscribers", (json_int_t)e->subscribers, "bytes",
	                 (json_int_t)e->bytes);
}

static void list_done(void *arg, int status, const struct sluice_channel_entry *e, size_t n, int more)
{
	struct call *c = arg;
	struct presence *p = c->p;
	struct sluice_http_req *http = c->http;
	const struct sluice_header header[] = {{STR("content-type"), STR("application/json")},
	                                       {STR("cache-control"), STR("no-store")}};
	json_t *list = json_array(), *whole;
	char *text = NULL;

	c->req = NULL;
	call_free(c);
	for (size_t i = 0; status == 0 && i < n; i++)
		if (json_array_append_new(list, list_entry(&e[i])))
			status = SLUICE_ENOMEM;
	whole = json_pack("{s:o, s:b, s:o}", "channels", list, "has_more", more, "next_cursor",
	                  more && n ? json_incref(json_object_get(json_array_get(list, n - 1), "channel"))
	                            : json_null());
	if (status == 0)
		text = json_dumps(whole, JSON_COMPACT);
	json_decref(whole);
	if (text)
		p->http->reply(http, 200, header, 2, SLICE(text, strlen(text)));
	else
		answer_trouble(p, http, status ? status : SLUICE_ENOMEM);
	free(text);
}

static bool list_limit(slice s, uint32_t *limit)
{
	uint32_t n = 0;

	*limit = LIST_MAX;
	if (!s.data)
		return true;
	for (size_t i = 0; i < s.len; i++) {
		char digit = ((const char *)s.data)[i];

		if (digit < '0' || digit > '9' || i > 3)
			return false;
		n = n * 10 + (uint32_t)(digit - '0');
	}
	*limit = n;
	return s.len > 0 && n >= 1 && n <= LIST_MAX;
}

/* Behind the door; absent stays absent. false: too long. */
static bool door_put(slice name, char buf[sizeof DOOR + CHANNEL_MAX], slice *out)
{
	if (name.len > CHANNEL_MAX)
		return false;
	memcpy(buf, DOOR, sizeof DOOR - 1);
	if (name.len)
		memcpy(buf + sizeof DOOR - 1, name.data, name.len);
	*out = SLICE(buf, sizeof DOOR - 1 + name.len);
	return true;
}

void list_request(void *self, struct sluice_http_req *http)
{
	struct presence *p = self;
	char prefix_buf[sizeof DOOR + CHANNEL_MAX], after_buf[sizeof DOOR + CHANNEL_MAX];
	slice prefix, after, limit, from = SLICE(NULL, 0);
	struct call *c;
	uint32_t n;
	int rc;

	if (!query_one(p, http, "prefix", &prefix) || !query_one(p, http, "after", &after) ||
	    !query_one(p, http, "limit", &limit) || !list_limit(limit, &n) || !door_put(prefix, prefix_buf, &prefix) ||
	    (after.data && !door_put(after, after_buf, &from))) {
		answer_error(p, http, 400, "bad_request",
		             "prefix and after are channel names, limit is 1 to 1000, each at most once.");
		return;
	}
	c = call_new(p, http, CALL_LIST);
	if (!c)
		return;
	rc = p->eph->list(p->ctx, prefix, from, n, list_done, c, &c->req);
	if (rc) {
		call_free(c);
		answer_trouble(p, http, rc);
	}
}

/* ---- clearing ---- */

void clear_request(void *self, struct sluice_http_req *http)
{
	struct presence *p = self;
	char buf[sizeof DOOR + CHANNEL_MAX];
	slice prefix, terminate;
	struct call *c;
	int rc;

	if (!query_one(p, http, "prefix", &prefix) || !prefix.data || !door_put(prefix, buf, &prefix) ||
	    !query_one(p, http, "terminate", &terminate) ||
	    (terminate.data && !slice_is(terminate, "true") && !slice_is(terminate, "false"))) {
		answer_error(p, http, 400, "bad_request",
		             "prefix is required (empty: every channel); terminate is true, false or absent.");
		return;
	}
	c = call_new(p, http, CALL_WRITE);
	if (!c)
		return;
	rc = p->eph->clear(p->ctx, prefix, slice_is(terminate, "true"), write_done, c, &c->req);
	if (rc) {
		call_free(c);
		answer_trouble(p, http, rc);
	}
}

void options_request(void *self, struct sluice_http_req *http)
{
	answer_empty(self, http);
}
