/*
 * tls.c - TLS below a connection, as a transport: OpenSSL on the connection's own non-blocking socket. Worker process.
 *
 * The handshake happens inside the first reads, so limits.header_timeout bounds it like a head that does not come. OpenSSL reads
 * records one by one and a read goes on while a whole record fits, so nothing decrypted stays behind, and back-pressure is the
 * socket's. An idle connection holds no record buffers (SSL_MODE_RELEASE_BUFFERS).
 *
 * close_notify says that everything was said: it is sent behind the last byte of what is complete, and never before a cut.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frontend/http/engine.h"
#include "lib/log.h"

enum { RECORD_MAX = SSL3_RT_MAX_PLAIN_LENGTH };
enum tls_end { TLS_OPEN, TLS_EOF, TLS_FAILED };

struct tls {
	SSL *ssl;
	enum tls_end end; /* of what the client sends */
};

void *tls_open(SSL_CTX *ctx, int fd)
{
	struct tls *t = calloc(1, sizeof *t);

	if (!t)
		return NULL;
	t->ssl = SSL_new(ctx);
	if (!t->ssl || SSL_set_fd(t->ssl, fd) != 1) {
		tls_free(t);
		ERR_clear_error();
		return NULL;
	}
	SSL_set_accept_state(t->ssl);
	return t;
}

void tls_free(void *data)
{
	struct tls *t = data;

	SSL_free(t->ssl);
	free(t);
}

/* Somebody speaks HTTP without TLS. The answer cannot be encrypted either; most clients show it. */
static void tls_plain_answer(struct http_conn *c)
{
	static const char answer[] =
		"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 54\r\n"
		"Connection: close\r\n\r\nThis port speaks TLS only: the URL begins with https.\n";

	(void)!send(c->fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	c->closing = c->linger = true;
	conn_finish(c);
}

static void tls_failed(struct http_conn *c, struct tls *t)
{
	unsigned long error = ERR_peek_error();
	const char *why = ERR_reason_error_string(error);
	int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;

	t->end = TLS_FAILED;
	sl_log(SLUICE_LOG_DEBUG, "tls_failed handshake=%d why=\"%s\"", !SSL_is_init_finished(t->ssl),
	       why ? why : "the connection broke");
	ERR_clear_error();
	if (reason == SSL_R_HTTP_REQUEST)
		tls_plain_answer(c);
}

/* After a read that gave nothing. */
static void tls_read_stopped(struct http_conn *c, struct tls *t)
{
	switch (SSL_get_error(t->ssl, 0)) {
	case SSL_ERROR_WANT_READ:
		break;
	case SSL_ERROR_WANT_WRITE: /* the answer to a message of the handshake or to a new key */
		conn_write_before_read(c);
		break;
	case SSL_ERROR_ZERO_RETURN:
		t->end = TLS_EOF;
		break;
	default:
		tls_failed(c, t);
		break;
	}
}

static ssize_t tls_read(struct http_conn *c, void *p, size_t n)
{
	struct tls *t = c->transport_data;
	size_t got = 0, k = 0;

	if (c->lingering)
		return read(c->fd, p, n); /* to be swallowed: not worth decrypting */
	while (t->end == TLS_OPEN && n - got >= RECORD_MAX) {
		ERR_clear_error();
		if (SSL_read_ex(t->ssl, (uint8_t *)p + got, n - got, &k) != 1) {
			tls_read_stopped(c, t);
			break;
		}
		got += k;
	}
	if (got > 0)
		return (ssize_t)got;
	if (c->dead || c->lingering || t->end == TLS_OPEN)
		errno = EAGAIN;
	else if (t->end == TLS_FAILED)
		errno = EPROTO;
	else
		return 0;
	return -1;
}

/* Its end came together with its last bytes, so the socket will not announce it. */
static bool tls_pending(const struct http_conn *c)
{
	const struct tls *t = c->transport_data;

	return t->end != TLS_OPEN && !c->lingering;
}

struct tls_cursor {
	const struct iovec *iov;
	int n;
	size_t off; /* in the first of them */
};

/* The next bytes for one record: as they lie there, or small pieces behind each other. The queue only grows at its end, so
 * what OpenSSL has encrypted and not yet sent comes again as the beginning of the next try, as it has to. */
static sl_slice tls_piece(struct tls_cursor *at)
{
	static uint8_t record[RECORD_MAX]; /* one thread, and SSL_write_ex() copies */
	struct tls_cursor k = *at;
	size_t n = 0;

	if (k.n > 0 && k.iov->iov_len - k.off >= RECORD_MAX)
		return SL_SLICE((const uint8_t *)k.iov->iov_base + k.off, RECORD_MAX);
	for (; k.n > 0 && n < RECORD_MAX; k.iov++, k.n--, k.off = 0) {
		size_t part = k.iov->iov_len - k.off;

		if (part > RECORD_MAX - n)
			part = RECORD_MAX - n;
		memcpy(record + n, (const uint8_t *)k.iov->iov_base + k.off, part);
		n += part;
	}
	return SL_SLICE(record, n);
}

static void tls_advance(struct tls_cursor *at, size_t n)
{
	at->off += n;
	while (at->n > 0 && at->off >= at->iov->iov_len) {
		at->off -= at->iov->iov_len;
		at->iov++;
		at->n--;
	}
}

static ssize_t tls_writev(struct http_conn *c, const struct iovec *iov, int n)
{
	struct tls *t = c->transport_data;
	struct tls_cursor at = {.iov = iov, .n = n};
	size_t sent = 0, k = 0;
	sl_slice piece;

	while (t->end != TLS_FAILED && (piece = tls_piece(&at)).len > 0) {
		ERR_clear_error();
		if (SSL_write_ex(t->ssl, piece.data, piece.len, &k) != 1) {
			/* Renegotiation is off, so writing never has to wait for the client's bytes. */
			if (SSL_get_error(t->ssl, 0) != SSL_ERROR_WANT_WRITE)
				tls_failed(c, t);
			break;
		}
		sent += k;
		tls_advance(&at, k);
	}
	if (sent > 0)
		return (ssize_t)sent;
	errno = t->end == TLS_FAILED ? EPROTO : EAGAIN;
	return -1;
}

static void tls_bye(struct http_conn *c)
{
	struct tls *t = c->transport_data;

	if (t->end == TLS_FAILED || !SSL_is_init_finished(t->ssl))
		return;
	ERR_clear_error();
	(void)SSL_shutdown(t->ssl); /* what does not fit is not waited for: the end of the connection follows */
	ERR_clear_error();
}

static void tls_close(struct http_conn *c)
{
	tls_free(c->transport_data);
	c->transport_data = NULL;
}

/* What was agreed on in the handshake; without ALPN it is HTTP/1.1 (RFC 9113 3.3: HTTP/2 over TLS needs "h2"). */
static const struct http_proto *tls_proto(const struct http_conn *c)
{
	const struct tls *t = c->transport_data;
	const unsigned char *name;
	unsigned int len;

	SSL_get0_alpn_selected(t->ssl, &name, &len);
	return len == 2 && memcmp(name, "h2", 2) == 0 ? &h2_proto : &h1_proto;
}

const struct http_transport transport_tls = {
	.read = tls_read,
	.writev = tls_writev,
	.pending = tls_pending,
	.bye = tls_bye,
	.close = tls_close,
	.proto = tls_proto,
};
