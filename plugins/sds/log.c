/*
 * log.c - the log of a store by HTTP (H.3). Plugin sds, worker process.
 *
 * The first question brings the facts: where the log begins and ends, as records. The rest is read as the client takes it; a log that
 * goes away meanwhile cuts the answer off.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sds.h"

enum { PENDING_MAX = 256 << 10 };

static void log_cut(struct call *c)
{
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;

	call_free(c);
	s->http->reset(http);
}

static int log_record(void *arg, uint64_t start, uint64_t end, slice payload)
{
	struct call *c = arg;
	struct sds *s = c->s;
	uint8_t head[12];

	(void)start;
	(void)end;
	if (c->cursor.seq + 1 <= c->since)
		return 0;
	if (c->left == 0 || s->http->pending(c->http) > PENDING_MAX)
		return SLUICE_EAGAIN;
	put_u64(head, c->cursor.seq + 1);
	put_u32(head + 8, (uint32_t)payload.len);
	if (s->http->write(c->http, SLICE(head, sizeof head)) || s->http->write(c->http, payload))
		return SLUICE_ENOMEM;
	c->left--;
	return 0;
}

static void log_rest(void *arg, int status)
{
	struct call *c = arg;
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;

	if (status) {
		log_cut(c);
	} else if (c->left == 0 || c->cursor.at >= c->cursor.until) {
		call_free(c);
		s->http->end(http);
	} else {
		s->http->wake(http);
	}
}

void log_pull(void *self, struct sluice_http_req *http, size_t room)
{
	struct sds *s = self;
	struct call *c = *s->http->slot(http);

	(void)room;
	if (c && c->magic == CALL_MAGIC && c->kind == CALL_LOG && c->started)
		cursor_run(&c->cursor, SLICE(c->stream, c->n_stream));
}

static void log_begin(struct call *c, uint64_t head)
{
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;
	char text[24];
	int n = snprintf(text, sizeof text, "%llu", (unsigned long long)head);
	const struct sluice_header header[] = {{STR("content-type"), STR("application/octet-stream")},
	                                       {STR("cache-control"), STR("no-store")},
	                                       {STR("sds-head"), SLICE(text, n > 0 ? (size_t)n : 0)}};

	if (c->left == 0 || c->cursor.until == 0 || c->since >= head) {
		call_free(c);
		http_reply(s, http, 200, header, 3, STR(""));
		return;
	}
	c->started = true;
	if (http_respond(s, http, 200, header, 3, -1))
		log_cut(c);
	else
		s->http->wake(http);
}

static void log_facts(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;

	c->req = NULL;
	if (r->status == SLUICE_ENOENT) {
		log_begin(c, 0);
		return;
	}
	if (r->status) {
		call_free(c);
		answer_trouble(s, http, r->status);
		return;
	}
	c->cursor.seq = seq_of(r->earliest, r->earliest_pos);
	/* Before the earliest record stands what the ones before it were replaced by, unless the client has that. */
	c->cursor.at = c->since < c->cursor.seq ? 0 : r->earliest;
	c->cursor.until = r->tail;
	log_begin(c, seq_of(r->tail, r->tail_pos));
}

/* A number of a query; absent: as it is. */
static bool query_number(struct sds *s, struct sluice_http_req *http, const char *name, uint64_t *v)
{
	slice text = s->http->query(http, name, 0);
	const char *p = text.data;
	uint64_t n = 0;

	if (!p)
		return true;
	for (size_t i = 0; i < text.len; i++) {
		if (p[i] < '0' || p[i] > '9' || i > 15)
			return false;
		n = n * 10 + (uint64_t)(p[i] - '0');
	}
	*v = n;
	return text.len > 0 && !s->http->query(http, name, 1).data;
}

/* ---- what compactions have replaced ---- */

static void kept_listed(void *arg, int status, const struct sluice_list_item *item, size_t n, int more)
{
	struct call *c = arg;
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;
	json_t *list = json_array();

	(void)more;
	c->req = NULL;
	for (size_t i = 0; i < n; i++, item = (const void *)((const char *)item + item->size)) {
		slice name = item->entry.stream;

		json_array_append_new(list, json_pack("{s:o, s:I, s:I}", "name",
		                                      json_stringn((const char *)name.data + c->n_stream, name.len - c->n_stream),
		                                      "head", (json_int_t)seq_of(item->entry.tail, item->tail_pos), "created",
		                                      (json_int_t)item->entry.created_ms));
	}
	call_free(c);
	if (status) {
		json_decref(list);
		answer_trouble(s, http, status);
	} else {
		answer_json(s, http, json_pack("{s:o}", "kept", list));
	}
}

static void kept_list(struct sds *s, struct sluice_http_req *http, slice id)
{
	struct call *c = call_new(s, http, CALL_LOG);
	int rc;

	if (!c)
		return;
	c->n_stream = below_store(id, "/h/", STR(""), c->stream);
	rc = s->store->list_items(s->ctx, SLICE(c->stream, c->n_stream), SLICE(NULL, 0), 1000, kept_listed, c, &c->req);
	if (rc == 0)
		return;
	c->req = NULL;
	call_free(c);
	answer_trouble(s, http, rc);
}

/* ---- the log ---- */

void log_request(void *self, struct sluice_http_req *http)
{
	struct sds *s = self;
	uint64_t since = 0, limit = UINT64_MAX;
	struct sluice_read q = {.size = sizeof q};
	char id[ID_MAX];
	size_t n, parts;
	slice part[3];
	struct call *c;
	int rc;

	if (!s->storage || !path_split(s->http->target(http), "/api/log/", part, 3, &parts) || !id_decode(part[0], id, &n) ||
	    (parts > 1 && !slice_is(part[1], "kept"))) {
		answer_error(s, http, 404, "not found");
		return;
	}
	if (!http_admit(s, http, SLICE(id, n), parts > 1 ? SCOPE_ADMIN : SCOPE_READ))
		return;
	if (parts == 2) {
		kept_list(s, http, SLICE(id, n));
		return;
	}
	if (!query_number(s, http, "since", &since) || !query_number(s, http, "limit", &limit)) {
		answer_error(s, http, 400, "since and limit are whole numbers");
		return;
	}
	c = call_new(s, http, CALL_LOG);
	if (!c)
		return;
	cursor_init(&c->cursor, s, NULL, c);
	c->cursor.record = log_record;
	c->cursor.rest = log_rest;
	c->since = since;
	c->left = limit;
	c->n_stream = parts == 3 ? below_store(SLICE(id, n), "/h/", part[2], c->stream) : id_stream(SLICE(id, n), c->stream);
	q.stream = SLICE(c->stream, c->n_stream);
	rc = s->store->read(s->ctx, &q, log_facts, c, &c->req);
	if (rc == 0)
		return;
	c->req = NULL;
	call_free(c);
	answer_trouble(s, http, rc);
}
