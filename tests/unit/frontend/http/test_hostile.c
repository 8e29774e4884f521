/*
 * test_hostile.c - clients that mean harm, and moments that are easily got wrong: answers nobody reads, resets in the
 * middle of a frame, wakes from inside, connections that change hands. Unit test.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/frontend/http/client2.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define WS(path) "GET " path " HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

static struct http_conn *the_conn(struct fx *f)
{
	return TAILQ_FIRST(&f->engine->conns);
}

/* Everything that is queued for the only client. */
static size_t queued(struct fx *f)
{
	struct http_conn *c = the_conn(f);
	struct sluice_http_req *r;
	size_t n = c->out.bytes;

	TAILQ_FOREACH(r, &c->reqs, link)
	n += r->out.bytes;
	return n;
}

/* Requests that are answered at once leave nothing in flight: only the bytes they left behind hold the next ones back. */
static void test_pipeline_unread(void)
{
	enum { N = 4000 };
	static const char one[] = GET("/t/gzip?n=20000");
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	char *all = malloc(sizeof one * N);
	size_t n = 0, total = 0, len, most = 0;
	unsigned answers = 0;

	for (int i = 0; i < N; i++)
		memcpy(all + i * (sizeof one - 1), one, sizeof one - 1);
	n = N * (sizeof one - 1);
	for (size_t at = 0; at < n;) {
		ssize_t k = send(fd, all + at, n - at, MSG_NOSIGNAL);

		fx_run(f);
		most = queued(f) > most ? queued(f) : most;
		if (k < 0)
			break;
		at += (size_t)k;
		total = at;
	}
	ok(most < OUT_HIGH + 64 * 1024, "what a client does not read is not made");
	for (const char *a; (a = fx_recv(f, fd, &len, NULL)), len > 0;) {
		for (const char *p = a; p < a + len && (p = memmem(p, (size_t)(a + len - p), "HTTP/1.1 200", 12)); p++)
			answers++;
		if (total < n) {
			ssize_t k = send(fd, all + total, n - total, MSG_NOSIGNAL);

			total += k > 0 ? (size_t)k : 0;
			fx_run(f);
		}
	}
	is_int(answers, N, "but it is, once he reads");
	free(all);
	close(fd);
	fx_free(f);
}

/* The answers before an upgrade leave before the connection changes hands. */
static void test_upgrade_unread(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	size_t n = 0, len;

	f->upgrade_result = 0;
	fx_send(f, fd, GET("/t/big?n=2000000") WS("/t/ws"));
	is_int(f->upgrade_fd, -1, "not while an answer is on its way");
	do {
		fx_recv(f, fd, &len, NULL);
		n += len;
	} while (len > 0);
	ok(n > 2000000, "the answer is whole");
	ok(f->upgrade_fd >= 0, "then it is handed over");
	if (f->upgrade_fd >= 0)
		close(f->upgrade_fd);
	close(fd);
	fx_free(f);
}

/* One pass of the loop pulls an answer once, however fast its client reads: others are looked at in between. */
static void test_fair_turns(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f), big = 8 << 20;
	unsigned before, most = 0;

	setsockopt(the_conn(f)->fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof big);
	send(fd, GET("/t/big?n=3000000"), strlen(GET("/t/big?n=3000000")), 0);
	for (int i = 0; i < 50; i++) {
		before = f->pulls;
		event_base_loop(f->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		most = f->pulls - before > most ? f->pulls - before : most;
	}
	ok(f->pulls > 3 && most <= 1, "at most one pull a pass");
	fx_recv(f, fd, NULL, NULL);
	close(fd);
	fx_free(f);
}

int main(void)
{
	test_pipeline_unread();
	test_upgrade_unread();
	test_fair_turns();
	return tap_done();
}
