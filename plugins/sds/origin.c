/*
 * origin.c - answers for pages in browsers: which origins may read them. Plugin sds, worker process.
 *
 * None, unless the configuration names them. The token is in a header of the page's own making, so no cookie is ever asked for.
 */
#include "sds.h"

enum { HEADERS_MAX = 8 };

/* The origin of the page, when it is one of those that may; data NULL: it is not, or there is none. */
static slice origin_of(const struct sds *s, struct sluice_http_req *http)
{
	slice origin = s->http->header(http, "origin", 0);

	for (size_t i = 0; origin.data && i < s->n_origins; i++)
		if (slice_eq(origin, s->origins[i]) || slice_is(s->origins[i], "*"))
			return origin;
	return SLICE(NULL, 0);
}

static size_t origin_add(const struct sds *s, struct sluice_http_req *http, struct sluice_header all[HEADERS_MAX],
                         const struct sluice_header *header, size_t n)
{
	slice origin = origin_of(s, http);

	for (size_t i = 0; i < n; i++)
		all[i] = header[i];
	if (!origin.data)
		return n;
	all[n] = (struct sluice_header){STR("access-control-allow-origin"), origin};
	all[n + 1] = (struct sluice_header){STR("access-control-expose-headers"),
	                                    STR("sds-clock, sds-conflict, sds-head, sds-ref-count")};
	return n + 2;
}

void http_reply(struct sds *s, struct sluice_http_req *http, int status, const struct sluice_header *header, size_t n,
                slice body)
{
	struct sluice_header all[HEADERS_MAX];

	n = origin_add(s, http, all, header, n);
	s->http->reply(http, status, all, n, body);
}

int http_respond(struct sds *s, struct sluice_http_req *http, int status, const struct sluice_header *header, size_t n,
                 int64_t length)
{
	struct sluice_header all[HEADERS_MAX];

	n = origin_add(s, http, all, header, n);
	return s->http->respond(http, status, all, n, length);
}

/* The question a browser asks before. */
void options_request(void *self, struct sluice_http_req *http)
{
	static const struct sluice_header header[] = {
		{{.data = "access-control-allow-methods", .len = 28}, {.data = "GET, PUT, POST, DELETE", .len = 22}},
		{{.data = "access-control-allow-headers", .len = 28},
	         {.data = "authorization, content-type, sds-request-id", .len = 43}},
		{{.data = "access-control-max-age", .len = 22}, {.data = "600", .len = 3}},
	};
	struct sds *s = self;

	http_reply(s, http, 204, header, origin_of(s, http).data ? 3 : 0, SLICE(NULL, 0));
}
