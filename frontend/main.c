/*
 * main.c - sluice-frontend: a worker that hosts plugins. Started by sluiced with the control channel on descriptor 3.
 */
#include "frontend/worker.h"
#include "lib/log.h"

#include <signal.h>
#include <stdlib.h>

enum { CONTROL_FD = 3 };

int main(void)
{
	struct worker *w;
	int code;

	sl_log_init("frontend", SLUICE_LOG_INFO);
	/* A terminal's interrupt reaches the whole group; only the supervisor decides what it means. */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	w = worker_new(CONTROL_FD);
	if (!w)
		sl_fatal("why=\"out of memory, or no control channel on descriptor 3: this program is started by sluiced\"");
	code = worker_run(w);
	worker_free(w);
	return code;
}
