/*
 * conf_check.c - a tree against option tables: types, ranges, required members, unknown keys, defaults. Supervisor, workers, writer.
 *
 * Every problem is collected. Absent members get the default of their option as a node of its own, so that getters cannot fail.
 * A node that is wrong keeps its place and the value 0.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/address.h"
#include "lib/conf_tree.h"

struct conf_check {
	struct sl_conf_errors *errors;
	size_t found;
};

static void check_value(struct conf_check *, struct sluice_conf *, const struct sluice_option *, const char *path);
static void check_map(struct conf_check *, struct sluice_conf *, const struct sluice_option *, const char *path,
                      const char *const *ignore);

bool conf_is_element(const struct sluice_option *sub)
{
	return sub && (!sub->name || !*sub->name || !sub[1].name);
}

static __attribute__((format(printf, 4, 5))) void check_error(struct conf_check *c, unsigned line, unsigned column,
                                                              const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	c->found++;
	sl_conf_errors_add(c->errors, line, column, "%s", text);
}

static const char *type_words(const struct sluice_option *o)
{
	static const char *const words[] = {
	        [SLUICE_T_BOOL] = "true or false",
	        [SLUICE_T_INT] = "a whole number",
	        [SLUICE_T_SIZE] = "size such as \"64M\"",
	        [SLUICE_T_DURATION] = "duration such as \"5s\"",
	        [SLUICE_T_STRING] = "a text",
	        [SLUICE_T_ENUM] = "one word",
	        [SLUICE_T_LISTENER] = "an address such as \"127.0.0.1:4437\"",
	        [SLUICE_T_LIST] = "a list",
	        [SLUICE_T_MAP] = "a map",
	};

	return words[o->type];
}

/* What was found instead; never the text of a secret. */
static const char *found_words(const struct sluice_conf *node, const struct sluice_option *o, char *buf, size_t size)
{
	static const char *const kinds[] = {[CONF_NULL] = "nothing", [CONF_MAP] = "a map", [CONF_LIST] = "a list"};

	if (node->kind != CONF_SCALAR)
		return kinds[node->kind];
	if (o->flags & SLUICE_OPT_SECRET)
		return "another text";
	snprintf(buf, size, "\"%.200s\"", node->text);
	return buf;
}

static void check_expected(struct conf_check *c, const struct sluice_conf *node, const struct sluice_option *o, const char *path)
{
	char buf[256];

	check_error(c, node->line, node->column, "%s: expected %s, got %s", path, type_words(o),
	            found_words(node, o, buf, sizeof buf));
}

/* The number behind a text of a numeric type. */
static int number_of(enum sluice_type type, const char *text, int64_t *out)
{
	char *end;

	if (type == SLUICE_T_SIZE)
		return sl_conf_size(text, out);
	if (type == SLUICE_T_DURATION)
		return sl_conf_duration(text, out);
	if (!(*text == '-' || (*text >= '0' && *text <= '9')))
		return SLUICE_EINVAL;
	errno = 0;
	*out = strtoll(text, &end, 10);
	return errno || *end || end == text ? SLUICE_EINVAL : 0;
}

static bool has_bound(const char *bound)
{
	return bound && *bound;
}

static void check_number(struct conf_check *c, struct sluice_conf *node, const struct sluice_option *o, const char *path)
{
	int64_t v, bound;

	if (number_of(o->type, node->text, &v)) {
		check_expected(c, node, o, path);
		return;
	}
	if (has_bound(o->min) && number_of(o->type, o->min, &bound) == 0 && v < bound)
		check_error(c, node->line, node->column, "%s: must be at least %s, got \"%s\"", path, o->min, node->text);
	else if (has_bound(o->max) && number_of(o->type, o->max, &bound) == 0 && v > bound)
		check_error(c, node->line, node->column, "%s: must be at most %s, got \"%s\"", path, o->max, node->text);
	else
		node->num = v;
}

/* For texts and lists, min and max bound the length. */
static void check_length(struct conf_check *c, const struct sluice_conf *node, const struct sluice_option *o, const char *path,
                         size_t n, const char *what)
{
	if (has_bound(o->min) && n < strtoull(o->min, NULL, 10))
		check_error(c, node->line, node->column, "%s: needs at least %s %s%s", path, o->min, what,
		            strcmp(o->min, "1") == 0 ? "" : "s");
	if (has_bound(o->max) && n > strtoull(o->max, NULL, 10))
		check_error(c, node->line, node->column, "%s: takes at most %s %s%s", path, o->max, what,
		            strcmp(o->max, "1") == 0 ? "" : "s");
}

