/*
 * conf.h - YAML to a positioned tree, checked against option tables. Supervisor, workers, writer. No logging.
 *
 * One schema language for core and plugins: struct sluice_option (sluice/plugin.h). Checking fills in defaults, so getters on a
 * checked tree cannot fail. Every problem is collected with its position; nothing stops at the first one.
 */
#ifndef SL_CONF_H
#define SL_CONF_H

#include "lib/buf.h"

struct sl_conf_error {
	unsigned line, column; /* from 1 */
	char *text;            /* "limits.body: expected size such as "64M", got "lots"" */
};

struct sl_conf_errors {
	struct sl_conf_error *v;
	size_t n; /* not 0 once there was an error, however little memory there is */
};

void sl_conf_errors_fini(struct sl_conf_errors *);
int sl_conf_errors_add(struct sl_conf_errors *, unsigned line, unsigned column, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));
void sl_conf_errors_sort(struct sl_conf_errors *); /* by position */

/* Parses text into a tree. Returns NULL when there is none (errors has at least one entry then). Duplicate keys, anchors with
 * cycles, too deep nesting (32), more than one document are errors. */
struct sluice_conf *sl_conf_parse(sl_slice text, struct sl_conf_errors *);
void sl_conf_free(struct sluice_conf *);

/* Checks a map node against a table: types, ranges, required members, unknown keys (with the nearest known one). Members
 * named in the NULL-terminated list `ignore` belong to somebody else ("*": every unknown one). Adds defaults for what is absent.
 * path: what the map is called in messages ("frontends[0].plugins[1]"; "" for the whole file; NULL: as its place in the tree says).
 * Number of errors found. */
size_t sl_conf_check(struct sluice_conf *map, const struct sluice_option *table, const char *path, const char *const *ignore,
                     struct sl_conf_errors *);
/* Adds an error at the position of path below node (or of the node when there is no such path); the text is preceded by the full name. */
void sl_conf_error_at(const struct sluice_conf *node, const char *path, struct sl_conf_errors *, const char *fmt, ...)
        __attribute__((format(printf, 4, 5)));

/* Getters: path is "a.b"; "" is the node itself. */
const struct sluice_conf *sl_conf_get(const struct sluice_conf *, const char *path); /* NULL: absent */
bool sl_conf_has(const struct sluice_conf *, const char *path);                      /* written in the file, not a default */
int64_t sl_conf_int(const struct sluice_conf *, const char *path);                   /* bool, int, size, duration (ms), enum index */
const char *sl_conf_str(const struct sluice_conf *, const char *path);               /* scalar as text; "" when absent */
size_t sl_conf_len(const struct sluice_conf *, const char *path);
const struct sluice_conf *sl_conf_at(const struct sluice_conf *, const char *path, size_t i);
unsigned sl_conf_line(const struct sluice_conf *);
unsigned sl_conf_column(const struct sluice_conf *);

/* Another default for a number of a checked map, where the file does not say anything; 0 or SLUICE_ENOMEM. */
int sl_conf_default_int(struct sluice_conf *map, const char *key, int64_t value);
/* Whether the file says anything of a checked map's that its table calls a secret. */
bool sl_conf_secret(const struct sluice_conf *map, const struct sluice_option *table);
/* Whether two checked nodes say the same, as far as their texts do. Both NULL: yes. */
bool sl_conf_equal(const struct sluice_conf *, const struct sluice_conf *);

/* Prints a checked tree as YAML with every default filled in, secrets masked, indented by `indent`. */
int sl_conf_print(const struct sluice_conf *map, const struct sluice_option *table, const char *const *ignore, unsigned indent,
                  struct sl_buf *out);

/* "64M", "30s" ... 0 or SLUICE_EINVAL. */
int sl_conf_size(const char *text, int64_t *bytes);
int sl_conf_duration(const char *text, int64_t *ms);

#endif
