/*
 * test_memory.c - the n-th allocation fails, for every n: the writer refuses, ends a peer or does not start, and what
 * it acknowledged is there.
 *
 * Linked with wrappers around the allocator, so SQLite is left out; it has its own tests for that.
 */
#include <fcntl.h>
#include <unistd.h>

#include "lib/store_check.h"
#include "tests/unit/store-worker/fixture.h"
#include "tests/unit/wrap_memory.h"

static long countdown = -1; /* allocations until one fails; negative: none does */
static unsigned long failures;

static bool allocation_fails(void)
{
	if (countdown < 0 || countdown-- != 0)
		return false;
	failures++;
	return true;
}

static struct fixture f;

/* One turn of the writer with the n-th allocation failing; the test's own allocations do not. */
static void turn(struct client *c, long n)
{
	sl_ipc_flush(&c->ipc);
	countdown = n;
	for (int i = 0; i < 3; i++)
		store_turn(f.store, 0);
	countdown = -1;
	client_pump(&f, c);
}

/* Sends one of each kind of request; the outcome of the append, or ELOST when the peer was ended. */
static int round_of(long n, unsigned number)
{
	struct client *c = fixture_client(&f);
	struct sl_store_op ops[2] = {op_of(SLUICE_OP_CREATE, "fresh"), op_of(SLUICE_OP_APPEND, "fresh")};
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, "s");
	char data[32];
	uint64_t req;
	int status = SLUICE_ELOST;

	sl_put_store_watch(&c->ipc, &(struct sl_store_watch){.watch = 1, .stream = SL_STR("s")});
	sl_put_store_watch_prefix(&c->ipc, &(struct sl_store_watch_prefix){.watch = 2, .prefix = SL_STR("fr")});
	sl_put_store_retention(
		&c->ipc,
		&(struct sl_store_retention){
			.rules = {.n = 1, .v = (struct sl_store_rule[]){{.prefix = SL_STR("x"), .max_bytes = 5}}}});
	ops[1].data = SL_STR("list");
	send_ops(c, ops, 2, NULL, 0);
	send_ops(c, (struct sl_store_op[]){op_of(SLUICE_OP_SNAPSHOT, "fresh")}, 1, NULL, 0);
	send_ops(c, (struct sl_store_op[]){op_of(SLUICE_OP_REMOVE, "fresh")}, 1, NULL, 0);
	snprintf(data, sizeof data, "%u", number);
	op.data = sl_slice_str(data);
	op.flags = SLUICE_A_PRODUCER;
	op.producer = sl_slice_str(data);
	req = send_ops(c, &op, 1, NULL, 0);
	turn(c, n);
	for (int i = 0; i < 5 && !c->lost; i++)
		client_pump(&f, c);
	if (c->result_req == req)
		status = c->out[0].status;
	client_end(c);
	f.n--;
	fixture_turns(&f, 3);
	return status;
}

static void test_rounds(void)
{
	struct client *c = fixture_client(&f);
	char want[8192] = "";
	unsigned good = 0, refused = 0, lost = 0;
	bool unsure = false;

	create(&f, c, "s", "text/plain", "");
	client_end(c);
	f.n = 0;
	fixture_turns(&f, 2);
	for (unsigned i = 0; i < 400 && good < 20; i++) {
		unsigned long before = failures;
		int status = round_of((long)i, i);

		if (status == SLUICE_OK)
			snprintf(want + strlen(want), sizeof want - strlen(want), "%u|", i);
		else if (status == SLUICE_ENOMEM)
			refused++;
		else
			lost++;
		/* A peer that was ended may have had its request carried out. */
		if (status == SLUICE_ELOST && strcmp(contents(&f, "s"), want) != 0)
			snprintf(want + strlen(want), sizeof want - strlen(want), "%u|", i);
		if (status != SLUICE_OK && status != SLUICE_ENOMEM && status != SLUICE_ELOST)
			unsure = true;
		good += failures == before;
		if (f.store->fatal)
			break;
	}
	printf("# %lu failures, %u refused, %u peers ended\n", failures, refused, lost);
	ok(good == 20, "in the end nothing failed");
	ok(failures > 10, "many allocations failed");
	ok(!unsure, "each was answered as it should, or the peer ended");
	is_int(f.store->fatal, 0, "the writer goes on");
	is_str(contents(&f, "s"), want, "what was acknowledged is there, and nothing else");
}

