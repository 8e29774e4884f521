/*
 * progress.c - how far something has come: a bar on a terminal, nothing elsewhere. sluicectl.
 */
#include <unistd.h>

#include "sluicectl/ctl.h"

enum { PROGRESS_WIDTH = 30, PROGRESS_EVERY_MS = 100 };

void progress_init(struct progress *p, const struct ctl *ctl)
{
	*p = (struct progress){.shown = !ctl->json && isatty(STDERR_FILENO)};
}

void progress_show(struct progress *p, const char *what, uint64_t done, uint64_t total)
{
	char a[32], b[32], bar[PROGRESS_WIDTH + 1];
	uint64_t now = session_now();
	int full = total ? (int)((double)done / (double)total * PROGRESS_WIDTH) : 0;

	if (!p->shown || (p->drawn && now - p->last_ms < PROGRESS_EVERY_MS))
		return;
	p->drawn = true;
	p->last_ms = now;
	for (int i = 0; i < PROGRESS_WIDTH; i++)
		bar[i] = i < full ? '#' : '.';
	bar[PROGRESS_WIDTH] = '\0';
	if (total)
		fprintf(stderr, "\r%s  [%s]  %3d%%  %s of %s\033[K", what, bar,
		        (int)((double)done * 100 / (double)total), out_bytes(done, a), out_bytes(total, b));
	else
		fprintf(stderr, "\r%s ...\033[K", what);
	fflush(stderr);
}

void progress_clear(struct progress *p)
{
	if (p->drawn)
		fputs("\r\033[K", stderr);
	p->drawn = false;
}
