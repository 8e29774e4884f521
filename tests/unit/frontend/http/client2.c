/*
 * client2.c - see client2.h. Tests only.
 */
#include "tests/unit/frontend/http/client2.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

struct stream *stream_of(struct client *c, int32_t id)
{
	return &c->stream[id % STREAMS];
}

static int on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *n, size_t nl, const uint8_t *v,
                     size_t vl, uint8_t flags, void *arg)
{
	struct stream *st = stream_of(arg, f->hd.stream_id);

	(void)s;
	(void)flags;
	if (nl == 7 && memcmp(n, ":status", 7) == 0) {
		int status = atoi((const char *)v);

		if (status < 200)
			st->informational = status;
		else
			st->status = status;
	}
	sl_buf_addf(&st->headers, "%.*s: %.*s\n", (int)nl, (const char *)n, (int)vl, (const char *)v);
	return 0;
}

static int on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct client *c = arg;

	(void)flags;
	sl_buf_add(&stream_of(c, id)->body, p, n);
	if (!c->no_window)
		nghttp2_session_consume(s, id, n);
	return 0;
}

static void on_settings(struct client *c, const nghttp2_settings *f)
{
	for (size_t i = 0; i < f->niv; i++) {
		if (f->iv[i].settings_id == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
			c->max_streams = f->iv[i].value;
		if (f->iv[i].settings_id == NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE)
			c->initial_window = f->iv[i].value;
	}
}

static int on_frame(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct client *c = arg;

	(void)s;
	if (f->hd.type == NGHTTP2_DATA)
		stream_of(c, f->hd.stream_id)->data_frames++;
	if (f->hd.type == NGHTTP2_GOAWAY) {
		c->goaways++;
		c->goaway_last = f->goaway.last_stream_id;
		c->goaway_code = f->goaway.error_code;
	}
	if (f->hd.type == NGHTTP2_SETTINGS)
		on_settings(c, &f->settings);
	return 0;
}

static int on_close(nghttp2_session *s, int32_t id, uint32_t code, void *arg)
{
	struct stream *st = stream_of(arg, id);

	(void)s;
	st->closed = true;
	st->code = code;
	return 0;
}

struct client *client_new(struct fx *f)
{
	struct client *c = calloc(1, sizeof *c);
	nghttp2_session_callbacks *cb;
	nghttp2_option *opt;

	if (!c)
		abort();
	c->f = f;
	c->fd = fx_connect(f);
	nghttp2_session_callbacks_new(&cb);
	nghttp2_option_new(&opt);
	nghttp2_option_set_no_auto_window_update(opt, 1);
	nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
	nghttp2_session_client_new2(&c->s, cb, c, opt);
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(opt);
	nghttp2_submit_settings(c->s, 0, NULL, 0);
	return c;
}

bool client_send(struct client *c)
{
	const uint8_t *p;
	ssize_t n;
	bool any = false;

	while ((n = nghttp2_session_mem_send(c->s, &p)) > 0) {
		fx_send_bytes(c->f, c->fd, p, (size_t)n);
		any = true;
	}
	return any;
}

static bool client_recv(struct client *c)
{
	static uint8_t buf[65536];
	bool any = false;
	ssize_t n;

	while ((n = recv(c->fd, buf, sizeof buf, 0)) > 0) {
		if (nghttp2_session_mem_recv(c->s, buf, (size_t)n) < 0)
			c->eof = true;
		any = true;
	}
	if (n == 0 || errno != EAGAIN)
		c->eof = true;
	return any;
}

void client_run(struct client *c)
{
	for (int quiet = 0, rounds = 0; quiet < 2 && rounds < 5000; rounds++) {
		bool any = client_send(c);

		fx_run(c->f);
		any |= client_recv(c);
		quiet = any ? 0 : quiet + 1;
	}
}

void client_free(struct client *c)
{
	for (size_t i = 0; i < STREAMS; i++) {
		sl_buf_fini(&c->stream[i].headers);
		sl_buf_fini(&c->stream[i].body);
	}
	nghttp2_session_del(c->s);
	close(c->fd);
	fx_run(c->f);
	free(c);
}

static ssize_t read_body(nghttp2_session *s, int32_t id, uint8_t *buf, size_t max, uint32_t *flags,
                         nghttp2_data_source *src, void *arg)
{
	struct stream *st = src->ptr;
	size_t n = st->send_len < max ? st->send_len : max;

	(void)s;
	(void)id;
	(void)arg;
	if (n > st->release)
		n = st->release;
	if (n == 0 && st->send_len > 0)
		return NGHTTP2_ERR_DEFERRED;
	memcpy(buf, st->send, n);
	st->send += n;
	st->send_len -= n;
	st->release -= n;
	if (st->send_len == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static nghttp2_nv nv_of(const char *name, const char *value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name), strlen(value), 0};
}

int32_t ask_more(struct client *c, const char *method, const char *path, const char *name, const char *value,
                 const char *body, size_t len, size_t release)
{
	nghttp2_nv nv[] = {nv_of(":method", method), nv_of(":scheme", "http"), nv_of(":authority", "h:1"),
	                   nv_of(":path", path), nv_of(name ? name : "x", value ? value : "y")};
	int32_t id = (int32_t)nghttp2_session_get_next_stream_id(c->s);
	struct stream *st = stream_of(c, id);
	nghttp2_data_provider prd = {.source = {.ptr = st}, .read_callback = read_body};

	sl_buf_fini(&st->headers);
	sl_buf_fini(&st->body);
	*st = (struct stream){.send = body, .send_len = len, .release = release};
	return nghttp2_submit_request(c->s, NULL, nv, name ? 5 : 4, body ? &prd : NULL, NULL);
}

int32_t ask(struct client *c, const char *method, const char *path)
{
	return ask_more(c, method, path, NULL, NULL, NULL, 0, 0);
}

int32_t ask_body(struct client *c, const char *method, const char *path, const char *body, size_t len)
{
	return ask_more(c, method, path, NULL, NULL, body, len, SIZE_MAX);
}

const char *text_of(struct sl_buf *b)
{
	sl_buf_add(b, "", 1);
	b->len--;
	return (const char *)sl_buf_slice(b).data;
}
