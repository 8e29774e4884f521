/*
 * stop.c - signals that end a command, for one that has something to put in order before it ends. sluicectl.
 *
 * The first is noted, the second ends at once.
 */
#include <signal.h>

#include "sluicectl/ctl.h"

static volatile sig_atomic_t stop_signal;

static void stop_on_signal(int sig)
{
	stop_signal = sig;
}

void stop_catch(void)
{
	struct sigaction act = {.sa_handler = stop_on_signal, .sa_flags = (int)SA_RESETHAND};

	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
}

bool stop_asked(void)
{
	return stop_signal != 0;
}
