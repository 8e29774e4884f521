/*
 * open_state.c - opens states that a disk may have been in, as a writer and a reader do after a crash, and says what is
 * there. Tests only.
 *
 * One directory a line on standard input; for each, lines that begin with
 *   stream NAME CLOSED SNAPSHOT RECORD...   a record is ID:LENGTH:FILL; a payload is "ID " and then one letter all along; so is
 *                                  a snapshot, or "-" when there is none
 *   refused WHY                    the writer does not open it
 *   damaged WHY                    "sluicectl check" finds damage, before or after
 *   wrong WHY                      it opens, but does not go on as it should
 * and then "end". After looking, each producer's last append is repeated (it must be a duplicate), a next one is made (it
 * must be there once), and the directory is opened once more.
 */
#include <stdio.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/store_check.h"
#include "tests/unit/store-worker/fixture.h"

enum { STREAMS_MAX = 512, ID_MAX = 48, OPEN_NAME_MAX = 64 };

struct seen {
	char name[OPEN_NAME_MAX], last[ID_MAX];
	uint64_t records, tail;
	bool closed;
};

struct state {
	struct fixture f;
	struct seen stream[STREAMS_MAX];
	size_t n;
	struct sl_buf record;
};

static int state_open(struct state *s, const char *dir)
{
	const char *why = "";
	bool final = false;

	s->f = (struct fixture){.bare = true, .kept = true};
	if (snprintf(s->f.dir, sizeof s->f.dir, "%s", dir) >= (int)sizeof s->f.dir)
		return printf("wrong the path is too long\n"), -1;
	s->f.store = store_new();
	if (!s->f.store)
		return -1;
	s->f.store->settings.sync = SE_SYNC_OFF;
	if (store_open(s->f.store, dir, &why, &final) == 0)
		return 0;
	printf("refused %s\n", why);
	store_free(s->f.store);
	return -1;
}

/* One record, taken apart: anything but what the load sends is shown as it is. */
static void record_show(struct state *s, struct seen *seen)
{
	const char *p = (const char *)sl_buf_slice(&s->record).data, *space = memchr(p, ' ', s->record.len);
	size_t id = space ? (size_t)(space - p) : 0;

	if (!space || id == 0 || id >= ID_MAX || s->record.len == id + 1) {
		printf(" ?:%zu:?", s->record.len);
		return;
	}
	memcpy(seen->last, p, id);
	seen->last[id] = '\0';
	for (size_t i = id + 1; i < s->record.len; i++)
		if (p[i] != p[id + 1]) {
			printf(" %s:%zu:damaged", seen->last, s->record.len);
			return;
		}
	printf(" %s:%zu:%c", seen->last, s->record.len, p[id + 1]);
}

static int snapshot_read(struct state *s, struct sl_reader *r, uint64_t id, struct seen *seen)
{
	struct sl_snapshot snapshot;
	int rc = id ? sl_reader_snapshot(r, id, &snapshot) : 0;

	if (id == 0) {
		printf(" -");
		return 0;
	}
	sl_buf_drain(&s->record, SIZE_MAX);
	for (uint64_t from = 0; rc == 0 && from < snapshot.bytes;) {
		sl_slice data;

		rc = sl_reader_snapshot_step(r, id, from, snapshot.bytes, &data);
		if (rc == 0)
			rc = sl_buf_add(&s->record, data.data, data.len);
		from += data.len;
	}
	if (rc == 0)
		record_show(s, seen);
	return rc;
}

static int stream_read(struct state *s, struct sl_reader *r, struct seen *seen, uint64_t now)
{
	struct sl_facts facts;
	struct sl_plan plan;
	int rc = sl_reader_facts(r, sl_slice_str(seen->name), now, &facts);

	if (rc || facts.status)
		return rc ? rc : facts.status;
	seen->closed = facts.flags & SLUICE_R_CLOSED;
	seen->tail = facts.tail;
	printf("stream %s %d", seen->name, seen->closed);
	rc = snapshot_read(s, r, facts.snapshot, seen);
	if (rc == 0)
		rc = sl_reader_plan(r, &facts, facts.earliest, UINT64_MAX, &plan, NULL);
	if (rc == 0 && plan.end != facts.tail)
		rc = SLUICE_EINTERNAL;
	sl_buf_drain(&s->record, SIZE_MAX);
	for (uint64_t from = plan.from, skip = 0; rc == 0 && from < plan.end;) {
		struct sl_step step;
		uint32_t at = 0;

		rc = sl_reader_step(r, facts.incarnation, from, skip, plan.end, &step);
		for (size_t i = 0; rc == 0 && i < step.n_record; i++) {
			rc = sl_buf_add(&s->record, (const char *)step.data.data + at, step.record[i].data_end - at);
			at = step.record[i].data_end;
			record_show(s, seen);
			seen->records++;
			sl_buf_drain(&s->record, SIZE_MAX);
		}
		if (rc == 0 && step.data.len > at) /* a part of a large one */
			rc = sl_buf_add(&s->record, (const char *)step.data.data + at, step.data.len - at);
		from = step.next;
		skip = step.skip;
	}
	printf("\n");
	if (rc)
		printf("wrong stream %s cannot be read to its end: status %d\n", seen->name, rc);
	return rc;
}

