/*
 * conf_value.c - errors with positions, units, enumerations, names of nodes, and what a misspelt word was meant to be.
 * Supervisor, workers, writer.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/conf_tree.h"

enum { ERRORS_MAX = 1000, WORD_MAX = 64, FULL_NAME_MAX = 512 };

/* The entry of a list whose first error did not find any memory: one without an entry would say that all is well. */
static char errors_lost_text[] = "out of memory";
static struct sl_conf_error errors_lost = {.line = 1, .column = 1, .text = errors_lost_text};

void sl_conf_errors_fini(struct sl_conf_errors *e)
{
	if (e->v == &errors_lost)
		*e = (struct sl_conf_errors){0};
	for (size_t i = 0; i < e->n; i++)
		free(e->v[i].text);
	free(e->v);
	*e = (struct sl_conf_errors){0};
}

static int errors_lose(struct sl_conf_errors *e)
{
	if (e->n == 0) {
		free(e->v);
		e->v = &errors_lost;
		e->n = 1;
	}
	return SLUICE_ENOMEM;
}

static int errors_add_text(struct sl_conf_errors *e, unsigned line, unsigned column, char *text)
{
	struct sl_conf_error *more;

	if (e->v == &errors_lost)
		*e = (struct sl_conf_errors){0};
	if (e->n == ERRORS_MAX) {
		free(text);
		return 0;
	}
	more = realloc(e->v, (e->n + 1) * sizeof *more);
	if (!text || !more) {
		free(text);
		e->v = more ? more : e->v;
		return errors_lose(e);
	}
	e->v = more;
	e->v[e->n++] = (struct sl_conf_error){.line = line, .column = column, .text = text};
	return 0;
}

static int errors_add_v(struct sl_conf_errors *e, unsigned line, unsigned column, const char *prefix, const char *fmt,
                        va_list ap)
{
	char *text = NULL, *all = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		return errors_lose(e);
	if (asprintf(&all, "%s%s%s", prefix, *prefix ? ": " : "", text) < 0)
		all = NULL;
	free(text);
	return errors_add_text(e, line, column, all);
}

int sl_conf_errors_add(struct sl_conf_errors *e, unsigned line, unsigned column, const char *fmt, ...)
{
	va_list ap;
	int rc;

	va_start(ap, fmt);
	rc = errors_add_v(e, line, column, "", fmt, ap);
	va_end(ap);
	return rc;
}

static int error_compare(const void *a, const void *b)
{
	const struct sl_conf_error *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	if (x->column != y->column)
		return x->column < y->column ? -1 : 1;
	return strcmp(x->text, y->text);
}

void sl_conf_errors_sort(struct sl_conf_errors *e)
{
	if (e->n)
		qsort(e->v, e->n, sizeof *e->v, error_compare);
}

void conf_path(const struct sluice_conf *node, char *out, size_t size)
{
	const struct sluice_conf *p = node->parent;
	size_t at, i = 0;

	if (size)
		*out = '\0';
	if (!p || !size)
		return;
	conf_path(p, out, size);
	at = strlen(out);
	if (node->key) {
		snprintf(out + at, size - at, "%s%s", at ? "." : "", node->key);
		return;
	}
	while (i < p->n_item && p->item[i] != node)
		i++;
	snprintf(out + at, size - at, "[%zu]", i);
}

void sl_conf_error_at(const struct sluice_conf *node, const char *path, struct sl_conf_errors *errors, const char *fmt, ...)
{
	const struct sluice_conf *at = path && *path ? sl_conf_get(node, path) : node;
	char full[FULL_NAME_MAX] = "";
	va_list ap;

	if (node)
		conf_path(at ? at : node, full, sizeof full);
	if (node && !at) {
		size_t n = strlen(full);

		snprintf(full + n, sizeof full - n, "%s%s", n ? "." : "", path);
	}
	if (!at)
		at = node;
	va_start(ap, fmt);
	errors_add_v(errors, at ? at->line : 1, at ? at->column : 1, full, fmt, ap);
	va_end(ap);
}

