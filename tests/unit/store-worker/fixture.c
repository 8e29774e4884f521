/*
 * fixture.c - a store-writer in the test's own process. Tests only.
 */
#include "tests/unit/store-worker/fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/build.h"
#include "lib/log.h"
#include "lib/store_check.h"

static uint64_t fixture_wall(void *arg)
{
	return ((struct fixture *)arg)->wall_ms;
}

static uint64_t fixture_mono(void *arg)
{
	return ((struct fixture *)arg)->mono_ms;
}

static void must(bool good, const char *what)
{
	if (good)
		return;
	printf("Bail out! %s\n", what);
	exit(99);
}

static void fixture_start(struct fixture *f)
{
	struct settings kept = {0};
	const char *why = "";
	char shadow[96];
	bool final;

	if (f->store)
		kept = f->store->settings;
	f->store = store_new();
	must(f->store, "store_new");
	if (kept.max_batch_ops)
		f->store->settings = kept;
	f->store->settings.sync = f->synced ? SE_SYNC_FULL : SE_SYNC_OFF;
	f->store->wall_ms = fixture_wall;
	f->store->mono_ms = fixture_mono;
	f->store->clock_arg = f;
	snprintf(shadow, sizeof shadow, "%s.shadow", f->dir);
	if (f->bare)
		unsetenv("SLUICE_SHADOW");
	else
		setenv("SLUICE_SHADOW", shadow, 1);
	if (store_open(f->store, f->dir, &why, &final))
		must(false, why);
}

static void fixture_begin(struct fixture *f, const char *dir, bool bare)
{
	memset(f, 0, sizeof *f);
	f->bare = bare;
	f->wall_ms = 1700000000000;
	f->mono_ms = 1000;
	f->shadow_equal = true;
	sl_log_init("test", SLUICE_LOG_ERR);
	if (dir) {
		snprintf(f->dir, sizeof f->dir, "%s", dir);
		f->kept = true;
	} else {
		snprintf(f->dir, sizeof f->dir, "/tmp/store-test-XXXXXX");
		must(mkdtemp(f->dir), "mkdtemp");
	}
	fixture_start(f);
}

void fixture_open(struct fixture *f, const char *dir)
{
	fixture_begin(f, dir, false);
}

void fixture_open_bare(struct fixture *f)
{
	fixture_begin(f, NULL, true);
}

static void remove_in(int dir)
{
	DIR *d = fdopendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		int sub;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || unlinkat(dir, e->d_name, 0) == 0)
			continue;
		sub = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (sub >= 0) {
			remove_in(sub);
			unlinkat(dir, e->d_name, AT_REMOVEDIR);
		}
	}
	if (d)
		closedir(d);
}

void fixture_remove(const char *dir)
{
	char shadow[96];
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		remove_in(fd);
	rmdir(dir);
	snprintf(shadow, sizeof shadow, "%s.shadow", dir);
	fd = open(shadow, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		remove_in(fd);
	rmdir(shadow);
}

static void fixture_stop(struct fixture *f, bool orderly)
{
	char why[256] = "";
	int rc = 0;

	for (int i = 0; i < f->n; i++)
		client_end(&f->c[i]);
	f->n = 0;
	if (orderly && batch_open(f->store) == SE_OK) {
		f->store->batch_rc = access_save(&f->store->txn, UINT32_MAX, true);
		batch_end(f->store);
	}
	if (f->store->shadow)
		rc = shadow_compare(f->store, why, sizeof why);
	if (rc) {
		f->shadow_equal = false;
		printf("# shadow differs: %s\n", why);
	}
}

void fixture_kill(struct fixture *f)
{
	fixture_stop(f, false);
	store_free(f->store);
	f->store = NULL;
	fixture_start(f);
}

void fixture_reopen(struct fixture *f)
{
	struct settings kept;

	fixture_stop(f, true);
	kept = f->store->settings;
	store_free(f->store);
	f->store = NULL;
	fixture_start(f);
	f->store->settings = kept;
}

static void sound_found(void *arg, const struct sl_finding *x)
{
	(void)arg;
	printf("# %s %.*s %s: %s\n", sl_finding_name(x->kind), (int)x->stream.len,
	       x->stream.len ? (const char *)x->stream.data : "", x->file ? x->file : "", x->text);
}

static int sound_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)what;
	(void)done;
	(void)total;
	return 0;
}

