/*
 * generation.c - the workers of one configuration. Supervisor.
 *
 * A reload makes a new generation; the old one drains when the new one is ready. A generation is over when its last child is freed.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/board.h"
#include "lib/log.h"
#include "supervisor/supervisor.h"

/* The next child of g after l; NULL: none. */
static struct child *generation_next(const struct generation *g, struct sl_link *l)
{
	for (l = l->next; l != &g->super->children; l = l->next) {
		struct child *c = SL_OF(l, struct child, link);

		if (c->gen == g)
			return c;
	}
	return NULL;
}

#define EACH_CHILD(g, c) \
	for (struct child *c = generation_next(g, &(g)->super->children); c; c = generation_next(g, &c->link))

static struct child *generation_worker(struct generation *g, const char *section, uint32_t slot)
{
	char name[64];
	struct child *c;

	snprintf(name, sizeof name, "%s#%u", section, slot + 1);
	c = child_new(g->super, CHILD_WORKER, name, section);
	if (c) {
		c->gen = g;
		c->slot = slot;
	}
	return c;
}

static int generation_add(struct generation *g, const struct sluice_conf *frontend, bool presence)
{
	uint32_t n = (uint32_t)sl_conf_int(frontend, "workers");
	int rc = 0, board = n > 1 ? sl_board_new() : -1;

	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		struct child *c = generation_worker(g, sl_conf_str(frontend, "name"), i);

		if (!c) {
			rc = SLUICE_ENOMEM;
			break;
		}
		c->presence = presence;
		if (n > 1)
			c->board_fd = fcntl(board, F_DUPFD_CLOEXEC, 0);
		if (n > 1 && c->board_fd < 0)
			rc = SLUICE_ENOMEM;
	}
	if (board >= 0)
		close(board);
	return rc;
}

struct generation *generation_new(struct supervisor *s, struct config *config, unsigned number, bool kept)
{
	const struct sluice_conf *presence = sl_options_presence(config->root);
	struct generation *g = calloc(1, sizeof *g);
	int rc = 0;

	if (!g)
		return NULL;
	sl_link_init(&g->link);
	g->super = s;
	g->number = number;
	g->config = config_ref(config);
	for (size_t i = 0; rc == 0 && i < sl_conf_len(config->root, "frontends"); i++) {
		const struct sluice_conf *f = sl_conf_at(config->root, "frontends", i);

		if (f != presence || !kept)
			rc = generation_add(g, f, f == presence);
	}
	if (rc == 0)
		return g;
	/* Nothing was started: the children may go at once. */
	for (struct child *c; (c = generation_next(g, &s->children));)
		child_free(c);
	generation_free(g);
	return NULL;
}

void generation_start(struct generation *g)
{
	sl_log(SLUICE_LOG_INFO, "generation number=%u state=starting", g->number);
	EACH_CHILD(g, c)
		child_start(c);
}

void generation_stop(struct generation *g, uint32_t deadline_ms, const char *why)
{
	EACH_CHILD(g, c)
		child_stop(c, deadline_ms, why);
}

bool generation_ready(const struct generation *g)
{
	EACH_CHILD(g, c) {
		if (c->state != CHILD_READY)
			return false;
	}
	return true;
}

bool generation_empty(const struct generation *g)
{
	return !generation_next(g, &g->super->children);
}

struct child *generation_failed(const struct generation *g, bool final)
{
	EACH_CHILD(g, c) {
		if (final ? c->final && c->state == CHILD_DOWN : c->deaths > 0)
			return c;
	}
	return NULL;
}

void generation_free(struct generation *g)
{
	if (!g)
		return;
	sl_link_del(&g->link);
	config_unref(g->config);
	free(g);
}
