/*
 * session.c - a connection to the store: writes and watches go to the store-writer, reads come from the volume itself. sluicectl.
 *
 * The control socket hands out the connection and is left again, so that long sessions do not use up its places; when the writer is
 * restarted, it is asked for another one.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "lib/build.h"
#include "sluicectl/ctl.h"

enum { AWAY_MAX_MS = 60000, AGAIN_MS = 100, MMAP_BYTES = 64 << 20 };

static uint64_t clock_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

uint64_t session_now(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

uint64_t session_wall(void)
{
	return clock_ms(CLOCK_REALTIME);
}

/* ---- what the store client tells ---- */

static uint64_t hook_now(void *arg)
{
	(void)arg;
	return session_now();
}

static int hook_up(void *arg, const struct sl_store_welcome *m, const char **why)
{
	struct session *s = arg;
	bool same = s->known && s->schema == m->schema && m->generation.len == sizeof s->generation &&
	            memcmp(s->generation, m->generation.data, sizeof s->generation) == 0;
	char *dir;
	int rc;

	s->away_since = 0;
	if (same)
		return 0;
	if (m->generation.len != sizeof s->generation) {
		*why = "the store-writer did not name its volume";
		return SLUICE_EINVAL;
	}
	dir = sl_slice_dup(m->data_dir);
	if (!dir) {
		*why = "out of memory";
		return SLUICE_ENOMEM;
	}
	s->replaced = s->known;
	s->known = true;
	s->schema = m->schema;
	memcpy(s->generation, m->generation.data, sizeof s->generation);
	sl_reader_close(s->reader);
	s->reader = NULL;
	rc = sl_reader_open(dir, m->schema, MMAP_BYTES, &s->reader, why);
	free(dir);
	return rc;
}

static void hook_down(void *arg)
{
	((struct session *)arg)->away_since = session_now();
}

static void hook_refused(void *arg, const char *why)
{
	struct session *s = arg;

	s->refused = true;
	snprintf(s->why, sizeof s->why, "%s", why);
}

static void hook_event(void *arg, void *user, const struct sl_client_event *e)
{
	struct session *s = arg;

	if (s->event)
		s->event(s, user, e);
}

static void hook_life(void *arg, void *user, const struct sl_store_life *m)
{
	(void)arg;
	(void)user;
	(void)m;
}

static void hook_room(void *arg)
{
	(void)arg;
}

static const struct sl_client_hooks session_hooks = {
	.now_ms = hook_now,
	.up = hook_up,
	.down = hook_down,
	.refused = hook_refused,
	.event = hook_event,
	.life = hook_life,
	.room = hook_room,
};

/* ---- connecting ---- */

/* One try. CTL_OK also when the writer is away for the moment: *again. */
static int session_link(struct session *s, bool *again)
{
	struct link l;
	int rc = link_open(s->ctl, &l);

	*again = false;
	if (rc)
		return rc;
	if (sl_put_admin_store(&l.ipc, &(struct sl_admin_store){}))
		rc = CTL_FAILED;
	else
		rc = link_ask(&l, NULL, NULL, LINK_SOON_MS);
	if (rc == CTL_FAILED && l.status == SLUICE_EAGAIN) {
		*again = true;
		rc = CTL_OK;
	} else if (rc == CTL_FAILED) {
		rc = link_refused(&l);
	} else if (rc == CTL_OK) {
		if (l.store_fd < 0 || sl_client_link(s->client, l.store_fd)) {
			ctl_error("the server gave no connection to the store");
			rc = CTL_FAILED;
		}
		l.store_fd = -1; /* the client's */
	}
	link_close(&l);
	return rc;
}

static int session_wait(struct session *s, int wait_ms, struct pollfd *extra)
{
	struct pollfd p[2] = {{.fd = sl_client_fd(s->client), .events = POLLIN}, {.fd = -1}};

	if (extra)
		p[1] = *extra;
	if (sl_client_want_write(s->client))
		p[0].events |= POLLOUT;
	if (poll(p, 2, wait_ms) < 0 && errno != EINTR) {
		ctl_error("poll: %s", strerror(errno));
		return CTL_FAILED;
	}
	if (extra)
		extra->revents = p[1].revents;
	if (p[0].revents & ~POLLOUT)
		sl_client_readable(s->client);
	sl_client_flush(s->client);
	sl_client_tick(s->client);
	return CTL_OK;
}

int session_turn(struct session *s, int wait_ms, struct pollfd *extra)
{
	bool again = false;
	int rc = CTL_OK;

	sl_client_flush(s->client);
	if (!s->refused && sl_client_fd(s->client) < 0) {
		if (s->away_since && session_now() - s->away_since > AWAY_MAX_MS) {
			ctl_error("the store-writer is not running; the log of sluiced says why");
			return CTL_AWAY;
		}
		rc = session_link(s, &again);
		if (again && (wait_ms < 0 || wait_ms > AGAIN_MS))
			wait_ms = AGAIN_MS;
	}
	if (rc == CTL_OK && !s->refused)
		rc = session_wait(s, wait_ms, extra);
	if (rc == CTL_OK && s->refused) {
		ctl_error("no connection to the store: %s", s->why);
		rc = CTL_FAILED;
	}
	return rc;
}

