/* greet.c - an HTTP route: GET /greet/NAME. The first example of docs/plugin-guide.md. */
#include <sluice/plugin.h>
#include <stdio.h>
#include <stdlib.h>

struct greet { /* one for each entry of the YAML file that names this plugin */
	struct sluice_ctx *ctx;
	const struct sluice_host *host;
};

static void greet_request(void *self, struct sluice_http_req *req)
{
	struct greet *g = self;
	struct sluice_slice path = g->host->http->path(req); /* below the mount, decoded, not NUL-terminated */
	char text[256];
	int n = snprintf(text, sizeof text, "Hello, %.*s!\n", path.len > 200 ? 200 : (int)path.len,
	                 (const char *)path.data);

	g->host->http->reply(req, 200, NULL, 0, (struct sluice_slice){text, (size_t)n});
}

static int greet_configure(struct sluice_ctx *ctx, const struct sluice_host *host, const struct sluice_conf *conf,
                           void **self)
{
	struct greet *g = malloc(sizeof *g);

	(void)conf;
	if (!g)
		return SLUICE_ENOMEM;
	*g = (struct greet){ctx, host};
	*self = g;
	return SLUICE_OK;
}

static int greet_start(void *self)
{
	static const struct sluice_route route = {.size = sizeof route,
	                                          .methods = "GET",
	                                          .pattern = "/:name",
	                                          .action = "read",
	                                          .request = greet_request};
	struct greet *g = self;

	return g->host->http->route(g->ctx, &route);
}

SLUICE_PLUGIN = {SLUICE_HEAD,
                 .needs = SLUICE_CAP_HTTP,
                 .name = "greet",
                 .version = "1.0",
                 .default_mount = "/greet",
                 .configure = greet_configure,
                 .start = greet_start,
                 .stop = free};
