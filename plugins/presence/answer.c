/*
 * answer.c - short answers and errors. Plugin presence, worker process.
 */
#include <stdio.h>

#include "presence.h"

void answer_error(struct presence *p, struct sluice_http_req *http, int status, const char *code, const char *text)
{
	const struct sluice_header header[] = {{STR("content-type"), STR("application/json")},
	                                       {STR("cache-control"), STR("no-store")},
	                                       {STR("retry-after"), STR("1")}};
	char body[512];
	/* Codes and texts are ours: nothing in them needs escaping. */
	int n = snprintf(body, sizeof body, "{\"error\":\"%s\",\"code\":\"%s\"}\n", text, code);

	++*p->n_refused;
	p->http->reply(http, status, header, status == 503 ? 3 : 2, SLICE(body, n > 0 ? (size_t)n : 0));
}

static const struct trouble {
	int status, http;
	const char *code, *text;
} trouble_table[] = {
	{SLUICE_EINVAL, 400, "malformed_ephemeral_update",
         "The body is not an update of ephemeral state; nothing was changed."},
	{SLUICE_ETOOBIG, 413, "too_large", "The channel, or all channels together, would grow beyond their limits."},
	{SLUICE_ENOTSUP, 501, "not_available", "No frontend of this server mounts the presence plugin."},
	{SLUICE_ENOMEM, 503, "unavailable", "Out of memory; try again."},
	{SLUICE_EAGAIN, 503, "unavailable", "Too much is under way; try again."},
	{SLUICE_EBUSY, 503, "unavailable", "The presence worker is starting; try again."},
	{SLUICE_ELOST, 503, "unavailable", "The presence worker went away; try again."},
};

void answer_trouble(struct presence *p, struct sluice_http_req *http, int status)
{
	for (size_t i = 0; i < sizeof trouble_table / sizeof *trouble_table; i++)
		if (trouble_table[i].status == status) {
			answer_error(p, http, trouble_table[i].http, trouble_table[i].code, trouble_table[i].text);
			return;
		}
	answer_error(p, http, 500, "internal", "Internal error.");
}

void answer_empty(struct presence *p, struct sluice_http_req *http)
{
	p->http->reply(http, 204, NULL, 0, SLICE(NULL, 0));
}
