/*
 * check.c - the check of a configuration, plugins included. Supervisor.
 *
 * The supervisor never loads a plugin: for each frontend a worker is started that loads its plugins, lets them look at their options,
 * tells what they found, and ends. One after the other: a check is rare, and a plugin that needs much memory needs it once.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "lib/log.h"
#include "supervisor/supervisor.h"

enum { CHECK_WARNINGS = 64 };

struct check {
	struct supervisor *super;
	struct config *config;
	struct sl_conf_errors errors;
	bool core_failed; /* the core has found errors itself: a child that gives up is no news */
	struct child *child;
	size_t at;        /* frontend being checked */
	bool verdict;     /* it said `checked` */
	char **effective; /* per frontend */
	bool secrets;     /* some in the file */
	char *warning[CHECK_WARNINGS];
	size_t n_warning;
	size_t n;
};

static void check_next(struct check *k)
{
	for (; k->at < k->n; k->at++) {
		const struct sluice_conf *f = sl_conf_at(k->config->root, "frontends", k->at);
		const char *section = sl_conf_str(f, "name");
		char name[64];

		if (!*section || sl_conf_len(f, "plugins") == 0)
			continue;
		snprintf(name, sizeof name, "check:%.40s", section);
		k->verdict = false;
		k->child = child_new(k->super, CHILD_CHECK, name, section);
		if (k->child) {
			k->child->check = k;
			child_start(k->child);
			return;
		}
		sl_conf_error_at(f, "", &k->errors, "out of memory");
	}
	config_warn(k->config, k->secrets, !k->super->only_check);
	sl_conf_errors_sort(&k->errors);
	super_poke(k->super);
}

struct check *check_start(struct supervisor *s, struct config *config, struct sl_conf_errors *found)
{
	struct check *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	k->super = s;
	k->config = config_ref(config);
	k->errors = *found;
	*found = (struct sl_conf_errors){0};
	k->core_failed = k->errors.n > 0 || !config->root;
	k->secrets = config->root && sl_conf_secret(config->root, sl_options);
	k->n = sl_conf_len(config->root, "frontends");
	k->effective = calloc(k->n + 1, sizeof *k->effective);
	if (!k->effective) {
		check_free(k);
		return NULL;
	}
	check_next(k);
	return k;
}

bool check_done(const struct check *k)
{
	return !k->child && k->at >= k->n;
}

struct sl_conf_errors *check_errors(struct check *k)
{
	return &k->errors;
}

const struct config *check_config(const struct check *k)
{
	return k->config;
}

sl_slice check_effective(const struct check *k, size_t frontend)
{
	return frontend < k->n && k->effective[frontend] ? sl_slice_str(k->effective[frontend]) : SL_STR("");
}

void check_free(struct check *k)
{
	if (!k)
		return;
	if (k->child) {
		k->child->check = NULL;
		k->child->section = NULL;
		child_kill(k->child, SIGKILL, "the check is not needed any more");
	}
	for (size_t i = 0; k->effective && i < k->n; i++)
		free(k->effective[i]);
	free(k->effective);
	while (k->n_warning > 0)
		free(k->warning[--k->n_warning]);
	sl_conf_errors_fini(&k->errors);
	config_unref(k->config);
	free(k);
}

/* What belongs to the whole file (keys, tokens) every frontend's check finds again. */
static bool check_knows(const struct check *k, const struct sl_control_check_error *m)
{
	for (size_t i = 0; i < k->errors.n; i++) {
		const struct sl_conf_error *e = &k->errors.v[i];

		if (e->line == m->line && e->column == m->column && sl_slice_is(m->text, e->text))
			return true;
	}
	return false;
}

void check_found(struct child *c, const struct sl_control_check_error *m)
{
	if (c->check && !check_knows(c->check, m))
		sl_conf_errors_add(&c->check->errors, m->line, m->column, "%.*s", (int)m->text.len,
		                   m->text.data ? (const char *)m->text.data : "");
}

/* Each once, as far as they are kept. */
void check_warned(struct child *c, const struct sl_control_check_warning *m)
{
	struct check *k = c->check;

	for (size_t i = 0; k && i < k->n_warning; i++)
		if (sl_slice_is(m->text, k->warning[i]))
			return;
	if (!k)
		return;
	if (k->n_warning < CHECK_WARNINGS && (k->warning[k->n_warning] = sl_slice_dup(m->text)) != NULL)
		k->n_warning++;
	sl_log(SLUICE_LOG_WARN, "%.*s", (int)m->text.len, m->text.data ? (const char *)m->text.data : "");
}

void check_verdict(struct child *c, const struct sl_control_checked *m)
{
	struct check *k = c->check;

	if (!k)
		return;
	k->verdict = true;
	k->secrets = k->secrets || m->secrets;
	free(k->effective[k->at]);
	k->effective[k->at] = sl_slice_dup(m->effective);
}

static void check_died(struct check *k, const struct child *c, int status)
{
	const struct sluice_conf *f = sl_conf_at(k->config->root, "frontends", k->at);
	const char *path = "plugins";

	if (c->why)
		sl_conf_error_at(f, path, &k->errors, "%s", c->why);
	else if (status != -1 && WIFSIGNALED(status))
		sl_conf_error_at(f, path, &k->errors, "a plugin brought its check down: signal %d (%s)", WTERMSIG(status),
		                 strsignal(WTERMSIG(status)));
	else if (status == -1)
		sl_conf_error_at(f, path, &k->errors, "the program that checks plugins cannot be started");
	else if (WEXITSTATUS(status))
		sl_conf_error_at(f, path, &k->errors, "the check of the plugins ended with status %d and no verdict",
		                 WEXITSTATUS(status));
	else
		sl_conf_error_at(f, path, &k->errors, "the check of the plugins gave no verdict: %s", c->lost ? c->lost : "it ended");
}

void check_gone(struct child *c, int status)
{
	struct check *k = c->check;

	if (!k)
		return;
	if (!k->verdict && !k->core_failed)
		check_died(k, c, status);
	k->child = NULL;
	c->check = NULL;
	c->section = NULL;
	k->at++;
	check_next(k);
}
