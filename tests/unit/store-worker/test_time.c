/*
 * test_time.c - TTL, expiry, touches, what a restart grants, retention, reaping: with clocks that move when the test
 * says so.
 */
#include "tests/unit/store-worker/fixture.h"

static struct fixture f;
static struct client *c;

static struct sl_store_outcome create_ttl(const char *name, uint64_t ttl_s)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, name);

	op.flags = SLUICE_A_TTL;
	op.ttl_s = ttl_s;
	return run(&f, c, op);
}

static int touch(uint64_t incarnation, bool renew)
{
	uint64_t before = c->n_touched;

	sl_put_store_touch(&c->ipc,
	                   &(struct sl_store_touch){.req = ++c->req, .incarnation = incarnation, .renew = renew});
	for (int i = 0; i < 100 && c->n_touched == before; i++)
		client_pump(&f, c);
	return c->n_touched > before && c->touched.req == c->req ? c->touched.status : 1;
}

static void test_ttl(void)
{
	struct sl_store_outcome o = create_ttl("ttl", 10);

	f.wall_ms += 9999;
	is_out(append(&f, c, "ttl", "x"), SLUICE_OK, 0, "alive until the last moment; an append renews");
	f.wall_ms += 9999;
	is_int(touch(o.incarnation, false), SLUICE_OK, "a touch that does not renew");
	is_int(touch(o.incarnation, true), SLUICE_OK, "a touch that renews");
	f.wall_ms += 9999;
	is_int(touch(o.incarnation, false), SLUICE_OK, "has renewed");
	f.wall_ms += 1;
	is_int(touch(o.incarnation, true), SLUICE_ENOENT, "now it is gone");
	is_out(append(&f, c, "ttl", "x"), SLUICE_ENOENT, 0, "for appends too");
	is_out(create_ttl("ttl", 10), SLUICE_OK, 0, "the name is free");
	o = create_ttl("zero", 0);
	is_out(o, SLUICE_OK, 0, "a TTL of 0");
	is_int(touch(o.incarnation, true), SLUICE_ENOENT, "expires at once");
	o = create_ttl("huge", INT64_MAX);
	is_out(o, SLUICE_OK, 0, "a TTL beyond all time");
	is_int(touch(o.incarnation, true), SLUICE_OK, "does not");
	is_int(touch(999999, true), SLUICE_ENOENT, "an incarnation that never was");
}

static void test_renewal(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CLOSE, "ren");
	struct sl_store_outcome o = create_ttl("ren", 10);

	f.wall_ms += 8000;
	produce(&f, c, "ren", "w", 0, 0, "x");
	f.wall_ms += 8000;
	o = produce(&f, c, "ren", "w", 0, 0, "x");
	is_int(o.flags & SLUICE_R_DUPLICATE, SLUICE_R_DUPLICATE, "a duplicate");
	f.wall_ms += 8000;
	is_out(produce(&f, c, "ren", "w", 0, 5, "x"), SLUICE_ECONFLICT, SLUICE_WHY_PRODUCER_GAP,
	       "renews; a refused one");
	f.wall_ms += 2000;
	is_out(run(&f, c, op), SLUICE_ENOENT, 0, "does not");
	create_ttl("ren", 10);
	f.wall_ms += 8000;
	is_out(run(&f, c, op), SLUICE_OK, 0, "close");
	f.wall_ms += 8000;
	is_out(run(&f, c, op), SLUICE_OK, 0, "renews, also the second one");
	f.wall_ms += 8000;
	is_out(create_ttl("ren", 10), SLUICE_EEXIST, SLUICE_WHY_CONFIG, "a create does not");
	f.wall_ms += 2000;
	is_out(create_ttl("ren", 10), SLUICE_OK, 0, "so now it is new");
}

static void test_expires(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, "exp");

	op.flags = SLUICE_A_EXPIRES;
	op.expires_ms = f.wall_ms + 5000;
	is_out(run(&f, c, op), SLUICE_OK, 0, "with an expiry time");
	is_out(run(&f, c, op), SLUICE_OK, 0, "the same instant");
	f.wall_ms += 4000;
	append(&f, c, "exp", "x");
	f.wall_ms += 1000;
	is_str(contents(&f, "exp"), "(-6)", "readers see it expire without the writer");
	is_out(append(&f, c, "exp", "x"), SLUICE_ENOENT, 0, "an access does not renew it");
	op.expires_ms = 1;
	is_out(run(&f, c, op), SLUICE_OK, 0, "in the past");
	is_str(contents(&f, "exp"), "(-6)", "expired at once");
}

