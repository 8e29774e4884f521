/*
 * conf.c - YAML text to a positioned tree, and the getters. Supervisor, workers, writer. No logging.
 *
 * libyaml delivers events; a stack of open nodes, at most CONF_DEPTH_MAX, turns them into a tree. Aliases become copies of what
 * their anchor named, within a bound on nodes. After a duplicate key or an unknown alias the parser goes on; after a syntax
 * error it cannot.
 */
#include "lib/conf.h"

#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#include "lib/conf_tree.h"

enum { ANCHORS_MAX = 256 };

struct conf_parser {
	yaml_parser_t yaml;
	struct sl_conf_errors *errors;
	struct sluice_conf *root;
	struct sluice_conf *open[CONF_DEPTH_MAX];
	size_t depth, nodes;
	char *key; /* of the member that comes next */
	unsigned key_line, key_column;
	struct {
		char *name;
		const struct sluice_conf *node;
	} anchor[ANCHORS_MAX];
	size_t n_anchor;
	unsigned documents;
	bool dead; /* memory is out or the tree is beyond its bounds */
};

struct sluice_conf *conf_node_new(enum conf_kind kind, unsigned line, unsigned column)
{
	struct sluice_conf *node = calloc(1, sizeof *node);

	if (node)
		*node = (struct sluice_conf){.magic = CONF_MAGIC, .kind = kind, .line = line, .column = column};
	return node;
}

int conf_node_add(struct sluice_conf *parent, struct sluice_conf *child)
{
	if (parent->n_item == parent->cap_item) {
		size_t cap = parent->cap_item ? 2 * parent->cap_item : 4;
		struct sluice_conf **more = realloc(parent->item, cap * sizeof *more);

		if (!more)
			return SLUICE_ENOMEM;
		parent->item = more;
		parent->cap_item = cap;
	}
	child->parent = parent;
	parent->item[parent->n_item++] = child;
	return 0;
}

/* Depth is bounded by the parser: CONF_DEPTH_MAX and as much again for an alias below it. */
void sl_conf_free(struct sluice_conf *node)
{
	if (!node)
		return;
	for (size_t i = 0; i < node->n_item; i++)
		sl_conf_free(node->item[i]);
	free(node->item);
	free(node->key);
	free(node->text);
	node->magic = 0;
	free(node);
}

struct sluice_conf *conf_copy(const struct sluice_conf *from, size_t *budget)
{
	struct sluice_conf *to;

	if (*budget == 0)
		return NULL;
	--*budget;
	to = conf_node_new(from->kind, from->line, from->column);
	if (!to)
		return NULL;
	to->plain = from->plain;
	to->key_line = from->key_line;
	to->key_column = from->key_column;
	if ((from->key && !(to->key = strdup(from->key))) || (from->text && !(to->text = strdup(from->text))))
		goto fail;
	for (size_t i = 0; i < from->n_item; i++) {
		struct sluice_conf *child = conf_copy(from->item[i], budget);

		if (!child)
			goto fail;
		if (conf_node_add(to, child)) {
			sl_conf_free(child);
			goto fail;
		}
	}
	return to;
fail:
	sl_conf_free(to);
	return NULL;
}

static size_t conf_height(const struct sluice_conf *node)
{
	size_t most = 0;

	for (size_t i = 0; i < node->n_item; i++) {
		size_t h = conf_height(node->item[i]);

		if (h > most)
			most = h;
	}
	return most + 1;
}

struct sluice_conf *conf_member(const struct sluice_conf *map, const char *key)
{
	for (size_t i = 0; map->kind == CONF_MAP && i < map->n_item; i++) {
		if (strcmp(map->item[i]->key, key) == 0)
			return map->item[i];
	}
	return NULL;
}

static void parse_die(struct conf_parser *p, yaml_mark_t at, const char *why)
{
	sl_conf_errors_add(p->errors, (unsigned)at.line + 1, (unsigned)at.column + 1, "%s", why);
	p->dead = true;
}

