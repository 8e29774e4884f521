/*
 * admit.c - whether a request may be made, how a refusal is told, whose a connection is, and the end of a token while its
 * request is being answered. Worker process.
 *
 * Who asks and what he may is the access service's business (struct auth_hooks); the engine finds the token, the action and the
 * name of the stream. A route with OWN_AUTH gets the principal and decides itself.
 */
#include "frontend/http/engine.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

static sl_slice admit_stream(struct sluice_http_req *r)
{
	const char *prefix = r->mount->ctx->prefix;
	size_t n = prefix ? strlen(prefix) : 0;
	char *p;

	if (!n)
		return r->path;
	p = req_alloc(r, n + r->path.len);
	if (!p)
		return SL_SLICE(NULL, 0);
	memcpy(p, prefix, n);
	memcpy(p + n, r->path.data, r->path.len);
	return SL_SLICE(p, n + r->path.len);
}

/* Two of them: one may have been put there by somebody who hoped that it is the one that is looked at. */
static sl_slice admit_authorization(const struct sluice_http_req *r)
{
	sl_slice given = req_header(r, "authorization", 0);

	return given.data && req_header(r, "authorization", 1).data ? SL_STR("") : given;
}

size_t req_refusal_headers(const struct auth_verdict *v, struct sluice_header *h)
{
	size_t n = 0;

	if (v->challenge)
		h[n++] = (struct sluice_header){SL_STR("www-authenticate"), sl_slice_str(v->challenge)};
	if (*v->retry_after || v->status == 503)
		h[n++] = (struct sluice_header){SL_STR("retry-after"),
		                                *v->retry_after ? sl_slice_str(v->retry_after) : SL_STR("1")};
	return n;
}

void req_refuse(struct sluice_http_req *r, const struct auth_verdict *v)
{
	struct sluice_header h[REFUSAL_HEADERS];

	req_error_with(r, v->status, v->why, h, req_refusal_headers(v, h));
}

bool req_admit(struct sluice_http_req *r)
{
	const struct auth_hooks *hooks = &r->engine->hooks.auth;
	const struct sluice_route *route = &r->route->pub;
	struct auth_ask ask = {.authorization = admit_authorization(r), .client = conn_client(r->conn)};
	struct auth_verdict v;

	if (!hooks->admit)
		return true;
	if (route->token_query && !ask.authorization.data)
		ask.token = req_query(r, route->token_query, 0);
	if (!(route->flags & SLUICE_RT_OWN_AUTH)) {
		ask.action = route->action;
		ask.stream = admit_stream(r);
		if (!ask.stream.data) {
			req_error(r, 503, "There is no memory for the request.");
			return false;
		}
	}
	hooks->admit(hooks->arg, &ask, &v);
	r->principal = v.principal;
	if (v.status) {
		req_refuse(r, &v);
		return false;
	}
	if (v.expires_ms && route->expire && ask.action) {
		r->expires_ms = v.expires_ms;
		TAILQ_INSERT_TAIL(&r->engine->expiring, r, expire_link);
	}
	return true;
}

/* ---- connections ---- */

/* An IPv6 network of 64 bits is one client: whoever has an address of it has them all. */
size_t client_key(const struct sockaddr *address, uint8_t *key)
{
	const struct sockaddr_in *v4 = (const void *)address;
	const struct sockaddr_in6 *v6 = (const void *)address;

	key[0] = (uint8_t)address->sa_family;
	if (address->sa_family == AF_INET) {
		memcpy(key + 1, &v4->sin_addr, 4);
		return 5;
	}
	if (address->sa_family != AF_INET6)
		return 1; /* a Unix socket: all who use it are one */
	if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
		key[0] = AF_INET;
		memcpy(key + 1, v6->sin6_addr.s6_addr + 12, 4);
		return 5;
	}
	memcpy(key + 1, v6->sin6_addr.s6_addr, 8);
	return 9;
}

sl_slice conn_client(const struct http_conn *c)
{
	return SL_SLICE(c->client, c->n_client);
}

void conn_leave(struct http_conn *c)
{
	if (c->entered)
		c->engine->hooks.auth.leave(c->engine->hooks.auth.arg, conn_client(c));
	c->entered = false;
}

void req_busy(struct sluice_http_req *r)
{
	struct auth_verdict v;

	r->engine->hooks.auth.busy(&v);
	req_refuse(r, &v);
}

/* ---- the end of a token ---- */

void req_expire_not(struct sluice_http_req *r)
{
	if (!r->expires_ms)
		return;
	TAILQ_REMOVE(&r->engine->expiring, r, expire_link);
	r->expires_ms = 0;
}

void req_release(struct sluice_http_req *r)
{
	req_expire_not(r);
	if (r->principal)
		r->engine->hooks.auth.release(r->principal);
	r->principal = NULL;
}

void req_expire(struct sluice_http_req *r)
{
	if (r->held && !r->lost)
		r->route->pub.expire(r->mount->ctx->self, r);
}

/* Once a second; whoever is not answered yet when his token ends is told so once. Wall clock: it is what tokens mean. */
void expiring_sweep(struct http_engine *e)
{
	struct sluice_http_req *r, *next;
	struct timespec t;
	uint64_t now;

	clock_gettime(CLOCK_REALTIME_COARSE, &t);
	now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
	for (r = TAILQ_FIRST(&e->expiring); r; r = next) {
		next = TAILQ_NEXT(r, expire_link);
		if (now < r->expires_ms)
			continue;
		req_expire_not(r);
		if (r->held && !r->lost)
			req_work(r, WORK_EXPIRE);
	}
}
