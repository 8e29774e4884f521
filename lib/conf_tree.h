/*
 * conf_tree.h - the node of a configuration tree, shared by the conf_*.c files only. Everybody else uses lib/conf.h.
 */
#ifndef SL_CONF_TREE_H
#define SL_CONF_TREE_H

#include "lib/conf.h"

enum conf_kind { CONF_NULL, CONF_SCALAR, CONF_MAP, CONF_LIST };

#define CONF_MAGIC 0x436f6e66u
#define CONF_DEPTH_MAX 32
#define CONF_MEMBERS_MAX 4096 /* of one map: looking for duplicates takes quadratic time */
#define CONF_NODES_MAX 65536 /* aliases are copied, so a small file can ask for a large tree */

struct sluice_conf {
	uint32_t magic;
	enum conf_kind kind;
	bool plain;      /* scalar without quotes */
	bool is_default; /* not written in the file */
	unsigned line, column;
	unsigned key_line, key_column; /* members of a map */
	char *key;                     /* members of a map; owned */
	char *text;                    /* scalars; owned */
	int64_t num;                   /* value after the check: bool, int, size, duration, enum index */
	struct sluice_conf *parent;    /* NULL: root */
	struct sluice_conf **item;     /* members or elements; owned */
	size_t n_item, cap_item;
};

struct sluice_conf *conf_node_new(enum conf_kind, unsigned line, unsigned column); /* NULL: no memory */
int conf_node_add(struct sluice_conf *parent, struct sluice_conf *child);           /* 0: parent owns child */
struct sluice_conf *conf_member(const struct sluice_conf *map, const char *key);   /* NULL: absent */
struct sluice_conf *conf_copy(const struct sluice_conf *, size_t *budget);          /* NULL: no memory or budget used up */

/* Writes the full name of a node, "frontends[0].name", cut off where it does not fit. */
void conf_path(const struct sluice_conf *, char *out, size_t size);
/* Whether sub, of a LIST option, describes the element itself rather than the members of its maps. */
bool conf_is_element(const struct sluice_option *sub);
/* Index of the one of n known words nearest to word, if it is near enough to be what was meant; otherwise SIZE_MAX. */
size_t conf_nearest(const char *word, size_t n, const char *(*known)(void *, size_t i), void *arg);
/* Index of text among the alternatives "a|b|c"; -1: none. */
int64_t conf_enum_index(const char *alternatives, const char *text);

#endif
