/*
 * note.c - a WebSocket endpoint: each message to /note/NAME is appended to the stream NAME and confirmed when it is on disk. The
 * second example of docs/plugin-guide.md.
 *
 * A client has one append under way and is not read from meanwhile, so nothing queues up here.
 */
#include <sluice/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct note {
	struct sluice_ctx *ctx;
	const struct sluice_host *host;
};

struct client { /* one for each connection; what its slot points to */
	struct note *note;
	struct sluice_ws *ws;
	struct sluice_req *req; /* the append under way; NULL: none */
};

static struct sluice_slice text_of(const char *s)
{
	return (struct sluice_slice){s, strlen(s)};
}

static int note_open(void *self, struct sluice_ws *ws)
{
	struct note *note = self;
	struct client *c = malloc(sizeof *c);

	if (!c)
		return SLUICE_ENOMEM; /* refuses the client */
	*c = (struct client){note, ws, NULL};
	*note->host->ws->slot(ws) = c;
	return SLUICE_OK;
}

/* The writer has answered: one result for each operation; the first that failed says why none was done. */
static void note_done(void *arg, const struct sluice_result *r, size_t n)
{
	struct client *c = arg;
	const struct sluice_ws_host *ws = c->note->host->ws;
	const struct sluice_result *last = &r[n - 1];
	char text[64];

	c->req = NULL;
	for (size_t i = 0; i < n; i++)
		if (r[i].status != SLUICE_OK && r[i].status != SLUICE_ECANCELED) {
			ws->close(c->ws, 4000, r[i].message);
			return;
		}
	snprintf(text, sizeof text, "kept %llu", (unsigned long long)last->tail);
	if (ws->send(c->ws, text_of(text), 0) != SLUICE_OK)
		ws->close(c->ws, 1008, "read what you are sent");
	ws->pause(c->ws, 0);
}

static void note_message(void *self, struct sluice_ws *ws, struct sluice_slice message, int binary)
{
	struct note *note = self;
	struct client *c = *note->host->ws->slot(ws);
	struct sluice_slice stream = note->host->ws->path(ws);
	const struct sluice_slice type = text_of("text/plain");
	const struct sluice_op ops[] = {
		/* A stream that is there already is as good as one that is made now. */
		{.size = sizeof ops[0], .kind = SLUICE_OP_CREATE, .stream = stream, .content_type = type},
		{.size = sizeof ops[0],
	         .kind = SLUICE_OP_APPEND,
	         .stream = stream,
	         .content_type = type,
	         .data = message},
	};

	if (binary || message.len == 0)
		note->host->ws->close(ws, 1003, "text, please");
	else if (note->host->store->submit(note->ctx, ops, 2, note_done, c, &c->req) != SLUICE_OK)
		note->host->ws->close(ws, 1013, "busy, come back later");
	else
		note->host->ws->pause(ws, 1);
}

static void note_closed(void *self, struct sluice_ws *ws, int code)
{
	struct note *note = self;
	struct client *c = *note->host->ws->slot(ws);

	(void)code;
	if (c->req) /* forgets the answer; what was submitted happens all the same */
		note->host->store->cancel(c->req);
	free(c);
}

static int note_configure(struct sluice_ctx *ctx, const struct sluice_host *host, const struct sluice_conf *conf,
                          void **self)
{
	struct note *note = malloc(sizeof *note);

	(void)conf;
	if (!note)
		return SLUICE_ENOMEM;
	*note = (struct note){ctx, host};
	*self = note;
	return SLUICE_OK;
}

static int note_start(void *self)
{
	static const struct sluice_endpoint endpoint = {
		.size = sizeof endpoint,
		.pattern = "/*",
		.action = "append",
		.max_message = 64 * 1024,
		.open = note_open,
		.message = note_message,
		.closed = note_closed,
	};
	struct note *note = self;

	return note->host->ws->endpoint(note->ctx, &endpoint);
}

SLUICE_PLUGIN = {
	SLUICE_HEAD,
	.needs = SLUICE_CAP_WS | SLUICE_CAP_STORE,
	.name = "note",
	.version = "1.0",
	.default_mount = "/note",
	.configure = note_configure,
	.start = note_start,
	.stop = free,
};
