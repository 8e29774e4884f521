/*
 * file.h - files that the configuration names. Process: sluice-frontend.
 */
#ifndef AUTH_FILE_H
#define AUTH_FILE_H

#include "lib/conf.h"

enum { FILE_MAX = 1 << 20 };

/* A whole file of at most FILE_MAX bytes, NUL-terminated behind its bytes; the caller frees it. Otherwise an error at `path` of conf,
 * and NULL. */
char *auth_file(const struct sluice_conf *conf, const char *path, size_t *len, struct sl_conf_errors *);

#endif
