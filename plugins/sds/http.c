/*
 * http.c - what is asked beside the sockets: a new token, who is present, whether all is well. Plugin sds, worker process.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sds.h"

/* ---- answers ---- */

static const struct sluice_header json_header[] = {
	{{.data = "content-type", .len = 12}, {.data = "application/json", .len = 16}},
	{{.data = "cache-control", .len = 13}, {.data = "no-store", .len = 8}},
	{{.data = "retry-after", .len = 11}, {.data = "1", .len = 1}},
};

void answer_error(struct sds *s, struct sluice_http_req *http, int status, const char *text)
{
	char body[256];
	/* The texts are ours: nothing in them needs escaping. */
	int n = snprintf(body, sizeof body, "{\"error\":\"%s\"}\n", text);

	http_reply(s, http, status, json_header, status == 503 ? 3 : 2, SLICE(body, n > 0 ? (size_t)n : 0));
}

static const struct trouble {
	int status, http;
	const char *text;
} trouble_table[] = {
	{SLUICE_EINVAL, 400, "invalid request"},
	{SLUICE_ETOOBIG, 413, "too large"},
	{SLUICE_ENOTSUP, 501, "not available on this server"},
	{SLUICE_ENOENT, 404, "not found"},
	{SLUICE_EFULL, 507, "no space left"},
	{SLUICE_ENOMEM, 503, "out of memory, try again"},
	{SLUICE_EAGAIN, 503, "overloaded, try again"},
	{SLUICE_EBUSY, 503, "not available, try again"},
	{SLUICE_ELOST, 503, "the outcome is unknown, try again"},
};

void answer_trouble(struct sds *s, struct sluice_http_req *http, int status)
{
	for (size_t i = 0; i < sizeof trouble_table / sizeof *trouble_table; i++)
		if (trouble_table[i].status == status) {
			answer_error(s, http, trouble_table[i].http, trouble_table[i].text);
			return;
		}
	answer_error(s, http, 500, "internal error");
}

void answer_json(struct sds *s, struct sluice_http_req *http, json_t *v)
{
	char *text = v ? json_dumps(v, JSON_COMPACT) : NULL;

	json_decref(v);
	if (text)
		http_reply(s, http, 200, json_header, 2, SLICE(text, strlen(text)));
	else
		answer_trouble(s, http, SLUICE_ENOMEM);
	free(text);
}

/* ---- calls: requests that are not answered at once ---- */

struct call *call_new(struct sds *s, struct sluice_http_req *http, enum call_kind kind)
{
	struct call *c = calloc(1, sizeof *c);

	if (!c) {
		answer_trouble(s, http, SLUICE_ENOMEM);
		return NULL;
	}
	c->magic = CALL_MAGIC;
	c->kind = kind;
	c->s = s;
	c->http = http;
	c->began_ms = sds_now(s);
	*s->http->slot(http) = c;
	TAILQ_INSERT_TAIL(&s->calls, c, link);
	return c;
}

void call_free(struct call *c)
{
	struct sds *s = c->s;

	*s->http->slot(c->http) = NULL;
	if (c->chan)
		s->eph->cancel(c->chan);
	if (c->req)
		s->store->cancel(c->req);
	if (c->change)
		change_forget(c->change);
	s->host->payload_free(c->payload);
	free(c->clocks);
	cursor_fini(&c->cursor);
	TAILQ_REMOVE(&s->calls, c, link);
	c->magic = 0;
	free(c);
	sds_check_drained(s);
}

void call_gone(void *self, struct sluice_http_req *http)
{
	struct sds *s = self;
	struct call *c = *s->http->slot(http);

	if (c && c->magic == CALL_MAGIC)
		call_free(c);
}

/* Frees the call first: what answers may end the request. */
static void call_fail(struct call *c, int status)
{
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;

	call_free(c);
	answer_trouble(s, http, status);
}

/* ---- who asks ---- */

static slice http_bearer(struct sds *s, struct sluice_http_req *http)
{
	slice h = s->http->header(http, "authorization", 0);
	const char *p = h.data;
	size_t n = strlen("Bearer ");

	if (!p || s->http->header(http, "authorization", 1).data || h.len <= n || strncasecmp(p, "Bearer ", n) != 0)
		return SLICE(NULL, 0);
	while (n < h.len && p[n] == ' ')
		n++;
	return SLICE(p + n, h.len - n);
}

bool http_admit(struct sds *s, struct sluice_http_req *http, slice id, enum scope least)
{
	slice bearer = http_bearer(s, http);
	struct token t;
	enum verdict verdict = bearer.data ? token_check(s, bearer, id, &t) : TOKEN_BAD;

	if (!bearer.data)
		answer_error(s, http, 401, "missing token");
	else if (verdict == TOKEN_BAD)
		answer_error(s, http, 401, "invalid token");
	else if (verdict == TOKEN_FOREIGN)
		answer_error(s, http, 403, "the token is for another store");
	if (verdict != TOKEN_GOOD) {
		++*(verdict == TOKEN_FOREIGN ? s->count.refused_4003 : s->count.refused_4001);
		return false;
	}
	token_fini(&t);
	if (t.scope >= least)
		return true;
	answer_error(s, http, 403, least == SCOPE_ADMIN ? "admin scope required" : "write scope required");
	return false;
}

/* The id of the store in a path; false: answered. */
static bool http_id(struct sds *s, struct sluice_http_req *http, const char *marker, char id[ID_MAX], size_t *n)
{
	slice part;
	size_t parts;

	if (path_split(s->http->target(http), marker, &part, 1, &parts) && id_decode(part, id, n))
		return true;
	answer_error(s, http, 404, "not found");
	return false;
}

