/*
 * fuzz_http.c - fuzz target: what a client may send, through the whole HTTP engine to a plugin of test routes. Tests only.
 *
 * The first byte says how (MODE_*), the second in pieces of which size; the rest is the connection's bytes, from which the
 * engine tells HTTP/1.1 and HTTP/2. With MODE_FRAMES they are HTTP/2 frames whose lengths are put right, behind a preface and
 * settings: type, flags, stream, length, then as many bytes; so that mutations get beyond the framing.
 *
 * Afterwards what the routes hold is answered and time passes: no connection and no request may be left, and what was
 * said in HTTP/1.1 begins with a status line.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/frontend/http/harness.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

enum {
	MODE_FRAMES = 1,
	MODE_DENY = 2,     /* nothing is allowed */
	MODE_UPGRADE = 4,  /* WebSockets are taken over */
	MODE_REFUSE = 8,   /* bodies in pieces are put off */
	MODE_FIN = 16,     /* the client ends its side behind the last byte */
	MODE_GONE = 32,    /* ... and reads nothing any more */
	MODE_DRAIN = 64,   /* the engine drains when half has been sent */
	MODE_ANSWER = 128, /* held requests are answered at once, not after all bytes */
	INPUT_MAX = 1 << 16,
	REQUEST_MIN = 16, /* no request is shorter */
	RECEIVE_MAX = 1 << 20 /* a client that has had so much leaves */
};

static uint8_t mode;
static bool h1;         /* what came is HTTP/1.1, as far as the client can know */
static size_t received; /* by the client */

static void set_up(struct fx *f)
{
	f->deny = mode & MODE_DENY ? SLUICE_EDENIED : 0;
	f->upgrade_result = mode & MODE_UPGRADE ? 0 : SLUICE_ENOENT;
	f->refuse_pieces = mode & MODE_REFUSE;
	f->limits.body = 4096;
	f->limits.header_bytes = 2048;
	f->limits.path_bytes = 512;
	f->limits.h2_streams = 16;
}

static void receive(struct fx *f, int fd)
{
	static char buf[65536];
	ssize_t n;

	if (mode & MODE_GONE)
		return;
	while ((n = recv(fd, buf, sizeof buf, 0)) > 0) {
		static const char status_line[] = "HTTP/1.";

		for (size_t i = 0; h1 && i < (size_t)n && received + i < sizeof status_line - 1; i++)
			if (buf[i] != status_line[received + i])
				abort();
		received += (size_t)n;
		fx_run(f);
		if (received > RECEIVE_MAX) {
			mode |= MODE_GONE;
			shutdown(fd, SHUT_RDWR);
			return;
		}
	}
}

static void send_all(struct fx *f, int fd, const uint8_t *p, size_t n, size_t piece)
{
	while (n > 0) {
		size_t k = n < piece ? n : piece;
		ssize_t sent = send(fd, p, k, MSG_NOSIGNAL);

		if (sent < 0 && errno != EAGAIN)
			return; /* the engine closed, or an upgrade took the connection over */
		fx_run(f);
		receive(f, fd);
		if (sent < 0)
			return; /* it does not read any more */
		p += sent;
		n -= (size_t)sent;
	}
}

static void answer(struct fx *f)
{
	f->refuse_pieces = false;
	for (size_t i = f->n_held; i-- > 0;) {
		struct sluice_http_req *r = f->held[i];
		sl_slice path = http_table.path(r);

		if (sl_slice_is(path, "pieces")) {
			http_table.wake(r); /* its answer comes with its last piece, or with the end of the client */
			continue;
		}
		memmove(f->held + i, f->held + i + 1, (--f->n_held - i) * sizeof *f->held);
		if (sl_slice_prefix(path, SL_STR("live"))) {
			http_table.write(r, SL_STR("said late"));
			http_table.end(r);
		} else {
			http_table.reply(r, 200, NULL, 0, SL_STR("answered late"));
		}
	}
	fx_run(f);
}

static void frame_add(struct sl_buf *out, uint8_t type, uint8_t flags, uint32_t stream, const uint8_t *p, size_t n)
{
	const uint8_t head[] = {
		(uint8_t)(n >> 16),      (uint8_t)(n >> 8),      (uint8_t)n,     type, flags, (uint8_t)(stream >> 24),
		(uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};

	if (sl_buf_add(out, head, sizeof head) || sl_buf_add(out, p, n))
		abort();
}

/* Records of 4 bytes and a body to frames. */
static void frames(const uint8_t *p, size_t n, struct sl_buf *out)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

	if (sl_buf_add(out, preface, sizeof preface - 1))
		abort();
	frame_add(out, 4, 0, 0, NULL, 0);
	while (n >= 4) {
		size_t len = p[3] < n - 4 ? p[3] : n - 4;

		frame_add(out, p[0], p[1], p[2], p + 4, len);
		p += 4 + len;
		n -= 4 + len;
	}
}

static bool speaks_h1(sl_slice s)
{
	return s.len < 3 || memcmp(s.data, "PRI", 3) != 0;
}

static void run(struct fx *f, sl_slice input, size_t piece)
{
	size_t half = mode & MODE_DRAIN ? input.len / 2 : 0;
	int fd = fx_connect(f);

	send_all(f, fd, input.data, half, piece);
	if (mode & MODE_DRAIN)
		http_engine_drain(f->engine, 0, NULL, NULL);
	if (mode & MODE_ANSWER)
		answer(f);
	send_all(f, fd, (const uint8_t *)input.data + half, input.len - half, piece);
	if (mode & (MODE_FIN | MODE_GONE))
		shutdown(fd, mode & MODE_GONE ? SHUT_RDWR : SHUT_WR);
	fx_run(f);
	/* Until the longest of all timeouts is over, a reading client has got everything that it will get. Requests that came one behind the other are
	 * answered one a round. */
	for (uint64_t i = 1; i <= 8 + input.len / REQUEST_MIN && f->engine->n_conns; i++) {
		answer(f);
		receive(f, fd);
		fx_sweep(f, i * 70000);
	}
	receive(f, fd);
	if (f->upgrade_fd >= 0)
		close(f->upgrade_fd);
	if (f->engine->n_conns || f->n_held || !TAILQ_EMPTY(&f->engine->work) || !TAILQ_EMPTY(&f->engine->waiting))
		abort(); /* something is stuck */
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct sl_buf bytes;
	struct fx *f;
	size_t piece;

	if (n < 2 || n > INPUT_MAX)
		return 0;
	mode = data[0];
	piece = data[1] ? data[1] : INPUT_MAX;
	received = 0;
	sl_buf_init(&bytes);
	if (mode & MODE_FRAMES)
		frames(data + 2, n - 2, &bytes);
	else if (sl_buf_add(&bytes, data + 2, n - 2))
		abort();
	if (piece < bytes.len / 64)
		piece = bytes.len / 64; /* bounds the turns */
	h1 = speaks_h1(sl_buf_slice(&bytes));
	fx_clock = 1000000; /* the same every time */
	f = fx_new_with(set_up);
	run(f, sl_buf_slice(&bytes), piece);
	fx_free(f);
	sl_buf_fini(&bytes);
	return 0;
}
