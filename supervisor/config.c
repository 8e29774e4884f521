/*
 * config.c - one text of the configuration file: read, checked, compared, printed. Supervisor.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/perm.h"
#include "supervisor/supervisor.h"

static int config_read(const char *file, struct sl_buf *text, struct stat *st)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), saved;

	if (fd < 0)
		return -1;
	if (fstat(fd, st)) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	for (;;) {
		void *room = sl_buf_room(text, 16384);
		ssize_t n = room ? read(fd, room, 16384) : -1;

		if (!room)
			errno = ENOMEM;
		if (n > 0)
			sl_buf_added(text, (size_t)n);
		if (n > 0 && text->len > CONFIG_MAX) {
			errno = EFBIG;
			n = -1;
		}
		if (n > 0 || (n < 0 && errno == EINTR))
			continue;
		saved = errno;
		close(fd);
		errno = saved;
		return n < 0 ? -1 : 0;
	}
}

struct config *config_load(const char *file, struct sl_conf_errors *errors)
{
	struct config *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->refs = 1;
	c->file = strdup(file);
	if (!c->file || config_read(file, &c->text, &c->st)) {
		int saved = errno;

		config_unref(c);
		errno = saved;
		return NULL;
	}
	c->root = sl_options_load(sl_buf_slice(&c->text), errors);
	return c;
}

struct config *config_ref(struct config *c)
{
	c->refs++;
	return c;
}

void config_unref(struct config *c)
{
	if (!c || --c->refs > 0)
		return;
	sl_conf_free(c->root);
	sl_buf_fini(&c->text);
	free(c->file);
	free(c);
}

void config_warn(const struct config *c, bool secrets, bool owner)
{
	unsigned mode = c->st.st_mode & 07777;
	char hide[4096 + 128];

	if (!S_ISREG(c->st.st_mode))
		return; /* a pipe: its bytes are nobody else's */
	if (sl_perm_writers(mode, S_IWOTH))
		sl_log(SLUICE_LOG_WARN, "config_writable file=%s mode=%04o action=\"every user can change what is run: chmod o-w %s\"", c->file, mode,
		       c->file);
	if (secrets && (mode & S_IROTH)) {
		sl_perm_hide(&c->st, c->file, hide, sizeof hide);
		sl_log(SLUICE_LOG_WARN, "config_readable file=%s mode=%04o action=\"every user can read the secrets in it: %s\"", c->file, mode, hide);
	}
	if (owner && sl_perm_foreign(&c->st))
		sl_log(SLUICE_LOG_WARN, "config_owner file=%s owner=%ld action=\"that user can change what is run; if that is not meant: chown root %s\"",
		       c->file, (long)c->st.st_uid, c->file);
}

static bool options_differ(const struct sluice_conf *a, const struct sluice_conf *b, const struct sluice_option *table)
{
	for (const struct sluice_option *o = table; o && o->name; o++) {
		const struct sluice_conf *x = sl_conf_get(a, o->name), *y = sl_conf_get(b, o->name);

		if (o->type == SLUICE_T_MAP && x && y && options_differ(x, y, o->sub))
			return true;
		if (!(o->flags & SLUICE_OPT_RESTART) || o->type == SLUICE_T_MAP)
			continue;
		/* As texts: 1024K for 1M costs a restart that was not needed, and nothing else. */
		if (strcmp(sl_conf_str(x, ""), sl_conf_str(y, "")) != 0)
			return true;
	}
	return false;
}

bool config_needs_restart(const struct config *old, const struct config *new)
{
	return options_differ(old->root, new->root, sl_options);
}

enum sluice_level config_log_level(const struct config *c)
{
	return (enum sluice_level)sl_conf_int(c->root, "log.level");
}

void config_log_errors(const struct config *c, const struct sl_conf_errors *errors)
{
	for (size_t i = 0; i < errors->n; i++)
		sl_log(SLUICE_LOG_ERR, "config_error %s:%u:%u: %s", c->file, errors->v[i].line, errors->v[i].column, errors->v[i].text);
}

static int print_indented(sl_slice text, const char *indent, struct sl_buf *out)
{
	const char *p = text.data, *end = p + text.len;

	while (p < end) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((eol ? eol : end) - p);

		if (sl_buf_add(out, indent, strlen(indent)) || sl_buf_add(out, p, n) || sl_buf_add(out, "\n", 1))
			return SLUICE_ENOMEM;
		p += n + 1;
	}
	return 0;
}

/* One frontend: its own members from the tree, its plugins as the check child printed them. */
static int print_frontend(const struct sluice_conf *f, sl_slice plugins, struct sl_buf *out)
{
	static const char *const not_plugins[] = {"plugins", NULL};
	const struct sluice_option *table = sl_options;
	struct sl_buf own;
	sl_slice text;
	int rc;

	while (strcmp(table->name, "frontends") != 0)
		table++;
	sl_buf_init(&own);
	rc = sl_conf_print(f, table->sub, not_plugins, 4, &own);
	text = sl_buf_slice(&own);
	if (rc == 0 && text.len > 4) /* the first member stands behind the dash */
		rc = sl_buf_add(out, "  - ", 4) || sl_buf_add(out, (const char *)text.data + 4, text.len - 4);
	sl_buf_fini(&own);
	if (rc == 0)
		rc = sl_buf_addf(out, "    plugins:\n") || print_indented(plugins, "      ", out);
	return rc ? SLUICE_ENOMEM : 0;
}

int config_print(const struct config *c, const struct check *check, struct sl_buf *out)
{
	static const char *const not_frontends[] = {"frontends", NULL};
	int rc = sl_conf_print(c->root, sl_options, not_frontends, 0, out);

	if (rc == 0)
		rc = sl_buf_addf(out, "frontends:\n");
	for (size_t i = 0; rc == 0 && i < sl_conf_len(c->root, "frontends"); i++)
		rc = print_frontend(sl_conf_at(c->root, "frontends", i), check_effective(check, i), out);
	return rc;
}