/* ---- tokens (B.3) ---- */

/* The checks behind the token's, in the order of the original. NULL: answered. */
static char *token_make(struct sds *s, struct sluice_http_req *http, json_t *body, const json_t *aud)
{
	const json_t *sub = json_object_get(body, "sub"), *scope = json_object_get(body, "scope");
	int64_t now = (int64_t)(sds_wall(s) / 1000);
	enum scope known;
	char *text;

	if (!json_is_string(sub) || !json_is_string(scope)) {
		answer_error(s, http, 400, "sub and scope required");
		return NULL;
	}
	if (!scope_parse(SLICE(json_string_value(scope), json_string_length(scope)), &known)) {
		answer_error(s, http, 400, "scope is read, write or admin");
		return NULL;
	}
	text = token_sign(s, sub, scope, aud, now, now + token_lifetime(json_object_get(body, "exp")));
	if (!text)
		answer_trouble(s, http, SLUICE_ENOMEM);
	return text;
}

static void token_answer(struct sds *s, struct sluice_http_req *http, const struct token *t)
{
	struct sluice_payload *payload = s->http->payload(http);
	void *data = NULL;
	size_t len = 0;
	json_t *body = NULL;
	char *text;

	if (payload && s->host->payload_map(payload, &data, &len) == 0)
		body = json_loadb(data, len, JSON_ALLOW_NUL, NULL);
	s->host->payload_free(payload);
	if (!body) {
		answer_error(s, http, 400, "invalid JSON body");
		return;
	}
	text = token_make(s, http, body, t->aud);
	if (text)
		answer_json(s, http, json_pack("{s:s}", "token", text));
	free(text);
	json_decref(body);
}

void token_request(void *self, struct sluice_http_req *http)
{
	struct sds *s = self;
	slice bearer = http_bearer(s, http);
	struct token t = {0};

	if (!bearer.data) {
		answer_error(s, http, 401, "missing token");
	} else if (token_check(s, bearer, SLICE(NULL, 0), &t) != TOKEN_GOOD) {
		++*s->count.refused_4001;
		answer_error(s, http, 401, "invalid token");
	} else if (t.scope != SCOPE_ADMIN) {
		answer_error(s, http, 403, "admin scope required");
	} else {
		token_answer(s, http, &t);
	}
	token_fini(&t);
}

/* ---- who is present (G.4) ---- */

static void presence_answer(struct sds *s, struct sluice_http_req *http, json_t *list)
{
	answer_json(s, http, list ? json_pack("{s:o}", "peers", list) : NULL);
}

static void presence_state(void *arg, const struct sluice_channel_state *st)
{
	struct call *c = arg;
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;

	c->chan = NULL;
	if (st->status) {
		call_fail(c, st->status);
		return;
	}
	call_free(c);
	presence_answer(s, http, presence_list(st->kept, st->n_kept));
}

void presence_request(void *self, struct sluice_http_req *http)
{
	struct sds *s = self;
	char id[ID_MAX], name[ID_MAX + 16];
	struct sluice_channel channel;
	struct room where = {.kind = ROOM_SYNC};
	struct call *c;
	size_t n;
	int rc;

	if (!http_id(s, http, "/api/presence/", id, &n) || !http_admit(s, http, SLICE(id, n), SCOPE_READ))
		return;
	memcpy(where.id, id, n);
	where.n_id = n;
	channel_name(&where, name, &channel);
	c = call_new(s, http, CALL_PRESENCE);
	if (!c)
		return;
	rc = s->eph->bootstrap(s->ctx, &channel, 0, presence_state, c, &c->chan);
	if (rc == 0)
		return;
	c->chan = NULL;
	if (rc != SLUICE_ENOTSUP) {
		call_fail(c, rc);
		return;
	}
	call_free(c);
	presence_answer(s, http, presence_list_room(room_find(s, ROOM_SYNC, SLICE(id, n))));
}

/* ---- health ---- */

static void health_answer(struct sds *s, struct sluice_http_req *http, bool well)
{
	if (well)
		answer_json(s, http, json_pack("{s:s}", "status", "ok"));
	else
		answer_error(s, http, 503, "the store-writer does not answer");
}

static void health_done(void *arg, const struct sluice_result *r, size_t n)
{
	struct call *c = arg;
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;
	bool well = r->status == 0 || r->status == SLUICE_ENOENT;

	(void)n;
	c->req = NULL;
	call_free(c);
	health_answer(s, http, well);
}

/* Something that changes nothing and that only the writer can answer. */
void health_request(void *self, struct sluice_http_req *http)
{
	struct sds *s = self;
	const struct sluice_op op = {.size = sizeof op, .kind = SLUICE_OP_REMOVE, .stream = STR("__sds")};
	struct call *c = call_new(s, http, CALL_HEALTH);

	if (!c || s->store->submit(s->ctx, &op, 1, health_done, c, &c->req) == 0) {
		sds_tick_soon(s);
		return;
	}
	c->req = NULL;
	call_free(c);
	health_answer(s, http, false);
}

void calls_tick(struct sds *s)
{
	uint64_t now = sds_now(s);
	struct call *c, *next;

	for (c = TAILQ_FIRST(&s->calls); c; c = next) {
		struct sluice_http_req *http = c->http;

		next = TAILQ_NEXT(c, link);
		if (c->kind != CALL_HEALTH || now - c->began_ms < HEALTH_MS)
			continue;
		call_free(c);
		health_answer(s, http, false);
	}
}