/* Hangs a finished or just opened node where the parser stands. The node is freed when it has no place. Returns it or NULL. */
static struct sluice_conf *parse_place(struct conf_parser *p, struct sluice_conf *node, yaml_mark_t at)
{
	struct sluice_conf *parent = p->depth ? p->open[p->depth - 1] : NULL;

	if (!node || ++p->nodes > CONF_NODES_MAX) {
		parse_die(p, at, node ? "the file is too large" : "out of memory");
		sl_conf_free(node);
		return NULL;
	}
	if (!parent) {
		p->root = node;
		return node;
	}
	free(node->key); /* an alias copies a member together with the key of its origin */
	node->key = NULL;
	if (parent->kind == CONF_MAP) {
		node->key = p->key;
		node->key_line = p->key_line;
		node->key_column = p->key_column;
		p->key = NULL;
	}
	if (conf_node_add(parent, node)) {
		sl_conf_free(node);
		parse_die(p, at, "out of memory");
		return NULL;
	}
	return node;
}

static void parse_anchor(struct conf_parser *p, const yaml_char_t *name, const struct sluice_conf *node, yaml_mark_t at)
{
	if (!name)
		return;
	if (p->n_anchor == ANCHORS_MAX) {
		parse_die(p, at, "too many anchors");
		return;
	}
	p->anchor[p->n_anchor].name = strdup((const char *)name);
	p->anchor[p->n_anchor].node = node;
	if (!p->anchor[p->n_anchor].name)
		parse_die(p, at, "out of memory");
	else
		p->n_anchor++;
}

static bool parse_wants_key(const struct conf_parser *p)
{
	return p->depth && p->open[p->depth - 1]->kind == CONF_MAP && !p->key;
}

static void parse_key(struct conf_parser *p, const char *text, yaml_mark_t at)
{
	const struct sluice_conf *first = conf_member(p->open[p->depth - 1], text);

	p->key_line = (unsigned)at.line + 1;
	p->key_column = (unsigned)at.column + 1;
	if (first)
		sl_conf_errors_add(p->errors, p->key_line, p->key_column, "duplicate key \"%s\" (first in line %u)", text,
		                   first->key_line);
	p->key = strdup(text);
	if (!p->key)
		parse_die(p, at, "out of memory");
	else if (p->open[p->depth - 1]->n_item == CONF_MEMBERS_MAX)
		parse_die(p, at, "too many keys in one map");
}

static bool is_null(const char *text)
{
	return !*text || strcmp(text, "~") == 0 || strcasecmp(text, "null") == 0;
}

static void parse_scalar(struct conf_parser *p, const yaml_event_t *e)
{
	const char *text = (const char *)e->data.scalar.value;
	bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	unsigned line = (unsigned)e->start_mark.line + 1, column = (unsigned)e->start_mark.column + 1;
	struct sluice_conf *node;

	if (strlen(text) != e->data.scalar.length)
		sl_conf_errors_add(p->errors, line, column, "a text must not contain NUL");
	if (parse_wants_key(p)) {
		parse_key(p, text, e->start_mark);
		return;
	}
	node = conf_node_new(plain && is_null(text) ? CONF_NULL : CONF_SCALAR, line, column);
	if (node) {
		node->plain = plain;
		node->text = strdup(text);
		if (!node->text) {
			sl_conf_free(node);
			node = NULL;
		}
	}
	node = parse_place(p, node, e->start_mark);
	if (node)
		parse_anchor(p, e->data.scalar.anchor, node, e->start_mark);
}

