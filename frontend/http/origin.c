/*
 * origin.c - whether a request may come from the page that it comes from, and by the name that it uses: its Origin and Host
 * against the lists of the configuration. Worker process.
 *
 * A browser lets any page send requests to this machine, and open WebSockets to it; Origin tells whose page it is (RFC 6454 7).
 * A page whose own name was made to lead here after it was loaded is of the same origin to the browser, which then need not send
 * one: that is told by Host.
 */
#include "frontend/http/engine.h"

#include <strings.h>

static bool text_fits(const char *text, size_t n, sl_slice s)
{
	return s.len == n && strncasecmp(text, s.data, n) == 0;
}

/* The authority without its port: "[::1]:80" is "[::1]". */
static sl_slice authority_host(sl_slice authority)
{
	const char *p = authority.data;
	size_t n = authority.len;

	while (n > 0 && p[n - 1] >= '0' && p[n - 1] <= '9')
		n--;
	return n > 0 && p[n - 1] == ':' ? SL_SLICE(p, n - 1) : authority;
}

/* The pattern is "*", or an origin whose port may be "*": any, none too. */
static bool origin_fits(const char *pattern, sl_slice origin)
{
	size_t n = strlen(pattern);

	if (strcmp(pattern, "*") == 0)
		return true;
	if (n > 2 && strcmp(pattern + n - 2, ":*") == 0)
		return text_fits(pattern, n - 2, authority_host(origin));
	return text_fits(pattern, n, origin);
}

/* A page that was got here: the console, or what a plugin serves. Behind a proxy that speaks TLS it may be of either scheme; where we speak it
 * ourselves, a page that came in clear could be anybody's in between. */
static bool origin_own(const struct sluice_http_req *r, sl_slice origin)
{
	bool clear = !r->conn || r->conn->transport == &transport_plain;
	const char *p = origin.data;
	size_t n = sl_slice_prefix(origin, SL_STR("https://")) ? 8 : clear && sl_slice_prefix(origin, SL_STR("http://")) ? 7 : 0;

	return n > 0 && r->authority.len > 0 && text_fits(p + n, origin.len - n, r->authority);
}

static bool origin_may(const struct sluice_http_req *r, sl_slice origin)
{
	const char *const *pattern = r->engine->limits.origins;

	while (*pattern && !origin_fits(*pattern, origin))
		pattern++;
	return *pattern || origin_own(r, origin);
}

/* Without Host it is HTTP/1.0 or a tool, never a browser. */
static bool host_may(const struct sluice_http_req *r)
{
	const char *const *name = r->engine->limits.hosts;
	sl_slice host = authority_host(r->authority);

	while (*name && !text_fits(*name, strlen(*name), host))
		name++;
	return *name || host.len == 0;
}

int req_place(const struct sluice_http_req *r, const char **why)
{
	sl_slice origin;

	if (r->engine->limits.hosts && !host_may(r)) {
		*why = "This server is not known by the host name of the request; it is none of its frontend's hosts.";
		return 421;
	}
	for (size_t i = 0; r->engine->limits.origins && (origin = req_header(r, "origin", i)).data; i++)
		if (!origin_may(r, origin)) {
			*why = "Pages of this origin may not use the server; it is none of its frontend's origins.";
			return 403;
		}
	return 0;
}
