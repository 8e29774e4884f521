/*
 * route.c - mounts, their default headers, route patterns and the search for the one that answers a path. Worker
 * process.
 *
 * Routes of all mounts stand in one array, most specific first: they are compared segment by segment of mount +
 * pattern, a literal before ":name" before "*". So the longest literal wins, and two routes that would be equal are
 * neighbours, which is how http_engine_ready() finds them.
 */
#include "frontend/http/engine.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define METHODS(X) X(GET) X(HEAD) X(POST) X(PUT) X(DELETE) X(OPTIONS) X(PATCH) X(QUERY) X(PROPFIND) X(REPORT) X(SEARCH)

#define METHOD_NAME(m) #m,
static const char *const method_names[] = {METHODS(METHOD_NAME)};
enum { METHOD_COUNT = sizeof method_names / sizeof *method_names };

static uint32_t method_bit(sl_slice s)
{
	for (unsigned i = 0; i < METHOD_COUNT; i++)
		if (sl_slice_is(s, method_names[i]))
			return 1u << i;
	return 0;
}

int route_allow(uint32_t methods, char *out, size_t size)
{
	int n = 0;

	*out = '\0';
	for (unsigned i = 0; i < METHOD_COUNT && (size_t)n < size; i++)
		if (methods & 1u << i)
			n += snprintf(out + n, size - (size_t)n, "%s%s", n ? ", " : "", method_names[i]);
	return n;
}

static uint32_t methods_parse(const char *s)
{
	uint32_t bits = 0;

	while (s && *s) {
		size_t n = strcspn(s, "|");
		uint32_t bit = method_bit(SL_SLICE(s, n));

		if (!bit)
			return 0;
		bits |= bit;
		s += n + (s[n] == '|');
	}
	return bits;
}

/* ---- patterns ---- */

static size_t pattern_split(sl_slice s, struct route_seg *seg, size_t max)
{
	const char *p = s.data;
	size_t n = 0;

	/* "/a/b" has the segments "a" and "b"; "/" has one that is empty; "" has none. */
	for (size_t i = 0; i < s.len && n < max; n++) {
		const char *slash;
		size_t end;

		i++; /* the slash before the segment */
		slash = i < s.len ? memchr(p + i, '/', s.len - i) : NULL;
		end = slash ? (size_t)(slash - p) : s.len;
		seg[n].text = SL_SLICE(p + i, end - i);
		if (end - i == 1 && p[i] == '*' && end == s.len)
			seg[n].kind = SEG_REST;
		else
			seg[n].kind = end > i + 1 && p[i] == ':' ? SEG_PARAM : SEG_LITERAL;
		i = end;
	}
	return n;
}

static int seg_cmp(const struct route_seg *a, const struct route_seg *b)
{
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->kind == SEG_LITERAL ? sl_slice_cmp(a->text, b->text) : 0;
}

static int route_pattern_cmp(const struct http_route *a, const struct http_route *b)
{
	for (size_t i = 0; i < a->n_seg && i < b->n_seg; i++) {
		int c = seg_cmp(&a->seg[i], &b->seg[i]);

		if (c)
			return c;
	}
	/* Where one ends the other goes on: they match no common path, unless by "*"; the longer first. */
	return (a->n_seg < b->n_seg) - (a->n_seg > b->n_seg);
}

static int route_cmp(const void *x, const void *y)
{
	return route_pattern_cmp(*(struct http_route *const *)x, *(struct http_route *const *)y);
}

static bool route_match_path(const struct http_route *r, sl_slice path)
{
	const char *p = path.data;
	size_t i = 0;

	if (!sl_slice_prefix(path, SL_SLICE(r->full, r->n_fixed)))
		return false;
	for (size_t k = 0; k < r->n_seg; k++) {
		const char *slash;
		size_t end;

		if (i >= path.len || p[i] != '/')
			return false;
		i++;
		if (r->seg[k].kind == SEG_REST)
			return i < path.len;
		slash = i < path.len ? memchr(p + i, '/', path.len - i) : NULL;
		end = slash ? (size_t)(slash - p) : path.len;
		if (r->seg[k].kind == SEG_PARAM ? end == i : !sl_slice_eq(r->seg[k].text, SL_SLICE(p + i, end - i)))
			return false;
		i = end;
	}
	return i == path.len;
}