/* Opening with the n-th allocation failing: it fails or works, and gives everything back. */
static void test_start(void)
{
	int failed = 0;
	long n;

	for (n = 0; n < 300; n++) {
		struct store *st;
		const char *why = "";
		bool final = false;
		int rc = -1;

		countdown = n;
		st = store_new();
		if (st) {
			st->settings.sync = SE_SYNC_OFF;
			rc = store_open(st, f.dir, &why, &final);
			if (rc && final)
				printf("# final: %s\n", why);
		}
		countdown = -1;
		store_free(st);
		if (rc == 0)
			break;
		failed++;
	}
	ok(failed > 5 && n < 300, "fails at each allocation, then works");
}

/* ---- a check ---- */

static void on_found(void *arg, const struct sl_finding *x)
{
	(void)arg;
	printf("# %s: %s\n", sl_finding_name(x->kind), x->text);
}

static int on_check_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)what;
	(void)done;
	(void)total;
	return 0;
}

/* A lack of memory is never taken for damage. */
static void test_check(void)
{
	static const struct sl_check_hooks hooks = {.found = on_found, .progress = on_check_progress};
	struct sl_check result;
	char why[SL_CHECK_WHY];
	uint64_t damaged = 0;
	int other = 0, rc = -1;
	long n;

	for (n = 0; n < 300 && rc; n++) {
		countdown = n;
		rc = sl_check_run(f.dir, &hooks, NULL, &result, why);
		countdown = -1;
		damaged += result.damaged;
		other += rc && rc != SLUICE_ENOMEM;
	}
	ok(n > 3 && rc == 0, "a check fails at each allocation, then works");
	is_int(damaged, 0, "and finds no damage");
	is_int(other, 0, "but says that memory is out");
}

/* ---- a backup ---- */

static int backup_status;
static unsigned backups_done;

static void on_backup_progress(void *arg, uint32_t number, const char *what, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)number;
	(void)what;
	(void)done;
	(void)total;
}

static void on_backup_done(void *arg, uint32_t number, int status, const char *text)
{
	(void)arg;
	(void)number;
	(void)text;
	backup_status = status;
	backups_done++;
}

static void backup_of(long n)
{
	static const struct backup_hooks hooks = {.progress = on_backup_progress, .done = on_backup_done};
	char dir[] = "/tmp/store-backup-XXXXXX";
	int fd = open(mkdtemp(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned before = backups_done;

	countdown = n;
	backup_status = backup_start(f.store, 1, fd, &hooks, NULL);
	for (int i = 0; backup_status == SLUICE_OK && i < 1000 && backups_done == before; i++)
		store_turn(f.store, 10);
	countdown = -1;
	fixture_turns(&f, 3);
	ok(backup_status == SLUICE_OK || rmdir(dir) == 0, "nothing is left of one that fails");
	fixture_remove(dir);
}

static void test_backup(void)
{
	struct client *c = fixture_client(&f);
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, "s");
	static const char big[200000];
	int fd = memfd(big, sizeof big);
	long n = 0;

	op.n_fd = 1;
	op.data_len = sizeof big;
	wait_result(&f, c, send_ops(c, &op, 1, &fd, 1));
	close(fd);
	do
		backup_of(n);
	while (backup_status == SLUICE_ENOMEM && ++n < 100);
	ok(n > 1 && backup_status == SLUICE_OK, "a backup fails at each allocation, then is made");
	is_int(f.store->fatal, 0, "the writer goes on");
}

int main(void)
{
	fixture_open_bare(&f);
	test_rounds();
	test_backup();
	f.kept = true;
	fixture_close(&f);
	test_check();
	test_start();
	fixture_remove(f.dir);
	return tap_done();
}