static void check_bool(struct conf_check *c, struct sluice_conf *node, const struct sluice_option *o, const char *path)
{
	node->num = strcmp(node->text, "true") == 0;
	if (!node->plain || (!node->num && strcmp(node->text, "false") != 0))
		check_expected(c, node, o, path);
}

struct words {
	const char *list;
	char buf[64];
};

static const char *enum_word(void *arg, size_t i)
{
	struct words *w = arg;
	const char *p = w->list;

	while (i-- > 0)
		p += strcspn(p, "|") + 1;
	snprintf(w->buf, sizeof w->buf, "%.*s", (int)strcspn(p, "|"), p);
	return w->buf;
}

static void check_enum(struct conf_check *c, struct sluice_conf *node, const struct sluice_option *o, const char *path)
{
	struct words w = {.list = o->min};
	char list[256];
	size_t n = 1, at = 0, near;

	node->num = conf_enum_index(o->min, node->text);
	if (node->num >= 0)
		return;
	node->num = 0;
	for (const char *p = o->min; *p && at + 3 < sizeof list; p++) {
		n += *p == '|';
		if (*p == '|')
			list[at++] = ',';
		list[at++] = *p == '|' ? ' ' : *p;
	}
	list[at] = '\0';
	near = conf_nearest(node->text, n, enum_word, &w);
	check_error(c, node->line, node->column, "%s: expected one of %s, got \"%.200s\"%s%s%s", path, list, node->text,
	            near < n ? " (did you mean \"" : "", near < n ? enum_word(&w, near) : "", near < n ? "\"?)" : "");
}

static void check_listener(struct conf_check *c, struct sluice_conf *node, const struct sluice_option *o, const char *path)
{
	struct sl_address a;
	const char *why;

	(void)o;
	if (sl_address_parse(node->text, &a, &why))
		check_error(c, node->line, node->column, "%s: %s, got \"%.200s\"", path, why, node->text);
}

static void check_scalar(struct conf_check *c, struct sluice_conf *node, const struct sluice_option *o, const char *path)
{
	if (node->kind != CONF_SCALAR) {
		check_expected(c, node, o, path);
		return;
	}
	switch (o->type) {
	case SLUICE_T_BOOL:
		check_bool(c, node, o, path);
		break;
	case SLUICE_T_INT:
	case SLUICE_T_SIZE:
	case SLUICE_T_DURATION:
		check_number(c, node, o, path);
		break;
	case SLUICE_T_ENUM:
		check_enum(c, node, o, path);
		break;
	case SLUICE_T_LISTENER:
		check_listener(c, node, o, path);
		break;
	default:
		check_length(c, node, o, path, strlen(node->text), "byte");
		break;
	}
}

static void check_list(struct conf_check *c, struct sluice_conf *node, const struct sluice_option *o, const char *path)
{
	char name[512];

	if (node->kind != CONF_LIST) {
		check_expected(c, node, o, path);
		return;
	}
	check_length(c, node, o, path, node->n_item, "element");
	for (size_t i = 0; o->sub && i < node->n_item; i++) {
		struct sluice_option map = {.type = SLUICE_T_MAP, .sub = o->sub};

		snprintf(name, sizeof name, "%s[%zu]", path, i);
		check_value(c, node->item[i], conf_is_element(o->sub) ? o->sub : &map, name);
	}
}

static void check_value(struct conf_check *c, struct sluice_conf *node, const struct sluice_option *o, const char *path)
{
	/* A listener may be its address alone, or a map where its table has more to say. */
	bool map = o->type == SLUICE_T_MAP || (o->type == SLUICE_T_LISTENER && o->sub && node->kind == CONF_MAP);

	if (o->type == SLUICE_T_LIST) {
		check_list(c, node, o, path);
	} else if (map) {
		if (node->kind != CONF_MAP)
			check_expected(c, node, o, path);
		else if (o->sub)
			check_map(c, node, o->sub, path, NULL);
	} else {
		check_scalar(c, node, o, path);
	}
}

static void mark_default(struct sluice_conf *node, unsigned line, unsigned column)
{
	node->is_default = true;
	node->line = line;
	node->column = column;
	for (size_t i = 0; i < node->n_item; i++)
		mark_default(node->item[i], line, column);
}