static void parse_open(struct conf_parser *p, enum conf_kind kind, const yaml_char_t *anchor, yaml_mark_t at)
{
	struct sluice_conf *node;

	if (parse_wants_key(p)) {
		parse_die(p, at, "a key must be a plain word, not a list or a map");
		return;
	}
	if (p->depth == CONF_DEPTH_MAX) {
		parse_die(p, at, "nested too deeply");
		return;
	}
	node = parse_place(p, conf_node_new(kind, (unsigned)at.line + 1, (unsigned)at.column + 1), at);
	if (!node)
		return;
	parse_anchor(p, anchor, node, at);
	p->open[p->depth++] = node;
}

static void parse_alias(struct conf_parser *p, const yaml_event_t *e)
{
	const char *name = (const char *)e->data.alias.anchor;
	const struct sluice_conf *node = NULL;
	struct sluice_conf *copy;
	size_t budget = CONF_NODES_MAX - p->nodes, left = budget;
	unsigned line = (unsigned)e->start_mark.line + 1, column = (unsigned)e->start_mark.column + 1;

	for (size_t i = p->n_anchor; i-- > 0 && !node;) {
		if (strcmp(p->anchor[i].name, name) == 0)
			node = p->anchor[i].node;
	}
	if (parse_wants_key(p)) {
		parse_die(p, e->start_mark, "a key must be a plain word, not an alias");
		return;
	}
	for (size_t i = 0; i < p->depth; i++) {
		if (p->open[i] == node) {
			parse_die(p, e->start_mark, "an alias inside of what it stands for");
			return;
		}
	}
	if (!node) {
		sl_conf_errors_add(p->errors, line, column, "unknown alias \"%s\"", name);
		copy = conf_node_new(CONF_NULL, line, column);
		parse_place(p, copy, e->start_mark);
		return;
	}
	if (p->depth + conf_height(node) > CONF_DEPTH_MAX) {
		parse_die(p, e->start_mark, "nested too deeply");
		return;
	}
	copy = conf_copy(node, &left);
	if (!copy) {
		parse_die(p, e->start_mark, left ? "out of memory" : "the file is too large");
		return;
	}
	p->nodes += budget - left - 1;
	parse_place(p, copy, e->start_mark);
}

static void parse_event(struct conf_parser *p, const yaml_event_t *e)
{
	switch (e->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (p->documents++)
			parse_die(p, e->start_mark, "more than one document in the file");
		break;
	case YAML_SCALAR_EVENT:
		parse_scalar(p, e);
		break;
	case YAML_ALIAS_EVENT:
		parse_alias(p, e);
		break;
	case YAML_MAPPING_START_EVENT:
		parse_open(p, CONF_MAP, e->data.mapping_start.anchor, e->start_mark);
		break;
	case YAML_SEQUENCE_START_EVENT:
		parse_open(p, CONF_LIST, e->data.sequence_start.anchor, e->start_mark);
		break;
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		p->depth--;
		break;
	default:
		break;
	}
}

static void parse_syntax(struct conf_parser *p)
{
	const yaml_parser_t *y = &p->yaml;
	yaml_mark_t at = y->problem_mark;

	p->dead = true;
	if (y->error == YAML_MEMORY_ERROR)
		sl_conf_errors_add(p->errors, 1, 1, "out of memory");
	else if (y->error == YAML_READER_ERROR)
		sl_conf_errors_add(p->errors, (unsigned)y->mark.line + 1, (unsigned)y->mark.column + 1, "not text: %s",
		                   y->problem ? y->problem : "unreadable");
	else
		sl_conf_errors_add(p->errors, (unsigned)at.line + 1, (unsigned)at.column + 1, "syntax error: %s%s%s",
		                   y->problem ? y->problem : "malformed YAML", y->context ? " " : "",
		                   y->context ? y->context : "");
}

static void parse_run(struct conf_parser *p)
{
	for (bool end = false; !end && !p->dead;) {
		yaml_event_t e;

		if (!yaml_parser_parse(&p->yaml, &e)) {
			parse_syntax(p);
			return;
		}
		parse_event(p, &e);
		end = e.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&e);
	}
}