int route_find(const struct http_engine *e, sl_slice path, sl_slice method, struct route_match *m)
{
	uint32_t bit = method_bit(method);
	const struct http_route *first = NULL;

	*m = (struct route_match){0};
	for (size_t i = 0; i < e->n_routes; i++) {
		const struct http_route *r = e->routes[i];

		if (first && route_pattern_cmp(first, r) != 0)
			break;
		if (!first && !route_match_path(r, path))
			continue;
		if (!first)
			first = r;
		m->allow |= r->methods;
		m->mount = r->mount;
		if (r->methods & bit) {
			m->route = r;
			return 0;
		}
	}
	if (first)
		return 405;
	m->mount = mount_find(e, path);
	return 404;
}

/* ---- mounts ---- */

const struct http_mount *mount_find(const struct http_engine *e, sl_slice path)
{
	const struct http_mount *best = NULL;

	for (const struct http_mount *m = e->mounts; m; m = m->next) {
		if (!sl_slice_prefix(path, m->path))
			continue;
		if (path.len > m->path.len && ((const char *)path.data)[m->path.len] != '/')
			continue;
		if (!best || m->path.len > best->path.len)
			best = m;
	}
	return best;
}

int http_mount_new(struct http_engine *e, struct sluice_ctx *ctx)
{
	struct http_mount *m = calloc(1, sizeof *m);
	struct http_mount **end = &e->mounts;

	if (!m)
		return SLUICE_ENOMEM;
	m->magic = MOUNT_MAGIC;
	m->engine = e;
	m->ctx = ctx;
	m->path = sl_slice_str(ctx->mount);
	while (m->path.len && ctx->mount[m->path.len - 1] == '/')
		m->path.len--;
	while (*end)
		end = &(*end)->next;
	*end = m;
	ctx->http = m;
	return 0;
}

int mount_defaults(struct http_mount *m, const struct sluice_header *h, size_t n)
{
	size_t bytes = 0;
	char *p;

	if (m->engine->ready) /* answers that are on their way refer to them */
		return SLUICE_EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (!header_name_valid(h[i].name) || !header_value_valid(h[i].value))
			return SLUICE_EINVAL;
		bytes += h[i].name.len + h[i].value.len;
	}
	free(m->defaults);
	free(m->default_text);
	m->n_defaults = 0;
	m->defaults = calloc(n + 1, sizeof *m->defaults);
	m->default_text = p = malloc(bytes + 1);
	if (!m->defaults || !p)
		return SLUICE_ENOMEM;
	for (size_t i = 0; i < n; i++) {
		m->defaults[i] = (struct sluice_header){.name = SL_SLICE(p, h[i].name.len),
		                                        .value = SL_SLICE(p + h[i].name.len, h[i].value.len)};
		memcpy(p, h[i].name.data, h[i].name.len);
		if (h[i].value.len)
			memcpy(p + h[i].name.len, h[i].value.data, h[i].value.len);
		p += h[i].name.len + h[i].value.len;
	}
	m->n_defaults = n;
	return 0;
}

int mount_errors(struct http_mount *m, const char *content_type, size_t (*fn)(int, const char *, char *, size_t))
{
	char *type;

	if (!fn || !header_value_valid(sl_slice_str(content_type)))
		return SLUICE_EINVAL;
	type = strdup(content_type);
	if (!type)
		return SLUICE_ENOMEM;
	free(m->error_type);
	m->error_type = type;
	m->error_fn = fn;
	return 0;
}

sl_slice mount_error(const struct http_mount *m, int status, const char *sentence, char body[ERROR_BODY], sl_slice *type)
{
	size_t n;

	if (m && m->error_type) {
		*type = sl_slice_str(m->error_type);
		n = m->error_fn(status, sentence, body, ERROR_BODY);
		return SL_SLICE(body, n < ERROR_BODY ? n : ERROR_BODY);
	}
	*type = SL_STR("text/plain; charset=utf-8");
	n = (size_t)snprintf(body, ERROR_BODY, "%.*s\n", ERROR_BODY - 2, sentence);
	return SL_SLICE(body, n);
}

/* ---- adding, sorting, freeing ---- */

static void route_free(struct http_route *r)
{
	if (!r)
		return;
	free((char *)(uintptr_t)r->pub.methods);
	free((char *)(uintptr_t)r->pub.action);
	free((char *)(uintptr_t)r->pub.token_query);
	free(r->full);
	free(r->seg);
	free(r);
}