static void test_sweep(void)
{
	for (int i = 0; i < 300; i++) {
		char name[32];

		snprintf(name, sizeof name, "sw%d", i);
		create_ttl(name, 100);
		append(&f, c, name, "data");
	}
	fixture_pass(&f, 99000);
	is_int(sql_int(&f, "SELECT count(*) FROM stream WHERE name LIKE 'sw%' AND state = 0"), 300, "all alive");
	fixture_pass(&f, 32000);
	is_int(sql_int(&f, "SELECT count(*) FROM stream WHERE name LIKE 'sw%' AND state = 0"), 0,
	       "the sweep finds them without traffic");
	is_int(sql_int(&f, "SELECT count(*) FROM stream WHERE name LIKE 'sw%'"), 300, "they are not reaped at once");
	fixture_pass(&f, 59000);
	is_int(sql_int(&f, "SELECT count(*) FROM stream WHERE name LIKE 'sw%'"), 300, "nor before reap_delay");
	fixture_pass(&f, 2000);
	is_int(sql_int(&f, "SELECT count(*) FROM stream WHERE name LIKE 'sw%'"), 0, "then they are");
	is_int(sql_int(&f, "SELECT count(*) FROM chunk WHERE stream NOT IN (SELECT id FROM stream)"), 0,
	       "with their rows");
	is_int(sql_int(&f, "SELECT count(*) FROM producer WHERE stream NOT IN (SELECT id FROM stream)"), 0,
	       "and producers");
}

static void test_live(void)
{
	struct sl_store_outcome o = create_ttl("live", 10);
	uint64_t before = c->n_notices;

	sl_put_store_watch(&c->ipc, &(struct sl_store_watch){.watch = 77, .stream = SL_STR("live"), .live = 1});
	client_pump(&f, c);
	for (int i = 0; i < 5; i++)
		fixture_pass(&f, 60000);
	is_int(touch(o.incarnation, false), SLUICE_OK, "a live reader holds it");
	sl_put_store_watch_live(&c->ipc, &(struct sl_store_watch_live){.watch = 77, .live = 0});
	client_pump(&f, c);
	fixture_pass(&f, 9000);
	is_int(touch(o.incarnation, false), SLUICE_OK, "its end renews");
	fixture_pass(&f, 20000);
	client_pump(&f, c);
	is_int(c->n_notices, before + 1, "the watcher hears");
	is_int(c->notice[before].events, SLUICE_EV_REMOVED, "that it expired");
	is_int(touch(o.incarnation, false), SLUICE_ENOENT, "gone");
}

static void test_restart(void)
{
	struct sl_store_outcome o, p;

	o = create_ttl("r100", 100);
	p = create_ttl("r10", 10);
	f.wall_ms += 9000;
	touch(p.incarnation, true);
	f.wall_ms += 15000;
	touch(o.incarnation, true); /* moved by 24 s: less than a quarter of its TTL, so not written */
	fixture_kill(&f);
	c = fixture_client(&f);
	is_int(sql_int(&f, "SELECT accessed_ms FROM stream WHERE name = 'r100'") + 24000, (int64_t)f.wall_ms,
	       "the row is behind");
	f.wall_ms += 99000;
	is_int(touch(o.incarnation, false), SLUICE_OK, "but after a crash it is granted what may be missing");
	is_int(touch(p.incarnation, false), SLUICE_ENOENT, "no more than that");
	f.wall_ms += 30000;
	is_int(touch(o.incarnation, false), SLUICE_ENOENT, "nor for ever");
	o = create_ttl("r1000", 1000);
	f.wall_ms += 20000;
	touch(o.incarnation, true);
	fixture_reopen(&f);
	c = fixture_client(&f);
	is_int(sql_int(&f, "SELECT accessed_ms FROM stream WHERE name = 'r1000'"), (int64_t)f.wall_ms,
	       "an orderly end writes it");
	o = create_ttl("lazy", 1000);
	fixture_pass(&f, 31000);
	touch(o.incarnation, true);
	fixture_pass(&f, 1000);
	is_int(sql_int(&f, "SELECT accessed_ms FROM stream WHERE name = 'lazy'"), (int64_t)f.wall_ms - 1000,
	       "and so does the sweep once it moved far");
}

/* A live reader is an access all the time: after a crash its stream is granted nearly its whole window. */
static void test_held_restart(void)
{
	struct sl_store_outcome o = create_ttl("held", 1000), p = create_ttl("left", 1000);

	sl_put_store_watch(&c->ipc, &(struct sl_store_watch){.watch = 78, .stream = SL_STR("held"), .live = 1});
	sl_put_store_watch(&c->ipc, &(struct sl_store_watch){.watch = 79, .stream = SL_STR("left"), .live = 1});
	client_pump(&f, c);
	fixture_pass(&f, 100000);
	sl_put_store_watch_live(&c->ipc, &(struct sl_store_watch_live){.watch = 79, .live = 0});
	client_pump(&f, c);
	fixture_pass(&f, 500000);
	fixture_pass(&f, 29000);
	ok(sql_int(&f, "SELECT accessed_ms FROM stream WHERE name = 'held'") + 30000 >= (int64_t)f.wall_ms,
	   "the row of a stream with a live reader follows");
	fixture_kill(&f);
	c = fixture_client(&f);
	fixture_pass(&f, 560000);
	is_int(touch(p.incarnation, false), SLUICE_ENOENT, "one whose reader had left long before the crash is gone");
	fixture_pass(&f, 438000);
	is_int(touch(o.incarnation, true), SLUICE_OK, "one with a reader has its window from the crash on");
}