struct sluice_conf *sl_conf_parse(sl_slice text, struct sl_conf_errors *errors)
{
	struct conf_parser *p = calloc(1, sizeof *p);
	struct sluice_conf *root;

	if (!p || !yaml_parser_initialize(&p->yaml)) {
		sl_conf_errors_add(errors, 1, 1, "out of memory");
		free(p);
		return NULL;
	}
	p->errors = errors;
	yaml_parser_set_encoding(&p->yaml, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p->yaml, text.data ? text.data : "", text.len);
	parse_run(p);
	yaml_parser_delete(&p->yaml);
	for (size_t i = 0; i < p->n_anchor; i++)
		free(p->anchor[i].name);
	free(p->key);
	if (p->dead) {
		sl_conf_free(p->root);
		p->root = NULL;
	} else if (!p->root) {
		sl_conf_errors_add(errors, 1, 1, "the file is empty");
	}
	root = p->root;
	free(p);
	return root;
}

static const struct sluice_conf *conf_find(const struct sluice_conf *node, const char *path)
{
	while (node && *path) {
		size_t n = strcspn(path, ".");
		const struct sluice_conf *next = NULL;

		for (size_t i = 0; node->kind == CONF_MAP && i < node->n_item && !next; i++) {
			if (strlen(node->item[i]->key) == n && memcmp(node->item[i]->key, path, n) == 0)
				next = node->item[i];
		}
		node = next;
		path += n + (path[n] == '.');
	}
	return node;
}

const struct sluice_conf *sl_conf_get(const struct sluice_conf *node, const char *path)
{
	node = conf_find(node, path);
	return node && node->kind != CONF_NULL ? node : NULL;
}

bool sl_conf_has(const struct sluice_conf *node, const char *path)
{
	node = sl_conf_get(node, path);
	return node && !node->is_default;
}

int64_t sl_conf_int(const struct sluice_conf *node, const char *path)
{
	node = sl_conf_get(node, path);
	return node ? node->num : 0;
}

const char *sl_conf_str(const struct sluice_conf *node, const char *path)
{
	node = sl_conf_get(node, path);
	return node && node->text ? node->text : "";
}

size_t sl_conf_len(const struct sluice_conf *node, const char *path)
{
	node = sl_conf_get(node, path);
	return node && node->kind == CONF_LIST ? node->n_item : 0;
}

const struct sluice_conf *sl_conf_at(const struct sluice_conf *node, const char *path, size_t i)
{
	node = sl_conf_get(node, path);
	return node && node->kind == CONF_LIST && i < node->n_item ? node->item[i] : NULL;
}

unsigned sl_conf_line(const struct sluice_conf *node)
{
	return node ? node->line : 0;
}

unsigned sl_conf_column(const struct sluice_conf *node)
{
	return node ? node->column : 0;
}

int sl_conf_default_int(struct sluice_conf *map, const char *key, int64_t value)
{
	struct sluice_conf *node = conf_member(map, key);
	char text[24], *copy;

	if (!node || !node->is_default)
		return 0;
	snprintf(text, sizeof text, "%lld", (long long)value);
	copy = strdup(text);
	if (!copy)
		return SLUICE_ENOMEM;
	free(node->text);
	node->text = copy;
	node->num = value;
	return 0;
}

/* As deep as the parser allows. */
bool sl_conf_equal(const struct sluice_conf *a, const struct sluice_conf *b)
{
	if (!a || !b)
		return !a && !b;
	if (a->kind != b->kind || a->n_item != b->n_item || strcmp(a->text ? a->text : "", b->text ? b->text : "") != 0)
		return false;
	for (size_t i = 0; i < a->n_item; i++) {
		const struct sluice_conf *y = b->item[i];

		if (a->kind == CONF_MAP)
			y = conf_member(b, a->item[i]->key);
		if (!y || !sl_conf_equal(a->item[i], y))
			return false;
	}
	return true;
}