/* Whatever a test does through operations leaves a sound directory. */
static void fixture_sound(const struct fixture *f)
{
	static const struct sl_check_hooks hooks = {.found = sound_found, .progress = sound_progress};
	struct sl_check result;
	char why[SL_CHECK_WHY];
	int rc = sl_check_run(f->dir, &hooks, NULL, &result, why);

	must(rc == 0 && result.damaged == 0, rc ? why : "the data directory is damaged");
}

void fixture_close(struct fixture *f)
{
	fixture_stop(f, true);
	store_free(f->store);
	f->store = NULL;
	if (!f->damaged)
		fixture_sound(f);
	if (!f->kept)
		fixture_remove(f->dir);
}

void fixture_turns(struct fixture *f, int n)
{
	for (int i = 0; i < n; i++)
		store_turn(f->store, 0);
}

void fixture_pass(struct fixture *f, uint64_t ms)
{
	f->wall_ms += ms;
	f->mono_ms += ms;
	store_turn(f->store, 0);
	for (int i = 0; i < 100000 && store_busy(f->store); i++)
		store_turn(f->store, 0);
}

/* ---- clients ---- */

static int on_welcome(void *arg, const struct sl_store_welcome *m)
{
	struct client *c = arg;

	must(m->generation.len == 16, "generation");
	memcpy(c->generation, m->generation.data, 16);
	return 0;
}

static void note(struct client *c, char kind)
{
	if (c->n_order < sizeof c->order - 1)
		c->order[c->n_order++] = kind;
}

static int on_result(void *arg, const struct sl_store_result *m)
{
	struct client *c = arg;
	struct sl_cur cur = m->outcomes.cur;

	note(c, 'r');
	c->n_results++;
	c->result_req = m->req;
	c->n_out = m->outcomes.n;
	for (uint32_t i = 0; i < m->outcomes.n; i++) {
		struct sl_store_outcome o;

		sl_next_store_outcome(&cur, &o);
		if (i >= 64)
			continue;
		c->out[i] = o;
		snprintf(c->text[i], sizeof c->text[i], "%.*s", (int)o.message.len,
		         o.message.len ? (const char *)o.message.data : "");
		c->out[i].message = sl_slice_str(c->text[i]);
		if (o.snapshot_digest.len == SL_DIGEST) {
			memcpy(c->digest[i], o.snapshot_digest.data, SL_DIGEST);
			c->out[i].snapshot_digest = SL_SLICE(c->digest[i], SL_DIGEST);
		}
	}
	return 0;
}

static int on_touched(void *arg, const struct sl_store_touched *m)
{
	struct client *c = arg;

	note(c, 't');
	c->touched = *m;
	c->n_touched++;
	return 0;
}

static int on_watched(void *arg, const struct sl_store_watched *m)
{
	struct client *c = arg;

	note(c, 'w');
	c->watched = *m;
	c->n_watched++;
	return 0;
}

static int on_notice(void *arg, const struct sl_store_notice *m)
{
	struct client *c = arg;
	size_t i = c->n_notices++ % 256;

	note(c, 'n');
	memset(&c->notice[i], 0, sizeof c->notice[i]);
	c->notice[i].watch = m->watch;
	c->notice[i].tail = m->tail;
	c->notice[i].events = m->events;
	c->notice[i].fill_from = m->fill_from;
	c->notice[i].len = m->fill.len;
	c->notice[i].n_marks = m->fill_marks.len;
	snprintf(c->notice[i].bytes, sizeof c->notice[i].bytes, "%.*s", (int)m->fill.len,
	         m->fill.len ? (const char *)m->fill.data : "");
	if (m->fill_marks.len && m->fill_marks.len <= sizeof c->notice[i].marks)
		memcpy(c->notice[i].marks, m->fill_marks.data, m->fill_marks.len);
	return 0;
}

