/*
 * supervisor.c - the life of sluiced: loop, signals, start, stop. The decisions are all taken in super_progress(). Supervisor.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "supervisor/supervisor.h"

#define X(id, name) [SUPER_##id] = name,
static const char *const super_phases[] = {SUPER_PHASES(X)};
#undef X

const char *super_phase_name(enum super_phase phase)
{
	return super_phases[phase];
}

int64_t super_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

uint32_t super_drain_ms(const struct supervisor *s)
{
	return (uint32_t)sl_conf_int(s->config->root, "limits.drain_timeout");
}

void super_poke(struct supervisor *s)
{
	event_active(s->progress, EV_TIMEOUT, 0);
}

void super_enter(struct supervisor *s, enum super_phase phase)
{
	sl_log(SLUICE_LOG_DEBUG, "phase from=\"%s\" to=\"%s\"", super_phases[s->phase], super_phases[phase]);
	s->phase = phase;
	/* Of a start that failed the reason stays to be seen. */
	if (phase != SUPER_RUNNING && !s->only_check && s->exit_code == 0)
		notify_send(&s->notify, "STATUS=%s", super_phases[phase]);
	super_poke(s);
}

/* ---- stop ---- */

void super_stop(struct supervisor *s, const char *why)
{
	bool hurry = s->phase >= SUPER_DRAINING;
	uint32_t ms = hurry || !s->config ? 0 : super_drain_ms(s);

	sl_log(SLUICE_LOG_INFO, "stopping why=\"%s\"%s", why, hurry ? " deadline=now" : "");
	if (!hurry) {
		notify_send(&s->notify, "STOPPING=1");
		super_enter(s, SUPER_DRAINING);
	}
	upgrade_cancel(s);
	control_stopping(s);
	check_free(s->check);
	s->check = NULL;
	s->reloading = s->reload_again = false;
	for (struct sl_link *l = s->old.next; l != &s->old; l = l->next)
		generation_stop(SL_OF(l, struct generation, link), ms, why);
	if (s->next)
		generation_stop(s->next, ms, why);
	if (s->gen)
		generation_stop(s->gen, ms, why);
	/* The workers close theirs as well: a new client is refused at once instead of waiting for the end of the drain. */
	listeners_close(s);
}

/* Why the start fails, for those who watch it: the service manager, a predecessor. */
static void __attribute__((format(printf, 2, 3))) super_tell(struct supervisor *s, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	notify_send(&s->notify, "STATUS=%s", why);
	takeover_fail(s, why);
}

static void super_fail(struct supervisor *s, const char *name, const char *why)
{
	sl_log(SLUICE_LOG_ERR, "fatal name=%s why=\"%s\"", name, why ? why : "it cannot be started; see the lines above");
	super_tell(s, "%s: %s", name, why ? why : "cannot be started, see the log");
	s->exit_code = 1;
	super_stop(s, "start-up failed");
}

/* ---- start ---- */

/* A check is for a person, unless it is the one before a reload. */
static const char *error_priority(const struct supervisor *s)
{
	bool priority = s->only_check ? sl_log_is_journal() : !isatty(STDERR_FILENO);

	return priority ? "<3>" : "";
}

/* As compilers do, so that editors find the place; for the journal with the priority of an error. */
static void print_errors(struct supervisor *s, const struct sl_conf_errors *errors)
{
	const char *priority = error_priority(s);

	for (size_t i = 0; i < errors->n; i++)
		fprintf(stderr, "%s%s:%u:%u: %s\n", priority, s->file, errors->v[i].line, errors->v[i].column, errors->v[i].text);
	fflush(stderr);
	if (errors->n > 0)
		super_tell(s, "%s:%u:%u: %s", s->file, errors->v[0].line, errors->v[0].column, errors->v[0].text);
}

static bool super_load(struct supervisor *s)
{
	struct sl_conf_errors errors = {0};

	s->config = config_load(s->file, &errors);
	if (!s->config) {
		const char *why = strerror(errno);

		fprintf(stderr, "%s%s: %s; the configuration is named by -c FILE\n", error_priority(s), s->file, why);
		super_tell(s, "%s: %s", s->file, why);
		return false;
	}
	if (s->config->root && !s->verbose && !s->only_check)
		sl_log_level(config_log_level(s->config));
	datadir_check(s->config, !s->only_check, &errors);
	s->check = check_start(s, s->config, &errors);
	if (!s->check)
		fprintf(stderr, "%s: out of memory\n", s->file);
	sl_conf_errors_fini(&errors);
	return s->check != NULL;
}

