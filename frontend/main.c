/*
 * main.c - sluice-frontend: a worker that hosts plugins. Started by sluiced with the control channel on descriptor 3.
 */
#include "frontend/worker.h"
#include "lib/log.h"
#include "lib/unix.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONTROL_FD = 3 };

int main(int argc, char **argv)
{
	struct worker *w;
	int code;

	(void)argc;
	if (!sl_unix_is_socket(CONTROL_FD)) {
		fprintf(stderr, "%s: a part of sluice that sluiced starts; see sluiced(8)\n", argv[0]);
		return 2;
	}

	sl_log_init("frontend", SLUICE_LOG_INFO);
	/* A terminal's interrupt reaches the whole group; only the supervisor decides what it means. */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	w = worker_new(CONTROL_FD);
	if (!w)
		sl_fatal("why=\"out of memory\"");
	code = worker_run(w);
	worker_free(w);
	return code;
}