static int on_entry(void *arg, const struct sluice_list_item *item)
{
	const struct sluice_list_entry *e = &item->entry;
	struct state *s = arg;

	if (s->n == STREAMS_MAX)
		return 1;
	snprintf(s->stream[s->n++].name, OPEN_NAME_MAX, "%.*s", (int)e->stream.len, (const char *)e->stream.data);
	return 0;
}

static int state_read(struct state *s)
{
	uint64_t now = store_now(s->f.store);
	struct sl_reader *r;
	const char *why = "";
	bool more = false;
	int rc = sl_reader_open(s->f.dir, SL_SCHEMA, 0, &r, &why);

	if (rc)
		return printf("wrong no reader opens it: %s\n", why), rc;
	memset(s->stream, 0, sizeof s->stream);
	s->n = 0;
	rc = sl_reader_begin(r);
	if (rc == 0)
		rc = sl_reader_list(r, SL_STR(""), SL_STR(""), STREAMS_MAX, now, on_entry, s, &more);
	if (rc)
		printf("wrong the streams cannot be listed: status %d\n", rc);
	for (size_t i = 0; rc == 0 && i < s->n; i++)
		rc = stream_read(s, r, &s->stream[i], now);
	sl_reader_end(r);
	sl_reader_close(r);
	return rc;
}

/* Streams of producers are called producer-..., their producer "p", their records N-SEQ from 0 on. */
static void state_go_on(struct state *s)
{
	struct client *c = fixture_client(&s->f);

	for (size_t i = 0; i < s->n; i++) {
		struct seen *seen = &s->stream[i];
		uint64_t seq = seen->records;
		struct sl_store_outcome o;

		if (strncmp(seen->name, "producer-", 9) != 0 || seen->closed)
			continue;
		if (seq > 0) {
			o = produce(&s->f, c, seen->name, "p", 0, seq - 1, "again");
			if (o.status || !(o.flags & SLUICE_R_DUPLICATE) || o.tail != seen->tail)
				printf("wrong stream %s: the repetition of its last append is no duplicate (status %d)\n",
				       seen->name, o.status);
		}
		o = produce(&s->f, c, seen->name, "p", 0, seq, "next n");
		if (o.status || o.start != seen->tail)
			printf("wrong stream %s: the next append is not taken at its tail (status %d, %s)\n",
			       seen->name, o.status, c->text[0]);
	}
	client_end(c);
	s->f.n = 0;
	fixture_turns(&s->f, 2);
}

static void check_found(void *arg, const struct sl_finding *f)
{
	(void)arg;
	if (f->damage)
		printf("damaged %s %.*s %s: %s\n", sl_finding_name(f->kind), (int)f->stream.len,
		       f->stream.len ? (const char *)f->stream.data : "", f->file ? f->file : "", f->text);
}

static int check_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)what;
	(void)done;
	(void)total;
	return 0;
}

/* What the cut left is sound before a writer has opened it, too: the check reads the log as a writer would. A volume that
 * was not made yet cannot be checked. */
static void state_sound(const char *dir, bool made)
{
	static const struct sl_check_hooks hooks = {.found = check_found, .progress = check_progress};
	struct sl_check result;
	char why[SL_CHECK_WHY];
	int rc = sl_check_run(dir, &hooks, NULL, &result, why);

	if (rc && (made || (rc != SLUICE_ENOENT && !strstr(why, "start it once"))))
		printf("damaged it cannot be checked: %s\n", why);
}

static void state_check(struct state *s, const char *dir)
{
	state_sound(dir, false);
	if (state_open(s, dir))
		return;
	if (state_read(s) == 0) {
		state_go_on(s);
		store_free(s->f.store);
		s->f.store = NULL;
		if (state_open(s, dir))
			return;
		printf("again\n");
		state_read(s);
	}
	store_free(s->f.store);
	s->f.store = NULL;
	state_sound(dir, true);
}

int main(void)
{
	static struct state s;
	char line[128];

	unsetenv("SLUICE_SHADOW");
	sl_log_init("open_state", SLUICE_LOG_ERR);
	sl_buf_init(&s.record);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = '\0';
		state_check(&s, line);
		printf("end\n");
		fflush(stdout);
	}
	sl_buf_fini(&s.record);
	return 0;
}