/* The clock is set forward by years and back again: what was written meanwhile is of the future, but time goes on. */
static void test_set_back(void)
{
	static const uint64_t years = UINT64_C(20) * 365 * 86400 * 1000;
	struct sl_store_outcome o;

	create(&f, c, "ahead", "text/plain", "x");
	f.wall_ms += years;
	append(&f, c, "ahead", "y");
	f.wall_ms -= years;
	removal(&f, c, "ahead");
	o = create_ttl("brief", 100);
	is_int(sql_int(&f, "SELECT created_ms FROM stream WHERE name = 'brief'"), (int64_t)(f.wall_ms + years), "it is years behind");
	for (int i = 0; i < 130; i++) {
		fixture_pass(&f, 1000);
		append(&f, c, "brief", "z"); /* with commits all the time */
	}
	is_int(sql_int(&f, "SELECT count(*) FROM stream WHERE name = 'ahead'"), 0, "space is given back");
	is_str(contents(&f, "ahead"), "(-6)", "of what was removed");
	is_int(touch(o.incarnation, false), SLUICE_OK, "nothing expires early");
	fixture_pass(&f, 300000);
	is_int(touch(o.incarnation, false), SLUICE_ENOENT, "but in the end");
	fixture_kill(&f);
	c = fixture_client(&f);
	o = create_ttl("brief", 100);
	fixture_pass(&f, 300000);
	is_int(touch(o.incarnation, false), SLUICE_ENOENT, "after a restart as well");
	f.wall_ms += years + 3600000;
	create(&f, c, "now", "text/plain", "x");
	is_int(sql_int(&f, "SELECT created_ms FROM stream WHERE name = 'now'"), (int64_t)f.wall_ms, "and the clock is right when it has caught up");
}

static void test_retention(void)
{
	struct sl_store_rule rules[] = {{.prefix = SL_STR("ret/"), .max_bytes = 30},
	                                {.prefix = SL_STR("ret/age/"), .max_age_ms = 5000},
	                                {.prefix = SL_STR("ret/free/")}};
	struct client *other = fixture_client(&f);

	sl_put_store_retention(&other->ipc, &(struct sl_store_retention){.rules = {.n = 3, .v = rules}});
	client_pump(&f, other);
	create(&f, c, "ret/a", "text/plain", "");
	create(&f, c, "ret/age/b", "text/plain", "");
	create(&f, c, "ret/free/c", "text/plain", "");
	create(&f, c, "ret/big", "text/plain", "a record that is larger than the bound");
	create(&f, c, "other", "text/plain", "");
	for (int i = 0; i < 10; i++) {
		char data[16];

		snprintf(data, sizeof data, "%05d", i);
		append(&f, c, "ret/a", data);
		append(&f, c, "ret/age/b", data);
		append(&f, c, "ret/free/c", data);
		append(&f, c, "other", data);
		f.wall_ms += 1000;
	}
	fixture_pass(&f, 1000);
	is_str(contents(&f, "ret/a"), "00007|00008|00009|", "the newest that fit into the bound");
	is_str(contents(&f, "ret/age/b"), "00006|00007|00008|00009|", "the longest prefix decides; young enough");
	is_str(contents(&f, "ret/free/c"), "00000|00001|00002|00003|00004|00005|00006|00007|00008|00009|", "no bound");
	is_str(contents(&f, "other"), "00000|00001|00002|00003|00004|00005|00006|00007|00008|00009|", "no rule");
	is_str(contents(&f, "ret/big"), "a record that is larger than the bound|", "the newest record stays");
	fixture_pass(&f, 9000);
	is_str(contents(&f, "ret/age/b"), "", "age removes all of them in the end");
	is_int(append(&f, c, "ret/age/b", "new").start, 100, "and the stream goes on where it was");
	client_end(other);
	fixture_turns(&f, 2);
	append(&f, c, "ret/a", "more");
	fixture_pass(&f, 5000);
	is_str(contents(&f, "ret/a"), "00007|00008|00009|more|", "rules go with the worker that brought them");
}

int main(void)
{
	fixture_open(&f, NULL);
	c = fixture_client(&f);
	test_ttl();
	test_renewal();
	test_expires();
	test_sweep();
	test_live();
	test_restart();
	test_held_restart();
	test_retention();
	test_set_back();
	fixture_close(&f);
	fixture_shadow_ok(&f);
	return tap_done();
}