/* A default is written as in YAML; a plain scalar is taken as it stands. */
static struct sluice_conf *default_node(struct conf_check *c, const struct sluice_option *o)
{
	struct sluice_conf *node;

	if (o->type == SLUICE_T_LIST || o->type == SLUICE_T_MAP || *o->def == '"' || *o->def == '\'')
		return sl_conf_parse(sl_slice_str(o->def), c->errors);
	node = conf_node_new(CONF_SCALAR, 0, 0);
	if (!node)
		return NULL;
	node->plain = true;
	node->text = strdup(o->def);
	if (!node->text) {
		sl_conf_free(node);
		return NULL;
	}
	return node;
}

static void conf_remove(struct sluice_conf *map, struct sluice_conf *node)
{
	size_t i = 0;

	while (map->item[i] != node)
		i++;
	map->n_item--;
	memmove(map->item + i, map->item + i + 1, (map->n_item - i) * sizeof *map->item);
	sl_conf_free(node);
}

static void add_default(struct conf_check *c, struct sluice_conf *map, const struct sluice_option *o, const char *path)
{
	struct sluice_conf *node = default_node(c, o);

	if (node) {
		mark_default(node, map->line, map->column);
		node->key_line = map->line;
		node->key_column = map->column;
		node->key = strdup(o->name);
	}
	if (!node || !node->key || conf_node_add(map, node)) {
		sl_conf_free(node);
		check_error(c, map->line, map->column, "%s: out of memory", path);
		return;
	}
	check_value(c, node, o, path);
	mark_default(node, map->line, map->column);
}

static const char *option_name(void *arg, size_t i)
{
	const struct sluice_option **table = arg;

	return (*table)[i].name;
}

static bool is_ignored(const char *key, const char *const *ignore)
{
	for (; ignore && *ignore; ignore++) {
		if (strcmp(*ignore, "*") == 0 || strcmp(*ignore, key) == 0)
			return true;
	}
	return false;
}

static void check_unknown(struct conf_check *c, const struct sluice_conf *map, const struct sluice_option *table, size_t n,
                          const char *path, const char *const *ignore)
{
	for (size_t i = 0; i < map->n_item; i++) {
		const struct sluice_conf *m = map->item[i];
		size_t k = 0, near;

		while (k < n && strcmp(table[k].name, m->key) != 0)
			k++;
		if (k < n || is_ignored(m->key, ignore))
			continue;
		near = conf_nearest(m->key, n, option_name, &table);
		check_error(c, m->key_line, m->key_column, "%s%sunknown key \"%.200s\"%s%s%s", path, *path ? ": " : "", m->key,
		            near < n ? " (did you mean \"" : "", near < n ? table[near].name : "", near < n ? "\"?)" : "");
	}
}

static void check_map(struct conf_check *c, struct sluice_conf *map, const struct sluice_option *table, const char *path,
                      const char *const *ignore)
{
	size_t n = 0;

	while (table[n].name)
		n++;
	check_unknown(c, map, table, n, path, ignore);
	for (const struct sluice_option *o = table; o->name; o++) {
		struct sluice_conf *node = conf_member(map, o->name);
		char name[512];

		snprintf(name, sizeof name, "%s%s%s", path, *path ? "." : "", o->name);
		if (node && node->kind != CONF_NULL) {
			check_value(c, node, o, name);
		} else if (!o->def) {
			check_error(c, node ? node->line : map->line, node ? node->column : map->column, "%s: required, but missing",
			            name);
		} else if (*o->def) {
			/* "key:" without a value is as good as no key: it leaves the tree, so that the default is found. */
			if (node)
				conf_remove(map, node);
			add_default(c, map, o, name);
		}
	}
}

size_t sl_conf_check(struct sluice_conf *map, const struct sluice_option *table, const char *path, const char *const *ignore,
                     struct sl_conf_errors *errors)
{
	struct conf_check c = {.errors = errors};
	struct sluice_option top = {.type = SLUICE_T_MAP};
	char name[512];

	if (!path) {
		conf_path(map, name, sizeof name);
		path = name;
	}
	if (map->kind != CONF_MAP)
		check_expected(&c, map, &top, *path ? path : "the file");
	else if (table)
		check_map(&c, map, table, path, ignore);
	return c.found;
}
