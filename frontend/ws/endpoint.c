/*
 * endpoint.c - the endpoints that plugins mount, and which of them a path belongs to. Worker process.
 *
 * A path is compared segment by segment with mount + pattern. There are few endpoints and one look-up per connection,
 * so a list does.
 */
#include "frontend/ws/engine.h"

#include <stdio.h>
#include <stdlib.h>

/* The next segment of a path that begins with '/'; false at its end. "/" has one, empty, segment. */
static bool segment_next(sl_slice *rest, sl_slice *segment)
{
	const char *p = rest->data, *slash;

	if (rest->len == 0)
		return false;
	slash = memchr(p + 1, '/', rest->len - 1);
	*segment = SL_SLICE(p + 1, slash ? (size_t)(slash - p - 1) : rest->len - 1);
	*rest = SL_SLICE(p + 1 + segment->len, rest->len - 1 - segment->len);
	return true;
}

/* Splits mount + pattern into segments. ":name" and "*" mean something in the pattern only, not in the mount. */
static int endpoint_compile(struct ws_endpoint *e, size_t mount_len)
{
	sl_slice rest = sl_slice_str(e->text), text;
	struct ws_segment segment[WS_SEGMENTS_MAX];
	size_t n = 0;

	while (segment_next(&rest, &text)) {
		const char *p = text.data;
		bool pattern = p > e->text + mount_len;
		enum ws_segment_kind kind = WS_LITERAL;

		if (n == WS_SEGMENTS_MAX)
			return SLUICE_EINVAL;
		if (pattern && text.len > 0 && *p == ':')
			kind = WS_PARAM;
		else if (pattern && sl_slice_is(text, "*"))
			kind = WS_REST;
		if ((kind == WS_PARAM && text.len == 1) || (kind == WS_REST && rest.len > 0))
			return SLUICE_EINVAL;
		segment[n++] = (struct ws_segment){kind, text};
	}
	e->segment = malloc((n + 1) * sizeof *e->segment);
	if (!e->segment)
		return SLUICE_ENOMEM;
	memcpy(e->segment, segment, n * sizeof *segment);
	e->n_segment = n;
	return 0;
}

static void endpoint_free(struct ws_endpoint *e)
{
	if (!e)
		return;
	free(e->text);
	free(e->subprotocols);
	free(e->action);
	free(e->token_query);
	free(e->segment);
	free(e);
}

static int endpoint_copy(struct ws_endpoint *e, const struct ws_mount *mount)
{
	size_t n = mount->path_len + strlen(e->pub.pattern) + 1;

	e->text = malloc(n);
	e->action = strdup(e->pub.action ? e->pub.action : "");
	e->subprotocols = strdup(e->pub.subprotocols ? e->pub.subprotocols : "");
	e->token_query = e->pub.token_query ? strdup(e->pub.token_query) : NULL;
	if (!e->text || !e->action || !e->subprotocols || (e->pub.token_query && !e->token_query))
		return SLUICE_ENOMEM;
	/* The pattern "/" means the mount itself: "/chat" and "/chat/" both. */
	e->whole_mount = mount->path_len > 0 && strcmp(e->pub.pattern, "/") == 0;
	snprintf(e->text, n, "%.*s%s", (int)mount->path_len, mount->ctx->mount, e->whole_mount ? "" : e->pub.pattern);
	e->pub.pattern = e->text + mount->path_len;
	e->pub.action = e->action;
	e->pub.token_query = e->token_query;
	e->pub.subprotocols = e->subprotocols;
	return 0;
}

int ws_endpoint_add(struct ws_mount *mount, const struct sluice_endpoint *pub)
{
	struct ws_engine *engine = mount->engine;
	struct ws_endpoint *e;
	int rc;

	if (engine->n_endpoints == WS_ENDPOINTS_MAX)
		return SLUICE_EFULL;
	e = calloc(1, sizeof *e);
	if (!e)
		return SLUICE_ENOMEM;
	/* A plugin built against an older header brings a shorter struct; what it lacks is zero. */
	memcpy(&e->pub, pub, pub->size < sizeof e->pub ? pub->size : sizeof e->pub);
	e->mount = mount;
	if (!e->pub.pattern || *e->pub.pattern != '/' || !e->pub.open || !e->pub.message || !e->pub.closed) {
		free(e);
		return SLUICE_EINVAL;
	}
	rc = endpoint_copy(e, mount);
	if (rc == 0)
		rc = endpoint_compile(e, mount->path_len);
	if (rc) {
		endpoint_free(e);
		return rc;
	}
	e->next = engine->endpoints;
	engine->endpoints = e;
	engine->n_endpoints++;
	return 0;
}

static bool endpoint_matches(const struct ws_endpoint *e, sl_slice path)
{
	sl_slice text;
	size_t i;

	for (i = 0; i < e->n_segment; i++) {
		const struct ws_segment *s = &e->segment[i];

		if (s->kind == WS_REST)
			return path.len > 1; /* '/' and at least one byte */
		if (!segment_next(&path, &text))
			return false;
		if (s->kind == WS_PARAM ? text.len == 0 : !sl_slice_eq(text, s->text))
			return false;
	}
	return path.len == 0 || (e->whole_mount && path.len == 1);
}

/* < 0: a is the more specific one. Both match the same path, or are asked whether they are equal. */
static int endpoint_compare(const struct ws_endpoint *a, const struct ws_endpoint *b)
{
	for (size_t i = 0; i < a->n_segment && i < b->n_segment; i++) {
		const struct ws_segment *s = &a->segment[i], *t = &b->segment[i];

		if (s->kind != t->kind)
			return s->kind < t->kind ? -1 : 1;
		if (s->kind == WS_LITERAL && !sl_slice_eq(s->text, t->text))
			return sl_slice_cmp(s->text, t->text);
	}
	return a->n_segment == b->n_segment ? 0 : a->n_segment > b->n_segment ? -1 : 1;
}

const struct ws_endpoint *ws_endpoint_find(const struct ws_engine *engine, sl_slice path)
{
	const struct ws_endpoint *best = NULL;

	for (const struct ws_endpoint *e = engine->endpoints; e; e = e->next)
		if (endpoint_matches(e, path) && (!best || endpoint_compare(e, best) < 0))
			best = e;
	return best;
}

int ws_endpoint_clash(const struct ws_engine *engine, const char **why)
{
	static char text[512];

	for (const struct ws_endpoint *a = engine->endpoints; a; a = a->next)
		for (const struct ws_endpoint *b = a->next; b; b = b->next)
			if (endpoint_compare(a, b) == 0) {
				snprintf(text, sizeof text, "%s of %s and %s of %s are the same WebSocket endpoint",
				         b->text, b->mount->ctx->name, a->text, a->mount->ctx->name);
				*why = text;
				return SLUICE_EEXIST;
			}
	return 0;
}

void ws_endpoints_free(struct ws_engine *engine)
{
	while (engine->endpoints) {
		struct ws_endpoint *e = engine->endpoints;

		engine->endpoints = e->next;
		endpoint_free(e);
	}
}