static bool value_secret(const struct sluice_conf *node, const struct sluice_option *o)
{
	bool found = (o->flags & SLUICE_OPT_SECRET) && node->kind == CONF_SCALAR && *node->text;

	if (node->kind == CONF_MAP)
		return o->sub && sl_conf_secret(node, o->sub);
	for (size_t i = 0; !found && node->kind == CONF_LIST && o->sub && i < node->n_item; i++) {
		const struct sluice_option map = {.name = o->name, .type = SLUICE_T_MAP, .sub = o->sub};

		found = value_secret(node->item[i], conf_is_element(o->sub) ? o->sub : &map);
	}
	return found;
}

bool sl_conf_secret(const struct sluice_conf *map, const struct sluice_option *table)
{
	bool found = false;

	for (const struct sluice_option *o = table; !found && o && o->name; o++) {
		const struct sluice_conf *node = sl_conf_get(map, o->name);

		found = node && !node->is_default && value_secret(node, o);
	}
	return found;
}

/* A decimal number followed by one of the units; the unit "" says that a number alone will do. */
static int conf_number(const char *text, const char *const *unit, const int64_t *factor, int64_t *out)
{
	uint64_t v = 0;
	const char *p = text;

	if (*p < '0' || *p > '9')
		return SLUICE_EINVAL;
	for (; *p >= '0' && *p <= '9'; p++) {
		unsigned digit = (unsigned)(*p - '0');

		if (v > ((uint64_t)INT64_MAX - digit) / 10)
			return SLUICE_EINVAL;
		v = v * 10 + digit;
	}
	if (v == 0 && !*p) {
		*out = 0;
		return 0;
	}
	for (size_t i = 0; unit[i]; i++) {
		if (strcmp(p, unit[i]) != 0)
			continue;
		if (v > (uint64_t)INT64_MAX / (uint64_t)factor[i])
			return SLUICE_EINVAL;
		*out = (int64_t)v * factor[i];
		return 0;
	}
	return SLUICE_EINVAL;
}

int sl_conf_size(const char *text, int64_t *bytes)
{
	static const char *const unit[] = {"", "K", "M", "G", "T", "k", NULL};
	static const int64_t factor[] = {1, 1 << 10, 1 << 20, 1 << 30, INT64_C(1) << 40, 1 << 10};

	return conf_number(text, unit, factor, bytes);
}

int sl_conf_duration(const char *text, int64_t *ms)
{
	static const char *const unit[] = {"ms", "s", "m", "h", "d", NULL};
	static const int64_t factor[] = {1, 1000, 60 * 1000, 3600 * 1000, 24 * 3600 * 1000};

	return conf_number(text, unit, factor, ms);
}

int64_t conf_enum_index(const char *alternatives, const char *text)
{
	size_t n = strlen(text);

	for (int64_t i = 0; alternatives; i++) {
		size_t len = strcspn(alternatives, "|");

		if (len == n && memcmp(alternatives, text, n) == 0)
			return i;
		alternatives = alternatives[len] ? alternatives + len + 1 : NULL;
	}
	return -1;
}

/* Edit distance in which a swap of neighbours counts once; words beyond WORD_MAX are never near. */
static size_t word_distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), row[3][WORD_MAX + 1];

	if (n > WORD_MAX || m > WORD_MAX)
		return SIZE_MAX;
	for (size_t j = 0; j <= m; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= n; i++) {
		size_t *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= m; j++) {
			size_t best = up[j - 1] + (a[i - 1] != b[j - 1]);

			if (up[j] + 1 < best)
				best = up[j] + 1;
			if (now[j - 1] + 1 < best)
				best = now[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
				best = up2[j - 2] + 1;
			now[j] = best;
		}
	}
	return row[n % 3][m];
}

size_t conf_nearest(const char *word, size_t n, const char *(*known)(void *, size_t i), void *arg)
{
	size_t least = strlen(word) / 3 + 2; /* one slip in a short word, more in a long one */
	size_t found = SIZE_MAX;

	for (size_t i = 0; i < n; i++) {
		const char *k = known(arg, i);
		size_t d = word_distance(word, k);

		/* Half of the word must be right, or a short one would be near to everything. */
		if (d < least && 2 * d <= strlen(word)) {
			least = d;
			found = i;
		}
	}
	return found;
}
