/* Addresses are understood without looking anything up, and told apart by who can reach them. */
#include "lib/address.h"

#include "sluice/plugin.h"
#include "tests/unit/tap.h"

int main(void)
{
	static const struct {
		const char *text, *host;
		int kind, port, loopback;
	} good[] = {
	        {"127.0.0.1:4437", "127.0.0.1", SL_ADDRESS_TCP, 4437, 1},
	        {"127.9.9.9:0", "127.9.9.9", SL_ADDRESS_TCP, 0, 1},
	        {"localhost:1", "localhost", SL_ADDRESS_TCP, 1, 1},
	        {"[::1]:65535", "::1", SL_ADDRESS_TCP, 65535, 1},
	        {"0.0.0.0:80", "0.0.0.0", SL_ADDRESS_TCP, 80, 0},
	        {"*:80", "", SL_ADDRESS_TCP, 80, 0},
	        {"[::]:80", "::", SL_ADDRESS_TCP, 80, 0},
	        {"box.example:80", "box.example", SL_ADDRESS_TCP, 80, 0},
	        {"unix:/run/x:y", "", SL_ADDRESS_UNIX, 0, 1},
	        {"systemd:web", "", SL_ADDRESS_SYSTEMD, 0, 1},
	};
	static const char *const bad[] = {"", "4437", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1",
	                                  ":80", "::1:80", "[::1]", "[::1]80", "[127.0.0.1]:1", "[::1:80", "a b:80", "unix:x",
	                                  "unix:", "systemd:", "127.0.0.1:000080", "http://a:80"};
	char longer[200] = "unix:/", name[300];
	struct sl_address a;
	const char *why;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		int rc = sl_address_parse(good[i].text, &a, &why);

		ok(rc == 0 && (int)a.kind == good[i].kind && a.port == good[i].port && strcmp(a.host, good[i].host) == 0,
		   "an address is understood");
		is_int(sl_address_loopback(&a), good[i].loopback, good[i].loopback ? "is local" : "is not");
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		why = NULL;
		snprintf(name, sizeof name, "refused: %s", bad[i]);
		is_int(sl_address_parse(bad[i], &a, &why), SLUICE_EINVAL, name);
		ok(why && *why, "with a reason");
	}
	memset(longer + 6, 'x', 150);
	is_int(sl_address_parse(longer, &a, &why), SLUICE_EINVAL, "a path that does not fit");
	return tap_done();
}