static int on_life(void *arg, const struct sl_store_life *m)
{
	struct client *c = arg;
	size_t i = c->n_lives++ % 256;

	note(c, 'l');
	c->life[i].watch = m->watch;
	c->life[i].events = m->events;
	c->life[i].incarnation = m->incarnation;
	snprintf(c->life[i].bytes, sizeof c->life[i].bytes, "%.*s", (int)m->stream.len,
	         m->stream.len ? (const char *)m->stream.data : "");
	return 0;
}

static const struct sl_store_handlers client_handlers = {.welcome = on_welcome,
                                                         .result = on_result,
                                                         .touched = on_touched,
                                                         .watched = on_watched,
                                                         .notice = on_notice,
                                                         .life = on_life};

static void client_take(struct client *c)
{
	uint16_t id;
	sl_slice body;

	if (sl_ipc_fill(&c->ipc) == SLUICE_ELOST)
		c->lost = true;
	while (sl_ipc_next(&c->ipc, &id, &body) == 1)
		must(sl_store_dispatch(&client_handlers, SL_TO_FRONT, c, &c->ipc, id, body) == 0,
		     "the writer sent something odd");
}

void client_pump(struct fixture *f, struct client *c)
{
	sl_ipc_flush(&c->ipc);
	store_turn(f->store, payloads_busy(f->store) ? 100 : 0);
	client_take(c);
}

struct client *fixture_client(struct fixture *f)
{
	struct client *c = &f->c[f->n++];
	int fd[2];

	must(f->n <= 4 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0, "socketpair");
	memset(c, 0, sizeof *c);
	sl_ipc_init(&c->ipc, fd[0]);
	must(peer_add(f->store, fd[1], SL_STR("test")) == 0, "peer_add");
	sl_put_store_hello(&c->ipc, &(struct sl_store_hello){.protocol = SL_STORE_PROTOCOL,
	                                                     .build = SL_STR(SL_BUILD),
	                                                     .name = SL_STR("test")});
	client_pump(f, c);
	return c;
}

void client_end(struct client *c)
{
	if (c->ipc.fd >= 0)
		sl_ipc_fini(&c->ipc);
	c->ipc.fd = -1;
}

/* ---- operations ---- */

struct sl_store_op op_of(uint8_t kind, const char *stream)
{
	return (struct sl_store_op){.kind = kind,
	                            .stream = sl_slice_str(stream),
	                            .content_type = SL_STR(""),
	                            .data = SL_STR(""),
	                            .marks = SL_STR(""),
	                            .producer = SL_STR(""),
	                            .stream_seq = SL_STR(""),
	                            .fork_of = SL_STR(""),
	                            .expect_snapshot = SL_STR("")};
}

uint64_t send_ops(struct client *c, const struct sl_store_op *ops, uint32_t n, const int *fds, size_t n_fds)
{
	struct sl_store_submit m = {.req = ++c->req, .ops = {.n = n, .v = ops}};

	must(sl_put_store_submit(&c->ipc, &m) == 0, "submit");
	for (size_t i = 0; i < n_fds; i++)
		must(sl_ipc_attach(&c->ipc, fds[i]) == 0, "attach");
	return m.req;
}

void wait_result(struct fixture *f, struct client *c, uint64_t req)
{
	for (int i = 0; i < 2000 && c->result_req != req && !c->lost; i++)
		client_pump(f, c);
	if (c->result_req != req)
		c->out[0] = (struct sl_store_outcome){.status = SLUICE_ELOST};
}

struct sl_store_outcome run_list(struct fixture *f, struct client *c, const struct sl_store_op *ops, uint32_t n)
{
	wait_result(f, c, send_ops(c, ops, n, NULL, 0));
	return c->out[0];
}

struct sl_store_outcome run(struct fixture *f, struct client *c, struct sl_store_op op)
{
	return run_list(f, c, &op, 1);
}

