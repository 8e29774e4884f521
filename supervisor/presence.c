/*
 * presence.c - the worker that owns the ephemeral channels, and everybody's connection to it. Supervisor.
 *
 * Every other worker has one socketpair to it, made anew whenever the owner is another process. A worker that is started while
 * there is no owner gets its connection when there is one; until then its plugins are refused. A reload takes the owner along,
 * channels and all, as long as its frontend and what the core says about all frontends did not change; otherwise it is replaced
 * like every other worker, and its channels are lost.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "supervisor/supervisor.h"

static struct child *presence_of(const struct supervisor *s, const struct generation *g)
{
	for (struct sl_link *l = s->children.next; g && l != &s->children; l = l->next) {
		struct child *c = SL_OF(l, struct child, link);

		if (c->gen == g && c->presence)
			return c;
	}
	return NULL;
}

struct child *presence_owner(const struct supervisor *s)
{
	return presence_of(s, s->gen);
}

void presence_link(struct child *worker)
{
	struct child *owner = presence_owner(worker->super);
	struct sl_control_presence_link to_worker;
	struct sl_control_presence_peer to_owner = {.name = sl_slice_str(worker->name)};
	int pair[2];

	/* The worker that will own the channels next is a member of nobody else. */
	if (!owner || owner->state != CHILD_READY || worker->presence)
		return;
	worker->presence_unlinked = true;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) {
		sl_log_errno(SLUICE_LOG_ERR, "presence_link name=%s", worker->name);
		return;
	}
	to_worker.socket = pair[0];
	to_owner.socket = pair[1];
	/* An end that does not get through is closed, which the other one sees. */
	if (sl_put_control_presence_link(&worker->channel.ipc, &to_worker) == 0) {
		worker->presence_links++;
		worker->presence_unlinked = false;
	}
	if (worker->presence_unlinked || sl_put_control_presence_peer(&owner->channel.ipc, &to_owner))
		sl_log(SLUICE_LOG_ERR, "presence_link name=%s error=\"out of memory or descriptors\"", worker->name);
	close(pair[0]); /* the queues hold copies */
	close(pair[1]);
	channel_flush(&owner->channel);
}

void presence_links(struct supervisor *s)
{
	for (struct sl_link *l = s->children.next; l != &s->children; l = l->next) {
		struct child *c = SL_OF(l, struct child, link);

		if (c->kind != CHILD_WORKER || (c->state != CHILD_STARTING && c->state != CHILD_READY) ||
		    !c->channel.open)
			continue;
		presence_link(c);
		channel_flush(&c->channel);
	}
}

bool presence_stays(const struct supervisor *s, const struct config *new)
{
	static const char *const shared[] = {"limits", "auth", "store.reader_mmap"};
	const struct child *owner = presence_owner(s);

	if (!owner || owner->state != CHILD_READY ||
	    !sl_conf_equal(sl_options_presence(s->config->root), sl_options_presence(new->root)))
		return false;
	for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
		if (!sl_conf_equal(sl_conf_get(s->config->root, shared[i]), sl_conf_get(new->root, shared[i])))
			return false;
	return true;
}

void presence_move(struct supervisor *s, struct generation *to)
{
	struct sl_control_log_level level = {.level = (uint8_t)sl_log_level_get()};
	struct child *owner = presence_of(s, to);

	if (owner) { /* a new one: whoever was connected to the old one is connected to it */
		presence_links(s);
		return;
	}
	for (struct sl_link *l = s->children.next; l != &s->children && !owner; l = l->next) {
		struct child *c = SL_OF(l, struct child, link);

		if (c->presence && c->wanted)
			owner = c;
	}
	if (!owner || !sl_options_presence(to->config->root))
		return; /* mounted no more: it drains with its generation */
	owner->gen = to;
	owner->section = sl_conf_str(sl_options_presence(to->config->root), "name");
	if (owner->channel.open)
		(void)sl_put_control_log_level(&owner->channel.ipc, &level);
	channel_flush(&owner->channel);
}
