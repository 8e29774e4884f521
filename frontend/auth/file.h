/*
 * file.h - files that the configuration names. Process: sluice-frontend.
 */
#ifndef AUTH_FILE_H
#define AUTH_FILE_H

#include "lib/conf.h"

enum { FILE_MAX = 1 << 20 };

/* A whole file of at most FILE_MAX bytes, NUL-terminated behind its bytes; the caller frees it. Otherwise an error at `path` of conf,
 * and NULL. Such files decide who may do what, or show who we are: one that everybody may write is refused. */
char *auth_file(const struct sluice_conf *conf, const char *path, size_t *len, struct sl_conf_errors *);

/* Tells of a secret in a file that everybody can read, or that belongs to somebody else. */
void auth_file_secret(const struct sluice_conf *conf, const char *path);
/* Who is told: a check. A worker that serves comes after one, so there it is nobody (NULL). */
void auth_file_warnings(void (*hear)(void *arg, const char *text), void *arg);

#endif
