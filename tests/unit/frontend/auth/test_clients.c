/* Limits of a client: how often, how many at once, and that strangers cannot make the table grow. */
#include "frontend/auth/clients.h"
#include "lib/options.h"
#include "tests/unit/tap.h"

enum { SECOND = CLIENT_SECOND };

static struct clients c;

static void begin(const char *limits)
{
	char yaml[256];
	struct sl_conf_errors e = {0};
	struct sluice_conf *root;

	snprintf(yaml, sizeof yaml,
	         "limits: {%s}\nfrontends: [{name: a, listen: ['127.0.0.1:0'], plugins: [{plugin: s}]}]\n", limits);
	root = sl_options_load(sl_slice_str(yaml), &e);
	is_int(e.n, 0, "a configuration");
	clients_init(&c, root);
	sl_conf_free(root);
	sl_conf_errors_fini(&e);
}

static int at_once(sl_slice key, uint64_t now)
{
	int n = 0;

	while (n < 1000 && clients_request(&c, key, now) == 0)
		n++;
	return n;
}

static void test_rate(void)
{
	uint64_t now = 5 * SECOND;

	begin("client_requests: 10, client_burst: 4");
	is_int(at_once(SL_STR("a"), now), 4, "a burst");
	is_int(clients_request(&c, SL_STR("a"), now), SECOND / 10, "then it waits for its share");
	is_int(clients_wait(&c, SL_STR("a"), now), SECOND / 10, "which can be asked beforehand");
	is_int(at_once(SL_STR("b"), now), 4, "others do not");
	is_int(clients_wait(&c, SL_STR("c"), now), 0, "nor does who was never here");
	is_int(clients_request(&c, SL_STR("a"), now + SECOND / 10 - 1), 1, "not a moment too early");
	is_int(at_once(SL_STR("a"), now + SECOND / 10), 1, "refusals cost nothing");
	is_int(at_once(SL_STR("a"), now + SECOND), 4, "what was not used is there later");
	is_int(at_once(SL_STR("a"), now + 1000ull * SECOND), 4, "but no more than a burst");
	is_int(at_once(SL_SLICE(NULL, 0), now), 1000, "nobody in particular is not limited");
	clients_fini(&c);
	begin("client_requests: 1000000, client_burst: 1");
	is_int(at_once(SL_STR("a"), now), 1, "the highest rate");
	clients_fini(&c);
	begin("client_burst: 1");
	is_int(at_once(SL_STR("a"), now), 1000, "no limit");
	ok(c.map.n == 0, "nothing is remembered then");
	clients_fini(&c);
}

static void test_connections(void)
{
	begin("client_connections: 2");
	ok(clients_enter(&c, SL_STR("a")) == 0 && clients_enter(&c, SL_STR("a")) == 0, "two");
	for (int i = 0; i < CLIENT_TOLD; i++)
		is_int(clients_enter(&c, SL_STR("a")), SLUICE_EBUSY, "too many: told so");
	is_int(clients_enter(&c, SL_STR("a")), SLUICE_EFULL, "far too many");
	is_int(clients_enter(&c, SL_STR("b")), 0, "others are not asked");
	for (int i = 0; i < CLIENT_TOLD + 1; i++)
		clients_leave(&c, SL_STR("a"));
	is_int(clients_enter(&c, SL_STR("a")), 0, "room again");
	clients_leave(&c, SL_STR("a"));
	clients_leave(&c, SL_STR("a"));
	clients_leave(&c, SL_STR("a"));
	clients_leave(&c, SL_STR("nobody"));
	ok(clients_enter(&c, SL_STR("a")) == 0 && clients_enter(&c, SL_STR("a")) == 0, "it never counts below nothing");
	clients_fini(&c);
}

/* Many addresses: the table is bounded, whoever is there stays, and the busy ones are not forgotten for the quiet. */
static void test_flood(void)
{
	char key[16];
	int n;

	begin("client_requests: 1, client_burst: 1, client_connections: 1");
	is_int(clients_enter(&c, SL_STR("here")), 0, "one with a connection");
	is_int(clients_request(&c, SL_STR("here"), SECOND) + clients_request(&c, SL_STR("busy"), SECOND), 0,
	       "and one without");
	for (int i = 0; i < 3 * CLIENTS_IDLE; i++) {
		n = snprintf(key, sizeof key, "%d", i);
		clients_request(&c, SL_SLICE(key, (size_t)n), SECOND);
		if (i % 1000 == 0)
			clients_request(&c, SL_STR("busy"), SECOND);
	}
	is_int(c.map.n, CLIENTS_IDLE + 1, "a bound");
	is_int(c.n_idle, CLIENTS_IDLE, "of those without a connection");
	ok(clients_wait(&c, SL_STR("here"), SECOND) > 0 && clients_enter(&c, SL_STR("here")) == SLUICE_EBUSY,
	   "who is there is known");
	ok(clients_wait(&c, SL_STR("busy"), SECOND) > 0, "and so is who keeps asking");
	is_int(clients_wait(&c, SL_STR("0"), SECOND), 0, "the quiet are forgotten");
	clients_leave(&c, SL_STR("here"));
	clients_leave(&c, SL_STR("here"));
	is_int(c.map.n, CLIENTS_IDLE, "whoever leaves is one of them");
	clients_fini(&c);
}

int main(void)
{
	test_rate();
	test_connections();
	test_flood();
	return tap_done();
}
