/*
 * auth.h - who asks and what he may, as the engines and the host table see it. Process: sluice-frontend.
 *
 * One service for every plugin. It is asked synchronously and answers from memory: keys, tokens and rules are read when the
 * worker is configured, so a change takes a reload, and what was read stays true for as long as the worker lives.
 */
#ifndef AUTH_H
#define AUTH_H

#include "lib/buf.h"
#include "lib/conf.h"
#include "lib/metrics.h"

enum {
	AUTH_TOKEN_MAX = 8192, /* a longer bearer token is refused unread */
	AUTH_NAME_MAX = 256,   /* of a principal */
	CLIENT_KEY = 16        /* what is kept of an address */
};

struct auth;

struct auth_ask {
	sl_slice authorization; /* the header; data NULL: there is none */
	sl_slice token;         /* the query parameter that the route names; looked at when the header has no token */
	const char *action;     /* NULL: the route decides itself, only the principal is wanted */
	sl_slice stream;        /* as the catalogue knows it */
	sl_slice client;        /* where it comes from, as conn_enter() has it; the engine's bytes */
};

struct auth_verdict {
	const struct sluice_principal *principal; /* a reference of the caller's, whatever the verdict is; never NULL */
	int status;                               /* 0: he may; otherwise the HTTP status of the refusal */
	const char *why;                          /* one sentence for the client */
	const char *challenge;                    /* WWW-Authenticate; NULL: none */
	uint64_t expires_ms;                      /* since 1970: until then; 0: for ever */
	char retry_after[12];                     /* seconds; "": not said */
};

/* The service as the engines call it. */
struct auth_hooks {
	void *arg;
	void (*admit)(void *arg, const struct auth_ask *,
	              struct auth_verdict *); /* NULL: everybody may, and nobody is known */
	/* How a refusal of this principal is told; fills in everything but the principal. */
	void (*refusal)(const struct sluice_principal *, struct auth_verdict *);
	void (*release)(const struct sluice_principal *);
	/* A connection of this client begins: 0; SLUICE_EBUSY: it is one too many, its requests are answered 429 (*busy); otherwise
	 * it is closed and does not count. NULL: connections are not counted. */
	int (*enter)(void *arg, sl_slice client);
	void (*leave)(void *arg, sl_slice client);
	void (*busy)(struct auth_verdict *);
};

/* root: the checked configuration. What is wrong with keys, tokens and rules is added to errors; NULL: it is, or memory is
 * out. */
struct auth *auth_new(const struct sluice_conf *root, struct sl_conf_errors *errors);
void auth_free(struct auth *); /* NULL is fine; principals may outlive it */

struct auth_hooks auth_hooks(struct auth *);
void auth_metrics(struct auth *, struct sl_metrics *); /* counts there from now on */
void auth_admit(void *arg, const struct auth_ask *, struct auth_verdict *);
void auth_refusal(const struct sluice_principal *, struct auth_verdict *);
int auth_may(const struct auth *, const struct sluice_principal *, const char *action,
             sl_slice stream); /* SLUICE_EDENIED */
/* For host->verify(). *out is a reference of the caller's, also when the token is no good; then SLUICE_EDENIED is returned. */
int auth_verify(struct auth *, sl_slice token, const struct sluice_verify *, const struct sluice_principal **out);

const struct sluice_principal *principal_ref(const struct sluice_principal *);
void principal_unref(const struct sluice_principal *); /* NULL is fine */
bool principal_valid(const struct sluice_principal *); /* is one at all */
int principal_who(const struct sluice_principal *);    /* SLUICE_WHO_* */
sl_slice principal_name(const struct sluice_principal *);
sl_slice principal_claim(const struct sluice_principal *, const char *name);
uint64_t principal_expires(const struct sluice_principal *); /* ms since 1970; 0: never */

#endif
