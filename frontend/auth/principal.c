/*
 * principal.c - who asks: one object for each token that was accepted, and a static one for each way not to be anybody. Process:
 * sluice-frontend.
 *
 * Counted references: the cache holds one, and so does every request and connection. Constant for plugins; the texts of
 * claims are made when they are first asked for and belong to the principal.
 */
#include <assert.h>
#include <stdlib.h>

#include "frontend/auth/internal.h"

struct claim_text {
	struct claim_text *next;
	char *text; /* owned */
	size_t len;
	char name[];
};

#define NOBODY(r) [r] = {.magic = PRINCIPAL_MAGIC, .kind = PRINCIPAL_NOBODY, .reason = (r)}
static const struct sluice_principal nobody[AUTH_REASONS] = {
	NOBODY(AUTH_OPEN),      NOBODY(AUTH_ABSENT),    NOBODY(AUTH_TOO_LONG),  NOBODY(AUTH_UNKNOWN),
	NOBODY(AUTH_MALFORMED), NOBODY(AUTH_ALGORITHM), NOBODY(AUTH_SIGNATURE), NOBODY(AUTH_EXPIRED),
	NOBODY(AUTH_EARLY),     NOBODY(AUTH_ISSUER),    NOBODY(AUTH_AUDIENCE),  NOBODY(AUTH_CLAIMS),
	NOBODY(AUTH_TROUBLE),   NOBODY(AUTH_LIMITED),
};

/* RFC 6750 3: no error code when no token was given at all. */
#define INVALID(text) \
	"Bearer error=\"invalid_token\", error_description=\"" text "\"", "The token was refused: " text "."
static const struct {
	const char *challenge, *why;
} reason_texts[AUTH_REASONS] = {
	[AUTH_GOOD] = {"Bearer error=\"insufficient_scope\"", "You are not allowed to do this."},
	[AUTH_OPEN] = {"Bearer realm=\"sluice\"", "Authorization is required."},
	[AUTH_ABSENT] = {"Bearer realm=\"sluice\"", "Authorization is required."},
	[AUTH_TOO_LONG] = {INVALID("it is too long")},
	[AUTH_UNKNOWN] = {INVALID("it is not known")},
	[AUTH_MALFORMED] = {INVALID("it is malformed")},
	[AUTH_ALGORITHM] = {INVALID("its algorithm or key is not known")},
	[AUTH_SIGNATURE] = {INVALID("its signature is wrong")},
	[AUTH_EXPIRED] = {INVALID("it has expired")},
	[AUTH_EARLY] = {INVALID("it is not valid yet")},
	[AUTH_ISSUER] = {INVALID("it is of another issuer")},
	[AUTH_AUDIENCE] = {INVALID("it is for another audience")},
	[AUTH_CLAIMS] = {INVALID("a claim is missing or malformed")},
	[AUTH_TROUBLE] = {NULL, "There is no memory for the request."},
	[AUTH_LIMITED] = {NULL, "There are too many requests of yours."},
};

const struct sluice_principal *principal_of_reason(enum auth_reason reason)
{
	assert(nobody[reason].magic);
	return &nobody[reason];
}

struct sluice_principal *principal_new(enum principal_kind kind, sl_slice name)
{
	struct sluice_principal *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->magic = PRINCIPAL_MAGIC;
	p->refs = 1;
	p->kind = kind;
	p->reason = AUTH_GOOD;
	p->name = name.len ? sl_slice_dup(name) : NULL;
	if (p->name || !name.len)
		return p;
	principal_unref(p);
	return NULL;
}

static struct sluice_principal *principal_own(const struct sluice_principal *p)
{
	return (struct sluice_principal *)(uintptr_t)p; /* constant for others only */
}

const struct sluice_principal *principal_ref(const struct sluice_principal *p)
{
	assert(p->magic == PRINCIPAL_MAGIC);
	if (p->refs > 0)
		principal_own(p)->refs++;
	return p;
}

void principal_unref(const struct sluice_principal *shared)
{
	struct sluice_principal *p = principal_own(shared);
	struct claim_text *t;

	if (!p || p->refs == 0)
		return;
	assert(p->magic == PRINCIPAL_MAGIC);
	if (--p->refs > 0)
		return;
	while ((t = p->texts)) {
		p->texts = t->next;
		free(t->text);
		free(t);
	}
	json_decref(p->claims);
	policy_free(p->policy);
	free(p->name);
	p->magic = 0;
	free(p);
}

bool principal_valid(const struct sluice_principal *p)
{
	return p && p->magic == PRINCIPAL_MAGIC;
}

int principal_who(const struct sluice_principal *p)
{
	switch (p->reason) {
	case AUTH_GOOD:
		return SLUICE_WHO_KNOWN;
	case AUTH_OPEN:
		return SLUICE_WHO_ANYBODY;
	case AUTH_ABSENT:
		return SLUICE_WHO_NOBODY;
	case AUTH_EXPIRED:
		return SLUICE_WHO_EXPIRED;
	default:
		return SLUICE_WHO_INVALID;
	}
}

sl_slice principal_name(const struct sluice_principal *p)
{
	return p->name ? sl_slice_str(p->name) : p->reason == AUTH_GOOD ? SL_STR("") : SL_STR("anonymous");
}

uint64_t principal_expires(const struct sluice_principal *p)
{
	return p->expires_ms;
}

sl_slice principal_claim(const struct sluice_principal *p, const char *name)
{
	const json_t *value = json_object_get(p->claims, name);
	size_t n = strlen(name) + 1;
	struct claim_text *t;

	for (t = p->texts; t; t = t->next)
		if (strcmp(t->name, name) == 0)
			return SL_SLICE(t->text, t->len);
	if (!value)
		return SL_SLICE(NULL, 0);
	t = malloc(sizeof *t + n);
	if (!t)
		return SL_SLICE(NULL, 0);
	memcpy(t->name, name, n);
	t->text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
	if (!t->text) {
		free(t);
		return SL_SLICE(NULL, 0);
	}
	t->len = strlen(t->text);
	t->next = p->texts;
	principal_own(p)->texts = t;
	return SL_SLICE(t->text, t->len);
}

void auth_refusal(const struct sluice_principal *p, struct auth_verdict *v)
{
	v->status = p->reason == AUTH_GOOD      ? 403
	            : p->reason == AUTH_TROUBLE ? 503
	            : p->reason == AUTH_LIMITED ? 429
	                                        : 401;
	v->why = reason_texts[p->reason].why;
	v->challenge = reason_texts[p->reason].challenge;
}
