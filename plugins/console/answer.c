/*
 * answer.c - short answers and errors. Plugin console, worker process.
 */
#include "console.h"

void answer_json(struct console *p, struct sluice_http_req *http, int status, const struct text *t)
{
	static const struct sluice_header header[] = {
		{STR("content-type"), STR("application/json")}, {STR("cache-control"), STR("no-store")}, {STR("retry-after"), STR("1")}};

	if (t->failed)
		answer_error(p, http, 503, "out of memory");
	else
		p->http->reply(http, status, header, status == 503 ? 3 : 2, text_slice(t));
}

/* The sentence is ours and short. */
void answer_error(struct console *p, struct sluice_http_req *http, int status, const char *why)
{
	static const struct sluice_header header[] = {
		{STR("content-type"), STR("application/json")}, {STR("cache-control"), STR("no-store")}, {STR("retry-after"), STR("1")}};
	struct text t = {0};

	text_puts(&t, "{\"error\":");
	text_json(&t, SLICE(why, strlen(why)));
	text_puts(&t, "}\n");
	p->http->reply(http, status, header, status == 503 ? 3 : 2, t.failed ? STR("{}\n") : text_slice(&t));
	text_fini(&t);
}

static const struct trouble {
	int status, http;
	const char *why;
} trouble_table[] = {
	{SLUICE_EINVAL, 400, "the request is malformed"},
	{SLUICE_EDENIED, 403, "this name belongs to another protocol"},
	{SLUICE_ENOENT, 404, "there is no such stream"},
	{SLUICE_EGONE, 410, "the stream is gone"},
	{SLUICE_ECLOSED, 409, "the stream is closed"},
	{SLUICE_ECONFLICT, 409, "the stream has another content type by now"},
	{SLUICE_EEXIST, 409, "the stream has another content type by now"},
	{SLUICE_ETOOBIG, 413, "that is too large"},
	{SLUICE_ENOTSUP, 501, "no frontend of this server mounts the presence plugin"},
	{SLUICE_EFULL, 507, "there is no space left on the disk"},
	{SLUICE_ELOST, 504, "the store-writer ended before it answered; whether it was done is not known"},
	{SLUICE_ENOMEM, 503, "out of memory"},
	{SLUICE_EAGAIN, 503, "too much is under way; try again"},
	{SLUICE_EBUSY, 503, "not available at the moment; try again"},
};

void answer_trouble(struct console *p, struct sluice_http_req *http, int status)
{
	for (size_t i = 0; i < sizeof trouble_table / sizeof *trouble_table; i++)
		if (trouble_table[i].status == status) {
			answer_error(p, http, trouble_table[i].http, trouble_table[i].why);
			return;
		}
	answer_error(p, http, 500, "the store cannot be read");
}
