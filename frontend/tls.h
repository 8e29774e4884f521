/*
 * tls.h - certificates and keys of listeners. Process: sluice-frontend.
 */
#ifndef FRONTEND_TLS_H
#define FRONTEND_TLS_H

#include "lib/conf.h"

struct ssl_ctx_st; /* OpenSSL's SSL_CTX */

/* conf: the checked map tls: of a listener. http1: HTTP/2 is not offered. NULL: errors were added, with positions. */
struct ssl_ctx_st *tls_load(const struct sluice_conf *conf, bool http1, struct sl_conf_errors *);
void tls_unload(struct ssl_ctx_st *); /* NULL is fine */

#endif
