/*
 * reload.c - SIGHUP: a new configuration takes over without a refused request. Supervisor.
 *
 * Read and check everything; bind what is new; start a new generation of workers; when all of them are ready the old ones drain. Until
 * then nothing that runs has been touched, so a failure at any step leaves the old configuration in force. The writer owns state and is
 * not replaced: it is told the new settings, and is restarted when one of them needs that. The owner of the ephemeral channels is
 * taken along as long as nothing that concerns it changed (presence.c).
 */
#include <errno.h>
#include <string.h>

#include "lib/log.h"
#include "supervisor/supervisor.h"

static void reload_end(struct supervisor *s, bool good)
{
	s->reloading = false;
	check_free(s->check);
	s->check = NULL;
	if (!good)
		sl_log(SLUICE_LOG_ERR, "reload_failed action=\"the old configuration stays in force\"");
	notify_send(&s->notify, "READY=1\nSTATUS=%s", good ? "Running" : "Running; the last reload failed, see the log");
	control_reloaded(s, good);
	super_poke(s);
}

/* For the log, and for whoever asked for the reload. */
static void reload_errors(struct supervisor *s, const struct config *config, const struct sl_conf_errors *errors)
{
	config_log_errors(config, errors);
	for (size_t i = 0; i < errors->n; i++)
		control_note(s, "%s:%u:%u: %s", config->file, errors->v[i].line, errors->v[i].column, errors->v[i].text);
}

/* What cannot change while it is in use. */
static void reload_check_fixed(const struct config *old, const struct config *new, struct sl_conf_errors *errors)
{
	static const struct {
		const char *name, *why;
	} fixed[] = {{"data_dir", "a reload cannot move the data; restart sluiced"},
	             {"control_socket", "a reload cannot move the control socket; restart sluiced"}};

	for (size_t i = 0; new->root && i < sizeof fixed / sizeof *fixed; i++) {
		if (strcmp(sl_conf_str(new->root, fixed[i].name), sl_conf_str(old->root, fixed[i].name)) != 0)
			sl_conf_error_at(new->root, fixed[i].name, errors, "%s", fixed[i].why);
	}
}

static void reload_begin(struct supervisor *s)
{
	struct sl_conf_errors errors = {0};
	struct config *config;

	s->reloading = true;
	s->reload_again = false;
	s->reloads++;
	sl_log(SLUICE_LOG_INFO, "reload file=%s", s->file);
	notify_reloading(&s->notify, "Reloading");
	config = config_load(s->file, &errors);
	if (!config) {
		const char *why = strerror(errno);

		sl_log(SLUICE_LOG_ERR, "config_error %s error=\"%s\"", s->file, why);
		control_note(s, "%s: %s", s->file, why);
		reload_end(s, false);
		return;
	}
	reload_check_fixed(s->config, config, &errors);
	s->check = check_start(s, config, &errors);
	config_unref(config);
	sl_conf_errors_fini(&errors);
	if (!s->check)
		reload_end(s, false);
}

void reload_request(struct supervisor *s)
{
	if (s->phase > SUPER_HANDING)
		return;
	/* Old generations that drain hold memory and connections: their number is bounded. */
	if (s->phase < SUPER_RUNNING || s->reloading || s->upgrade || s->n_old >= OLD_MAX)
		s->reload_again = true;
	else
		reload_begin(s);
}

/* The configuration is good: bind and start. */
static void reload_start(struct supervisor *s)
{
	struct sl_conf_errors errors = {0};
	struct config *config = config_ref((struct config *)(uintptr_t)check_config(s->check));
	bool bound;

	listeners_open(s, config, &errors);
	bound = errors.n == 0;
	if (bound)
		s->next = generation_new(s, config, ++s->generations, presence_stays(s, config));
	reload_errors(s, config, &errors);
	sl_conf_errors_fini(&errors);
	config_unref(config);
	check_free(s->check);
	s->check = NULL;
	if (s->next) {
		generation_start(s->next);
		return;
	}
	listeners_sweep(s);
	reload_end(s, false);
}

static void reload_tell_store(struct supervisor *s, bool restart)
{
	struct child *store = s->store;
	struct sl_control_log_level level = {.level = (uint8_t)sl_log_level_get()};
	struct sl_control_settings settings = {.config = sl_buf_slice(&s->config->text)};

	if (!store || store->state != CHILD_READY)
		return; /* the next one starts with them */
	if (sl_put_control_log_level(&store->channel.ipc, &level) || sl_put_control_settings(&store->channel.ipc, &settings))
		restart = true;
	channel_flush(&store->channel);
	if (restart)
		child_replace(store, STORE_DRAIN_MS, "a changed setting needs it");
}

static void reload_switch(struct supervisor *s)
{
	struct generation *old = s->gen;
	bool restart = config_needs_restart(s->config, s->next->config);
	struct sl_buf shown;

	s->gen = s->next;
	s->next = NULL;
	config_unref(s->config);
	s->config = config_ref(s->gen->config);
	if (!s->verbose)
		sl_log_level(config_log_level(s->config));
	sl_link_add(&s->old, &old->link);
	s->n_old++;
	presence_move(s, s->gen);
	listeners_modes(s);
	generation_stop(old, super_drain_ms(s), "a new generation took over");
	reload_tell_store(s, restart);
	sl_buf_init(&shown);
	listeners_show(s, s->config, &shown);
	sl_log(SLUICE_LOG_INFO, "reloaded generation=%u%.*s", s->gen->number, (int)shown.len,
	       (const char *)sl_buf_slice(&shown).data);
	sl_buf_fini(&shown);
	reload_end(s, true);
}

static void reload_give_up(struct supervisor *s, const struct child *failed)
{
	struct generation *g = s->next;

	sl_log(SLUICE_LOG_ERR, "reload_worker name=%s why=\"%s\"", failed->name, failed->why ? failed->why : "it died before it was ready");
	control_note(s, "%s: %s", failed->name, failed->why ? failed->why : "it died before it was ready, see the log");
	s->next = NULL;
	sl_link_add(&s->old, &g->link);
	s->n_old++;
	generation_stop(g, 0, "the reload failed");
	reload_end(s, false);
}

void reload_progress(struct supervisor *s)
{
	struct child *failed = s->next ? generation_failed(s->next, false) : NULL;

	if (s->check && check_done(s->check)) {
		if (check_errors(s->check)->n == 0) {
			reload_start(s);
		} else {
			reload_errors(s, check_config(s->check), check_errors(s->check));
			reload_end(s, false);
		}
	} else if (failed) {
		reload_give_up(s, failed);
	} else if (s->next && generation_ready(s->next)) {
		reload_switch(s);
	} else if (s->reload_again && !s->reloading && !s->upgrade && s->n_old < OLD_MAX) {
		reload_begin(s);
	}
}