static void super_start_workers(struct supervisor *s)
{
	s->gen = generation_new(s, s->config, ++s->generations, false);
	if (!s->gen) {
		super_fail(s, "workers", "out of memory");
		return;
	}
	super_enter(s, SUPER_WORKERS);
	generation_start(s->gen);
}

static void super_start_store(struct supervisor *s)
{
	s->store = child_new(s, CHILD_STORE, "store", NULL);
	if (!s->store) {
		super_fail(s, "store", "out of memory");
		return;
	}
	super_enter(s, SUPER_STORE);
	child_start(s->store);
}

void super_over(struct supervisor *s, int exit_code)
{
	if (exit_code)
		s->exit_code = exit_code;
	super_enter(s, SUPER_OVER);
	event_base_loopexit(s->base, NULL);
}

static int super_data(struct supervisor *s)
{
	const char *why = "the data directory cannot be used, see the log";
	int rc = s->takeover ? takeover_data(s, &why) : datadir_open(sl_conf_str(s->config->root, "data_dir"), &s->data);

	if (rc)
		super_tell(s, "%s", why);
	return rc;
}

/* The configuration was checked: take the directory and the sockets, then start the writer. */
static void super_checked(struct supervisor *s)
{
	struct sl_conf_errors *found = check_errors(s->check), errors = {0};
	size_t n = found->n;

	if (s->only_check) {
		super_over(s, n > 0);
		return;
	}
	print_errors(s, found);
	check_free(s->check);
	s->check = NULL;
	if (n > 0 || super_data(s)) {
		super_over(s, 1);
		return;
	}
	listeners_open(s, s->config, &errors);
	n = errors.n;
	print_errors(s, &errors);
	sl_conf_errors_fini(&errors);
	if (n > 0)
		super_over(s, 1);
	else if (s->takeover)
		super_start_workers(s); /* they wait for the store; the writer of the predecessor is still at work */
	else
		super_start_store(s);
}

static void super_again(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	super_poke(arg);
}

/* Whether sluicectl can reach us. A daemon before us that is about to be gone is waited for. */
static bool super_control(struct supervisor *s)
{
	static const struct timeval again = {.tv_usec = CONTROL_AGAIN_MS * 1000};
	char why[512] = "out of memory";
	int rc = s->control ? 0 : control_open(s, false, why, sizeof why);

	if (rc && !s->control_since)
		s->control_since = super_now();
	if (rc == SLUICE_EBUSY && super_now() - s->control_since < CONTROL_WAIT_MS)
		event_base_once(s->base, -1, EV_TIMEOUT, super_again, s, &again);
	else if (rc)
		super_fail(s, "control_socket", why);
	return rc == 0;
}

static void super_announce(struct supervisor *s)
{
	struct sl_buf shown;
	char why[512] = "out of memory";

	super_enter(s, SUPER_RUNNING);
	/* The predecessor answers there until now. Without it the service goes on. */
	if (s->takeover && control_open(s, true, why, sizeof why))
		sl_log(SLUICE_LOG_ERR, "control_socket why=\"%s\"", why);
	sl_buf_init(&shown);
	listeners_show(s, s->config, &shown);
	sl_log(SLUICE_LOG_INFO, "ready pid=%ld data_dir=%s control=%s%.*s", (long)getpid(), s->data.path, control_shown(s), (int)shown.len,
	       (const char *)sl_buf_slice(&shown).data);
	sl_buf_fini(&shown);
	notify_send(&s->notify, "READY=1\nSTATUS=Running");
	takeover_serving(s);
}

/* ---- the next step ---- */

static void super_free_children(struct supervisor *s)
{
	struct sl_link *next;

	for (struct sl_link *l = s->children.next; l != &s->children; l = next) {
		struct child *c = SL_OF(l, struct child, link);

		next = l->next;
		if (c->state != CHILD_DOWN || c->wanted || c->check)
			continue;
		if (c == s->store)
			s->store = NULL;
		child_free(c);
	}
}