static struct http_route *route_new(struct http_mount *m, const struct sluice_route *pub)
{
	struct http_route *r = calloc(1, sizeof *r);
	size_t size = pub->size < sizeof r->pub ? pub->size : sizeof r->pub;
	const char *token_query;
	size_t n;

	if (!r)
		return NULL;
	memcpy(&r->pub, pub, size);
	r->mount = m;
	r->methods = methods_parse(pub->methods);
	r->pub.methods = strdup(pub->methods);
	r->pub.action = strdup(pub->action ? pub->action : "");
	/* A plugin built against an older header brings a shorter struct; what it lacks is zero. */
	token_query = r->pub.token_query;
	r->pub.token_query = token_query ? strdup(token_query) : NULL;
	n = m->path.len + strlen(pub->pattern);
	r->full = malloc(n + 1);
	r->seg = calloc(n + 1, sizeof *r->seg);
	if (!r->pub.methods || !r->pub.action || (token_query && !r->pub.token_query) || !r->full || !r->seg) {
		route_free(r);
		return NULL;
	}
	memcpy(r->full, m->path.data, m->path.len);
	memcpy(r->full + m->path.len, pub->pattern, n + 1 - m->path.len);
	r->pub.pattern = r->full + m->path.len;
	r->n_seg = pattern_split(SL_SLICE(r->full, n), r->seg, n + 1);
	r->n_fixed = n;
	for (size_t i = r->n_seg; i-- > 0;)
		if (r->seg[i].kind != SEG_LITERAL)
			r->n_fixed = (size_t)((const char *)r->seg[i].text.data - r->full);
	return r;
}

int route_add(struct http_mount *m, const struct sluice_route *pub)
{
	struct http_engine *e = m->engine;
	struct http_route **routes, *r;

	if (pub->size < offsetof(struct sluice_route, gone) + sizeof pub->gone || !pub->methods || !pub->pattern ||
	    !pub->request)
		return SLUICE_EINVAL;
	if (!methods_parse(pub->methods) || (*pub->pattern && *pub->pattern != '/'))
		return SLUICE_EINVAL;
	r = route_new(m, pub);
	routes = r ? realloc(e->routes, (e->n_routes + 1) * sizeof(*routes)) : NULL;
	if (!routes) {
		route_free(r);
		return SLUICE_ENOMEM;
	}
	e->routes = routes;
	e->routes[e->n_routes++] = r;
	return 0;
}

static int ready_refuse(const struct http_route *a, const struct http_route *b, const char **why)
{
	static char text[640];

	snprintf(text, sizeof text, "%.60s %.150s of %.30s and %.60s %.150s of %.30s are the same route",
	         a->pub.methods, a->full, a->mount->ctx->name, b->pub.methods, b->full, b->mount->ctx->name);
	*why = text;
	return SLUICE_EEXIST;
}

/* A route that gives way to an equal one keeps what methods the other one lacks. */
static bool ready_yields(struct http_route *a, const struct http_route *b)
{
	if (!(a->pub.flags & SLUICE_RT_YIELD) || (b->pub.flags & SLUICE_RT_YIELD))
		return false;
	a->methods &= ~b->methods;
	return true;
}

int http_engine_ready(struct http_engine *e, const char **why)
{
	assert(e->magic == ENGINE_MAGIC);
	if (e->n_routes > 1)
		qsort(e->routes, e->n_routes, sizeof *e->routes, route_cmp);
	for (size_t i = 0; i < e->n_routes; i++)
		for (size_t k = i + 1; k < e->n_routes && route_pattern_cmp(e->routes[i], e->routes[k]) == 0; k++)
			if (!ready_yields(e->routes[i], e->routes[k]) && !ready_yields(e->routes[k], e->routes[i]) &&
			    (e->routes[i]->methods & e->routes[k]->methods))
				return ready_refuse(e->routes[i], e->routes[k], why);
	e->ready = true;
	return 0;
}

void routes_free(struct http_engine *e)
{
	struct http_mount *m;

	for (size_t i = 0; i < e->n_routes; i++)
		route_free(e->routes[i]);
	free(e->routes);
	e->routes = NULL;
	e->n_routes = 0;
	while ((m = e->mounts)) {
		e->mounts = m->next;
		m->ctx->http = NULL;
		m->magic = 0;
		free(m->error_type);
		free(m->defaults);
		free(m->default_text);
		free(m);
	}
}
