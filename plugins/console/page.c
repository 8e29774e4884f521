/*
 * page.c - the page itself: three files inside the plugin, which need nothing from elsewhere. Plugin console, worker process.
 *
 * They say nothing of the server, so they are for everybody; what they show they ask for, with the token that was typed in. Browsers
 * ask each time whether they have changed.
 */
#include <inttypes.h>
#include <stdio.h>

#include "console.h"
#include "plugins/console/files.inc"

struct file {
	const char *path; /* below the mount */
	slice type;
	const unsigned char *data;
	size_t len;
};

static const struct file files[] = {
	{"", STR("text/html; charset=utf-8"), file_index_html, sizeof file_index_html},
	{"console/app.js", STR("text/javascript; charset=utf-8"), file_app_js, sizeof file_app_js},
	{"console/style.css", STR("text/css; charset=utf-8"), file_style_css, sizeof file_style_css},
};
enum { FILES = sizeof files / sizeof *files };
_Static_assert(FILES == sizeof ((struct console *)0)->etag / sizeof *((struct console *)0)->etag, "each file has its tag");

/* FNV-1a: tells versions apart, nothing more. */
static uint64_t file_hash(const struct file *f)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < f->len; i++)
		hash = (hash ^ f->data[i]) * UINT64_C(0x100000001b3);
	return hash;
}

void page_init(struct console *p)
{
	for (size_t i = 0; i < FILES; i++)
		snprintf(p->etag[i], sizeof p->etag[i], "\"%016" PRIx64 "\"", file_hash(&files[i]));
}

static void file_send(struct console *p, struct sluice_http_req *http, size_t i)
{
	const slice tag = SLICE(p->etag[i], strlen(p->etag[i]));
	const struct sluice_header header[] = {
		{STR("content-type"), files[i].type}, {STR("cache-control"), STR("no-cache")}, {STR("etag"), tag}};
	slice known = p->http->header(http, "if-none-match", 0);

	if (known.data && memmem(known.data, known.len, tag.data, tag.len))
		p->http->reply(http, 304, header + 1, 2, SLICE(NULL, 0));
	else
		p->http->reply(http, 200, header, 3, SLICE(files[i].data, files[i].len));
}

void page_request(void *self, struct sluice_http_req *http)
{
	struct console *p = self;
	slice path = p->http->path(http);

	for (size_t i = 0; i < FILES; i++) {
		if (path.len != strlen(files[i].path) || (path.len && memcmp(path.data, files[i].path, path.len) != 0))
			continue;
		file_send(p, http, i);
		return;
	}
	answer_error(p, http, 404, "there is no such file"); /* no route leads here */
}

/* The page names its files relative to "/mount/", so "/mount" will not do. */
void page_redirect(void *self, struct sluice_http_req *http)
{
	struct console *p = self;
	slice target = p->http->target(http);
	struct text t = {0};

	text_add(&t, target.data, target.len);
	text_puts(&t, "/");
	if (t.failed) {
		answer_error(p, http, 503, "out of memory");
	} else {
		const struct sluice_header header[] = {{STR("location"), text_slice(&t)}, {STR("cache-control"), STR("no-store")}};

		p->http->reply(http, 308, header, 2, SLICE(NULL, 0));
	}
	text_fini(&t);
}