static void super_free_generations(struct supervisor *s)
{
	struct sl_link *next;
	bool any = false;

	for (struct sl_link *l = s->old.next; l != &s->old; l = next) {
		struct generation *g = SL_OF(l, struct generation, link);

		next = l->next;
		if (!generation_empty(g))
			continue;
		sl_log(SLUICE_LOG_INFO, "generation number=%u state=gone", g->number);
		generation_free(g);
		s->n_old--;
		any = true;
	}
	if (any)
		listeners_sweep(s);
}

/* A worker that will not do: of an ordinary start one that gave up, of an upgrade also one that died, since another build serves still. */
static struct child *super_failed_worker(const struct supervisor *s)
{
	if (!s->gen || s->phase >= SUPER_RUNNING)
		return NULL;
	return generation_failed(s->gen, !(s->takeover && s->phase == SUPER_WORKERS));
}

static void super_start_progress(struct supervisor *s)
{
	struct child *failed = super_failed_worker(s);
	bool store = s->store && s->store->state == CHILD_READY, workers = s->gen && generation_ready(s->gen);

	if (s->store && s->store->state == CHILD_DOWN && s->store->final && s->phase < SUPER_RUNNING)
		super_fail(s, "store", s->store->why);
	else if (failed)
		super_fail(s, failed->name, failed->why);
	else if (s->phase == SUPER_CHECKING && s->check && check_done(s->check) && takeover_given(s))
		super_checked(s);
	else if (s->phase == SUPER_STORE && !s->store)
		super_start_store(s);
	else if (s->phase == SUPER_STORE && store && !s->gen) {
		if (super_control(s))
			super_start_workers(s);
	}
	else if (s->phase == SUPER_WORKERS && workers && s->takeover)
		takeover_able(s);
	else if (s->phase == SUPER_TAKING && takeover_released(s))
		super_enter(s, SUPER_STORE);
	else if ((s->phase == SUPER_WORKERS || s->phase == SUPER_STORE) && store && workers)
		super_announce(s);
	else if (s->phase == SUPER_RUNNING)
		reload_progress(s);
}

static void super_stop_progress(struct supervisor *s)
{
	bool alone = s->children.next == s->children.prev; /* one child, or none */

	if (s->phase == SUPER_DRAINING && alone && (s->store || sl_link_alone(&s->children))) {
		super_enter(s, SUPER_CLOSING);
		if (s->store)
			child_stop(s->store, STORE_DRAIN_MS, "every worker is gone");
	} else if (s->phase == SUPER_CLOSING && sl_link_alone(&s->children) && !s->upgrade) {
		super_over(s, 0);
	}
}

static void super_progress(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd;
	(void)what;
	super_start_progress(s);
	super_free_children(s);
	super_free_generations(s);
	upgrade_progress(s);
	takeover_progress(s);
	control_progress(s);
	super_stop_progress(s);
	roster_progress(s);
}

/* ---- events ---- */

static struct child *child_by_pid(struct supervisor *s, pid_t pid)
{
	for (struct sl_link *l = s->children.next; l != &s->children; l = l->next) {
		struct child *c = SL_OF(l, struct child, link);

		if (c->pid == pid)
			return c;
	}
	return NULL;
}

static void super_reap(struct supervisor *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct child *c = child_by_pid(s, pid);

		if (c)
			child_reaped(c, status);
	}
}

static void super_on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct supervisor *s = arg;
	char why[256];

	(void)what;
	switch (sig) {
	case SIGCHLD:
		super_reap(s);
		break;
	case SIGHUP:
		reload_request(s);
		break;
	case SIGUSR2:
		if (super_upgrade(s, why, sizeof why))
			sl_log(SLUICE_LOG_ERR, "upgrade_refused why=\"%s\"", why);
		break;
	case SIGTERM:
	case SIGINT:
		if (s->phase == SUPER_CHECKING)
			super_over(s, 0);
		else
			super_stop(s, sig == SIGTERM ? "SIGTERM" : "SIGINT");
		break;
	default:
		sl_log(SLUICE_LOG_WARN, "signal number=%d action=\"none; SIGHUP reloads, SIGUSR2 upgrades, SIGTERM stops\"", (int)sig);
		break;
	}
}

static void super_on_ping(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd;
	(void)what;
	for (struct sl_link *l = s->children.next; l != &s->children; l = l->next)
		child_ping(SL_OF(l, struct child, link));
}

/* Fed while this loop turns, unless the writer has not answered for so long that it is being killed in vain. */
static void super_on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd;
	(void)what;
	if (!s->store || s->store->missed < PINGS_STORE)
		notify_send(&s->notify, "WATCHDOG=1");
}

