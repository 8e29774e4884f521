/*
 * conf_print.c - a checked tree as YAML with every default filled in. Supervisor, workers.
 *
 * What it prints can be read again and gives the same values. Secrets are masked. Parts without an option table are printed as they were
 * written.
 */
#include <stdio.h>
#include <strings.h>

#include "lib/conf_tree.h"

struct conf_printer {
	struct sl_buf *out;
	int rc;
};

static void print_options(struct conf_printer *, const struct sluice_conf *, const struct sluice_option *,
                          const char *const *ignore, unsigned indent);
static void print_value(struct conf_printer *, const struct sluice_conf *, const struct sluice_option *, unsigned indent);

static void put(struct conf_printer *p, const char *text)
{
	if (p->rc == 0)
		p->rc = sl_buf_add(p->out, text, strlen(text));
}

static void put_indent(struct conf_printer *p, unsigned indent)
{
	while (indent--)
		put(p, " ");
}

/* Whether a text can stand without quotes and still be read as this text. */
static bool is_plain(const char *text)
{
	static const char *const words[] = {"true", "false", "null", "yes", "no", "on", "off", "~"};

	if (!*text || strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:+-") != strlen(text))
		return false;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (strcasecmp(words[i], text) == 0)
			return false;
	}
	return text[0] != '-' && text[0] != ':' && text[strlen(text) - 1] != ':';
}

static void put_text(struct conf_printer *p, const char *text)
{
	char one[5];

	if (is_plain(text)) {
		put(p, text);
		return;
	}
	put(p, "\"");
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			snprintf(one, sizeof one, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			snprintf(one, sizeof one, "\\x%02x", c);
		else
			snprintf(one, sizeof one, "%c", c);
		put(p, one);
	}
	put(p, "\"");
}

static void put_number(struct conf_printer *p, int64_t v, const char *const *unit, const int64_t *factor, size_t n)
{
	char text[32];

	for (size_t i = 0; i < n; i++) {
		if (v != 0 && v % factor[i] == 0) {
			snprintf(text, sizeof text, "%lld%s", (long long)(v / factor[i]), unit[i]);
			put(p, text);
			return;
		}
	}
	snprintf(text, sizeof text, "%lld", (long long)v);
	put(p, text);
}

static void put_scalar(struct conf_printer *p, const struct sluice_conf *node, const struct sluice_option *o)
{
	static const char *const size_unit[] = {"T", "G", "M", "K"};
	static const int64_t size_factor[] = {INT64_C(1) << 40, 1 << 30, 1 << 20, 1 << 10};
	static const char *const time_unit[] = {"d", "h", "m", "s", "ms"};
	static const int64_t time_factor[] = {24 * 3600 * 1000, 3600 * 1000, 60 * 1000, 1000, 1};

	if (o && (o->flags & SLUICE_OPT_SECRET))
		put(p, "\"********\"");
	else if (o && o->type == SLUICE_T_SIZE)
		put_number(p, node->num, size_unit, size_factor, 4);
	else if (o && o->type == SLUICE_T_DURATION)
		put_number(p, node->num, time_unit, time_factor, 5);
	else if ((o && (o->type == SLUICE_T_BOOL || o->type == SLUICE_T_ENUM || o->type == SLUICE_T_INT)) || node->plain)
		put(p, node->text); /* checked, or written without quotes: stands as it is */
	else
		put_text(p, node->text);
}

/* A map as an element: its first member stands behind the dash, so it is printed apart and the indentation cut off. */
static void print_element(struct conf_printer *p, const struct sluice_conf *node, const struct sluice_option *sub, unsigned indent)
{
	struct sluice_option map = {.type = SLUICE_T_MAP, .sub = sub};
	const struct sluice_option *o = !sub ? NULL : conf_is_element(sub) ? sub : &map;
	struct sl_buf body;
	struct conf_printer q = {.out = &body};
	sl_slice text;

	put_indent(p, indent);
	put(p, "- ");
	if (node->kind != CONF_MAP || (node->n_item == 0 && !o)) {
		print_value(p, node, o, indent + 2);
		return;
	}
	sl_buf_init(&body);
	print_options(&q, node, o ? o->sub : NULL, NULL, indent + 2);
	text = sl_buf_slice(&body);
	if (p->rc == 0)
		p->rc = q.rc;
	if (p->rc == 0 && text.len > indent + 2)
		p->rc = sl_buf_add(p->out, (const char *)text.data + indent + 2, text.len - indent - 2);
	else
		put(p, "{}\n");
	sl_buf_fini(&body);
}

/* What stands behind "key:" or "- ", line end included. */
static void print_value(struct conf_printer *p, const struct sluice_conf *node, const struct sluice_option *o, unsigned indent)
{
	const struct sluice_option *sub = o ? o->sub : NULL;

	switch (node->kind) {
	case CONF_NULL:
		put(p, "null\n");
		break;
	case CONF_SCALAR:
		put_scalar(p, node, o);
		put(p, "\n");
		break;
	case CONF_LIST:
		put(p, node->n_item ? "\n" : "[]\n");
		for (size_t i = 0; i < node->n_item; i++)
			print_element(p, node->item[i], sub, indent);
		break;
	case CONF_MAP:
		put(p, node->n_item ? "\n" : "{}\n");
		print_options(p, node, sub, NULL, indent);
		break;
	}
}

static void print_member(struct conf_printer *p, const struct sluice_conf *node, const struct sluice_option *o, unsigned indent)
{
	put_indent(p, indent);
	put_text(p, node->key);
	put(p, ":");
	if (node->kind == CONF_SCALAR || node->kind == CONF_NULL || node->n_item == 0)
		put(p, " ");
	print_value(p, node, o, indent + 2);
}

static bool is_named(const char *name, const char *const *list)
{
	for (; list && *list; list++) {
		if (strcmp(*list, name) == 0)
			return true;
	}
	return false;
}

/* In the order of the table; without a table in the order of the file. */
static void print_options(struct conf_printer *p, const struct sluice_conf *map, const struct sluice_option *table,
                          const char *const *ignore, unsigned indent)
{
	for (size_t i = 0; !table && i < map->n_item; i++)
		print_member(p, map->item[i], NULL, indent);
	for (const struct sluice_option *o = table; o && o->name; o++) {
		const struct sluice_conf *node = conf_member(map, o->name);

		if (node && node->kind != CONF_NULL && !is_named(o->name, ignore))
			print_member(p, node, o, indent);
	}
}

int sl_conf_print(const struct sluice_conf *map, const struct sluice_option *table, const char *const *ignore, unsigned indent,
                  struct sl_buf *out)
{
	struct conf_printer p = {.out = out};

	if (map->kind != CONF_MAP)
		return SLUICE_EINVAL;
	print_options(&p, map, table, ignore, indent);
	return p.rc;
}