int session_open(const struct ctl *ctl, struct session *s)
{
	int rc = CTL_OK;

	*s = (struct session){.ctl = ctl, .away_since = session_now()};
	if (sl_client_new("sluicectl", SL_BUILD, &session_hooks, s, &s->client)) {
		ctl_error("out of memory");
		return CTL_FAILED;
	}
	while (rc == CTL_OK && !(sl_client_up(s->client) && s->reader))
		rc = session_turn(s, 1000, NULL);
	if (rc)
		session_close(s);
	return rc;
}

void session_close(struct session *s)
{
	sl_client_free(s->client);
	sl_reader_close(s->reader);
	s->client = NULL;
	s->reader = NULL;
}

/* ---- reads and writes ---- */

int session_begin(struct session *s)
{
	if (s->reader)
		sl_reader_tidy(s->reader); /* a tail may go on for days */
	if (s->reader && sl_reader_begin(s->reader) == 0)
		return CTL_OK;
	ctl_error("the data directory cannot be read; the log of sluiced may say why");
	return CTL_FAILED;
}

int session_facts(struct session *s, const char *stream, struct sl_facts *f)
{
	if (sl_reader_facts(s->reader, sl_slice_str(stream), session_wall(), f)) {
		ctl_error("%s: the data directory cannot be read", stream);
		return CTL_FAILED;
	}
	if (f->status == SLUICE_OK)
		return CTL_OK;
	ctl_error("%s: %s", stream,
	          f->status == SLUICE_EGONE ? "was deleted, and only its forks can be read"
	                                    : "there is no such stream");
	return CTL_ABSENT;
}

struct submission {
	struct sluice_result *results;
	size_t n;
	bool done;
};

static void session_done(void *arg, const struct sluice_result *results, size_t n)
{
	struct submission *sub = arg;

	for (size_t i = 0; i < n && i < sub->n; i++) {
		sub->results[i] = results[i];
		sub->results[i].message = ""; /* gone when this returns */
	}
	sub->done = true;
}

int session_submit(struct session *s, const struct sl_store_op *ops, uint32_t n, int fd, struct sluice_result *results)
{
	struct submission sub = {.results = results, .n = n};
	int rc = sl_client_submit(s->client, ops, n, &fd, fd >= 0, session_done, &sub, NULL);

	if (rc) {
		ctl_error("the request cannot be sent (status %d)", rc);
		return CTL_FAILED;
	}
	rc = CTL_OK;
	while (rc == CTL_OK && !sub.done)
		rc = session_turn(s, 1000, NULL);
	return rc;
}

const char *result_why(const struct sluice_result *r)
{
	static const struct {
		int32_t status;
		uint32_t reason;
		const char *text;
	} texts[] = {
		{SLUICE_ENOENT, SLUICE_WHY_NONE, "there is no such stream"},
		{SLUICE_EGONE, SLUICE_WHY_NONE, "was deleted, and only its forks can be read"},
		{SLUICE_ECLOSED, SLUICE_WHY_NONE, "the stream is closed"},
		{SLUICE_ECONFLICT, SLUICE_WHY_TYPE,
	         "the stream has another content type; \"sluicectl ls -l\" shows it"},
		{SLUICE_EEXIST, SLUICE_WHY_CONFIG, "exists with another content type or life time; leave --type away"},
		{SLUICE_EEXIST, SLUICE_WHY_SOFT_DELETED, "was deleted, but its forks still hold the name"},
		{SLUICE_EEXIST, SLUICE_WHY_NONE, "exists already, as something else"},
		{SLUICE_ECONFLICT, SLUICE_WHY_NONE, "something that the request takes for granted is not so"},
		{SLUICE_ETOOBIG, SLUICE_WHY_NONE, "too large, see store.max_payload"},
		{SLUICE_EFULL, SLUICE_WHY_NONE, "no space on the disk"},
		{SLUICE_ELOST, SLUICE_WHY_NONE, "the store-writer died meanwhile: it may or may not have happened"},
		{SLUICE_EBUSY, SLUICE_WHY_NONE, "the store-writer is overloaded or away; try again"},
		{SLUICE_EINVAL, SLUICE_WHY_NONE,
	         "the store-writer does not accept this; is the name or the content type wrong?"},
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		if (texts[i].status == r->status &&
		    (texts[i].reason == SLUICE_WHY_NONE || texts[i].reason == r->reason))
			return texts[i].text;
	}
	return "failed; the log of sluiced may say why";
}

int result_tell(const struct sluice_result *r, const char *what, const char *stream)
{
	if (r->status == SLUICE_OK)
		return CTL_OK;
	ctl_error("%s%s%s: %s", what, *what ? " " : "", stream, result_why(r));
	return r->status == SLUICE_ENOENT || r->status == SLUICE_EGONE ? CTL_ABSENT : CTL_FAILED;
}