struct sl_store_outcome create(struct fixture *f, struct client *c, const char *stream, const char *type,
                               const char *data)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, stream);

	op.content_type = sl_slice_str(type);
	op.data = sl_slice_str(data);
	return run(f, c, op);
}

struct sl_store_outcome append(struct fixture *f, struct client *c, const char *stream, const char *data)
{
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, stream);

	op.data = sl_slice_str(data);
	f->wall_ms += f->apart_ms;
	return run(f, c, op);
}

struct sl_store_outcome produce(struct fixture *f, struct client *c, const char *stream, const char *id, uint64_t epoch,
                                uint64_t seq, const char *data)
{
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, stream);

	op.flags = SLUICE_A_PRODUCER;
	op.producer = sl_slice_str(id);
	op.producer_epoch = epoch;
	op.producer_seq = seq;
	op.data = sl_slice_str(data);
	return run(f, c, op);
}

struct sl_store_outcome fork_at(struct fixture *f, struct client *c, const char *stream, const char *source, int64_t at,
                                uint64_t sub)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, stream);

	op.flags = SLUICE_A_FORK | SLUICE_A_INHERIT | (at >= 0 ? SLUICE_A_FORK_AT : 0);
	op.fork_of = sl_slice_str(source);
	op.fork_at = at >= 0 ? (uint64_t)at : 0;
	op.fork_sub = sub;
	return run(f, c, op);
}

struct sl_store_outcome removal(struct fixture *f, struct client *c, const char *stream)
{
	return run(f, c, op_of(SLUICE_OP_REMOVE, stream));
}

int memfd(const void *data, size_t len)
{
	int fd = memfd_create("payload", MFD_CLOEXEC);

	must(fd >= 0 && write(fd, data, len) == (ssize_t)len, "memfd");
	return fd;
}

/* ---- reading ---- */

static void contents_step(const struct sl_step *s, char *text, size_t size, size_t *at)
{
	uint32_t from = 0;

	for (size_t i = 0; i < s->n_record; i++) {
		*at += (size_t)snprintf(text + *at, *at < size ? size - *at : 0, "%.*s|",
		                        (int)(s->record[i].data_end - from), (const char *)s->data.data + from);
		from = s->record[i].data_end;
	}
}

static int contents_read(struct sl_reader *r, struct fixture *f, const char *stream, char *text, size_t size)
{
	struct sl_facts facts;
	struct sl_plan plan;
	size_t at = 0;
	int rc = sl_reader_facts(r, sl_slice_str(stream), f->wall_ms, &facts);

	text[0] = '\0';
	if (rc || facts.status)
		return rc ? rc : facts.status;
	rc = sl_reader_plan(r, &facts, facts.earliest, UINT64_MAX, &plan, NULL);
	if (rc == 0 && plan.end != facts.tail)
		rc = SLUICE_EINTERNAL;
	for (uint64_t from = plan.from, skip = 0; rc == 0 && from < plan.end;) {
		struct sl_step s;

		rc = sl_reader_step(r, facts.incarnation, from, skip, plan.end, &s);
		if (rc)
			break;
		contents_step(&s, text, size, &at);
		from = s.next;
		skip = s.skip;
	}
	return rc;
}

const char *contents(struct fixture *f, const char *stream)
{
	static char text[65536];
	struct sl_reader *r;
	const char *why;
	int rc = sl_reader_open(f->dir, SL_SCHEMA, 0, &r, &why);

	if (rc)
		return why;
	must(sl_reader_begin(r) == 0, "begin");
	rc = contents_read(r, f, stream, text, sizeof text);
	sl_reader_end(r);
	sl_reader_close(r);
	if (rc)
		snprintf(text, sizeof text, "(%d)", rc);
	return text;
}

int64_t sql_int(struct fixture *f, const char *sql)
{
	sqlite3_stmt *q = NULL;
	int64_t n = -1;

	if (sqlite3_prepare_v2(se_handle(f->store->se), sql, -1, &q, NULL) == SQLITE_OK &&
	    sqlite3_step(q) == SQLITE_ROW)
		n = sqlite3_column_int64(q, 0);
	sqlite3_finalize(q);
	return n;
}