static struct event *super_every(struct supervisor *s, int64_t ms, event_callback_fn fn)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	struct event *e = event_new(s->base, -1, EV_PERSIST, fn, s);

	if (e && event_add(e, &tv)) {
		event_free(e);
		e = NULL;
	}
	return e;
}

void super_watchdog(struct supervisor *s)
{
	if (s->notify.watchdog_ms && !s->watchdog)
		s->watchdog = super_every(s, (int64_t)s->notify.watchdog_ms, super_on_watchdog);
}

static int super_signals(struct supervisor *s)
{
	static const int numbers[] = {SIGCHLD, SIGHUP, SIGTERM, SIGINT, SIGUSR1, SIGUSR2};

	/* Inherited by the children as ignored, which is what they want as well. */
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		struct event *e = evsignal_new(s->base, numbers[i], super_on_signal, s);

		if (!e)
			return SLUICE_ENOMEM;
		s->signals[s->n_signals++] = e;
		if (event_add(e, NULL)) /* a start that never hears of its children's ends would wait for ever */
			return SLUICE_ENOMEM;
	}
	return 0;
}

int super_init(struct supervisor *s, const char *file, const char *programs, bool verbose)
{
	*s = (struct supervisor){.file = file, .programs = programs, .verbose = verbose, .started = super_now()};
	sl_link_init(&s->children);
	sl_link_init(&s->listeners);
	sl_link_init(&s->old);
	s->base = event_base_new();
	s->progress = s->base ? event_new(s->base, -1, 0, super_progress, s) : NULL;
	s->pings = s->progress ? super_every(s, PING_MS, super_on_ping) : NULL;
	return s->pings && super_signals(s) == 0 ? 0 : SLUICE_ENOMEM;
}

/* The loop has ended: no child runs any more, except those that were killed while a check was cut short. */
void super_fini(struct supervisor *s)
{
	check_free(s->check);
	upgrade_free(s);
	control_close(s);
	while (!sl_link_alone(&s->children)) {
		struct child *c = SL_OF(s->children.next, struct child, link);
		int status = 0;

		c->wanted = false;
		if (c->pid > 0) {
			child_kill(c, SIGKILL, "sluiced ends");
			while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
				;
			child_reaped(c, status);
		}
		child_free(c);
	}
	while (!sl_link_alone(&s->old))
		generation_free(SL_OF(s->old.next, struct generation, link));
	generation_free(s->next);
	generation_free(s->gen);
	config_unref(s->config);
	listeners_close(s);
	datadir_close(&s->data);
	takeover_free(s);
	notify_close(&s->notify);
	for (size_t i = 0; i < s->n_signals; i++)
		event_free(s->signals[i]);
	if (s->watchdog)
		event_free(s->watchdog);
	if (s->pings)
		event_free(s->pings);
	if (s->progress)
		event_free(s->progress);
	if (s->base)
		event_base_free(s->base);
}

int super_run(struct supervisor *s)
{
	sl_log(SLUICE_LOG_INFO, "starting version=%s pid=%ld config=%s", PACKAGE_VERSION, (long)getpid(), s->file);
	if (takeover_open(s))
		return 1;
	if (!s->takeover) {
		notify_open(&s->notify);
		activation_take(s);
		super_watchdog(s);
	}
	if (!super_load(s))
		return 1;
	event_base_dispatch(s->base);
	sl_log(SLUICE_LOG_INFO, "stopped exit=%d", s->exit_code);
	return s->exit_code;
}

int super_check(struct supervisor *s, bool print)
{
	struct sl_buf out;

	s->only_check = true;
	if (!s->verbose)
		sl_log_level(SLUICE_LOG_WARN); /* findings are what counts */
	if (!super_load(s))
		return 1;
	event_base_dispatch(s->base);
	if (!s->check || !check_done(s->check)) /* a signal cut it short */
		return 1;
	print_errors(s, check_errors(s->check));
	if (s->exit_code)
		return s->exit_code;
	if (!print) {
		printf("%s: ok\n", s->file);
		return 0;
	}
	sl_buf_init(&out);
	if (config_print(s->config, s->check, &out) == 0)
		fwrite(sl_buf_slice(&out).data, 1, out.len, stdout);
	else
		s->exit_code = 1;
	sl_buf_fini(&out);
	return s->exit_code;
}
