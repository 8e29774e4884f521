/*
 * main.c - sluice-frontend: a worker that hosts plugins. Started by sluiced with the control channel on descriptor 3.
 */
#include "frontend/worker.h"
#include "lib/log.h"
#include "lib/unix.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONTROL_FD = 3 };

/* What carries steps of answers and messages to the writer stays in the heap, up to what one turn reads. By itself glibc gives the end of
 * the heap back as soon as two such blocks are free there, and each page of the next ones is a page fault: half of what a large answer costs. */
static void heap_keep(void)
{
#ifdef M_TRIM_THRESHOLD
	mallopt(M_MMAP_THRESHOLD, READS_BIG * SL_READ_STEP);
	mallopt(M_TRIM_THRESHOLD, READS_BIG * SL_READ_STEP);
#endif
}

int main(int argc, char **argv)
{
	struct worker *w;
	int code;

	(void)argc;
	if (!sl_unix_is_socket(CONTROL_FD)) {
		fprintf(stderr, "%s: a part of sluice that sluiced starts; see sluiced(8)\n", argv[0]);
		return 2;
	}

	heap_keep();
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
