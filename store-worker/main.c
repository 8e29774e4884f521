/*
 * main.c - sluice-store, the only process that writes the data directory. Descriptor 3 is the supervisor.
 */
#include <signal.h>
#include <stdio.h>

#include "lib/log.h"
#include "lib/unix.h"
#include "store-worker/store.h"

enum { CONTROL_FD = 3 };

int main(int argc, char **argv)
{
	(void)argc;
	if (!sl_unix_is_socket(CONTROL_FD)) {
		fprintf(stderr, "%s: a part of sluice that sluiced starts; see sluiced(8)\n", argv[0]);
		return 2;
	}
	sl_log_init("store", SLUICE_LOG_INFO);
	/* The supervisor says when to stop, and a terminal's Ctrl-C reaches it too. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	se_quota();
	return control_run(CONTROL_FD);
}
