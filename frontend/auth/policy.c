/*
 * policy.c - rules: who may do what to which streams. Process: sluice-frontend.
 *
 * The first rule that names the principal and the stream decides: what its actions do not list is refused, and so is what no
 * rule speaks of. A policy out of a claim has rules without `who`, for the principal whose token carries it.
 */
#include <stdlib.h>

#include "frontend/auth/internal.h"

struct policy_rule {
	char **who, **paths; /* owned, NULL-terminated; who NULL: everybody whose policy this is */
	uint32_t actions;    /* bits of enum policy_action */
};

struct policy {
	struct policy_rule *rule;
	size_t n;
	bool anonymous;
};

static const char *const action_names[ACTIONS] = {"read", "append", "create", "delete", "admin", "all"};

static uint32_t action_bit(const char *name)
{
	for (unsigned i = 0; i < ACT_ALL; i++)
		if (strcmp(name, action_names[i]) == 0)
			return 1u << i;
	return 0;
}

static void texts_free(char **v)
{
	for (char **p = v; p && *p; p++)
		free(*p);
	free((void *)v);
}

void policy_free(struct policy *policy)
{
	if (!policy)
		return;
	for (size_t i = 0; i < policy->n; i++) {
		texts_free(policy->rule[i].who);
		texts_free(policy->rule[i].paths);
	}
	free(policy->rule);
	free(policy);
}

static struct policy *policy_new(size_t n)
{
	struct policy *policy = calloc(1, sizeof *policy);

	if (policy)
		policy->rule = calloc(n + 1, sizeof *policy->rule);
	if (policy && policy->rule) {
		policy->n = n;
		return policy;
	}
	free(policy);
	return NULL;
}

/* ---- from the configuration ---- */

static char **texts_load(const struct sluice_conf *conf, const char *path)
{
	size_t n = sl_conf_len(conf, path);
	char **v = (char **)calloc(n + 1, sizeof *v);

	for (size_t i = 0; v && i < n; i++) {
		v[i] = strdup(sl_conf_str(sl_conf_at(conf, path, i), ""));
		if (!v[i]) {
			texts_free(v);
			return NULL;
		}
	}
	return v;
}

static int rule_load(struct policy *policy, struct policy_rule *rule, const struct sluice_conf *conf,
                     struct sl_conf_errors *errors)
{
	rule->who = texts_load(conf, "who");
	rule->paths = texts_load(conf, "paths");
	if (!rule->who || !rule->paths)
		return SLUICE_ENOMEM;
	for (char **who = rule->who; *who; who++)
		policy->anonymous |= strcmp(*who, "anonymous") == 0;
	for (size_t i = 0; rule->paths[i]; i++) {
		const char *why = glob_check(sl_slice_str(rule->paths[i]));

		if (why)
			sl_conf_error_at(sl_conf_at(conf, "paths", i), "", errors, "%s", why);
	}
	for (size_t i = 0; i < sl_conf_len(conf, "actions"); i++)
		rule->actions |= 1u << sl_conf_int(sl_conf_at(conf, "actions", i), "");
	if (rule->actions & 1u << ACT_ALL)
		rule->actions = (1u << ACT_ALL) - 1;
	return 0;
}

/* Without a policy in the file whoever has a valid token may do everything. */
static struct policy *policy_default(void)
{
	struct policy *policy = policy_new(1);

	if (!policy)
		return NULL;
	policy->rule->who = (char **)calloc(2, sizeof(char *));
	policy->rule->paths = (char **)calloc(2, sizeof(char *));
	policy->rule->actions = (1u << ACT_ALL) - 1;
	if (policy->rule->who && policy->rule->paths) {
		policy->rule->who[0] = strdup("*");
		policy->rule->paths[0] = strdup("**");
		if (policy->rule->who[0] && policy->rule->paths[0])
			return policy;
	}
	policy_free(policy);
	return NULL;
}

struct policy *policy_load(const struct sluice_conf *root, struct sl_conf_errors *errors)
{
	size_t n = sl_conf_len(root, "auth.policy"), before = errors->n;
	struct policy *policy;

	if (!sl_conf_has(root, "auth.policy"))
		return policy_default();
	policy = policy_new(n);
	for (size_t i = 0; policy && i < n; i++)
		if (rule_load(policy, &policy->rule[i], sl_conf_at(root, "auth.policy", i), errors)) {
			policy_free(policy);
			return NULL;
		}
	if (policy && errors->n > before) {
		policy_free(policy);
		return NULL;
	}
	return policy;
}

/* ---- from a claim: [{"paths": ["a", "b"], "actions": ["read"]}] ---- */

static char **texts_claim(const json_t *list)
{
	size_t n = json_array_size(list);
	char **v = n > 0 ? (char **)calloc(n + 1, sizeof *v) : NULL;

	for (size_t i = 0; v && i < n; i++) {
		const json_t *item = json_array_get(list, i);

		v[i] = json_is_string(item) && !glob_check(SL_SLICE(json_string_value(item), json_string_length(item)))
		               ? strdup(json_string_value(item))
		               : NULL;
		if (!v[i]) {
			texts_free(v);
			return NULL;
		}
	}
	return v;
}

static int rule_claim(struct policy_rule *rule, const json_t *claim)
{
	const json_t *actions = json_object_get(claim, "actions");

	/* A member that is not understood might have narrowed the rule. */
	if (json_object_size(claim) != 2 || !json_is_array(actions))
		return SLUICE_EINVAL;
	rule->paths = texts_claim(json_object_get(claim, "paths"));
	if (!rule->paths)
		return SLUICE_EINVAL;
	for (size_t i = 0; i < json_array_size(actions); i++) {
		const char *name = json_string_value(json_array_get(actions, i));
		uint32_t bit = name ? action_bit(name) : 0;

		if (name && strcmp(name, action_names[ACT_ALL]) == 0)
			bit = (1u << ACT_ALL) - 1;
		if (!bit)
			return SLUICE_EINVAL;
		rule->actions |= bit;
	}
	return 0;
}

struct policy *policy_claim_load(const json_t *claim)
{
	size_t n = json_array_size(claim);
	struct policy *policy;

	if (!json_is_array(claim) || n > CLAIM_RULES_MAX)
		return NULL;
	policy = policy_new(n);
	for (size_t i = 0; policy && i < n; i++)
		if (rule_claim(&policy->rule[i], json_array_get(claim, i))) {
			policy_free(policy);
			return NULL;
		}
	return policy;
}

/* ---- asking ---- */

bool policy_knows_anonymous(const struct policy *policy)
{
	return policy->anonymous;
}

/* "*": everybody with a valid token; "anonymous": who has none. A token cannot take either name for itself. */
static bool rule_names(const struct policy_rule *rule, const struct sluice_principal *who)
{
	const char *name = who->name ? who->name : "";

	if (!rule->who)
		return true;
	for (char **w = rule->who; *w; w++) {
		if (who->kind == PRINCIPAL_NOBODY) {
			if (strcmp(*w, "anonymous") == 0)
				return true;
		} else if (strcmp(*w, "*") == 0 || (strcmp(*w, "anonymous") != 0 && strcmp(*w, name) == 0)) {
			return true;
		}
	}
	return false;
}

static bool rule_covers(const struct policy_rule *rule, sl_slice stream)
{
	for (char **p = rule->paths; *p; p++)
		if (glob_match(sl_slice_str(*p), stream))
			return true;
	return false;
}

bool policy_allows(const struct policy *policy, const struct sluice_principal *who, const char *action, sl_slice stream)
{
	for (size_t i = 0; i < policy->n; i++)
		if (rule_names(&policy->rule[i], who) && rule_covers(&policy->rule[i], stream))
			return policy->rule[i].actions & action_bit(action);
	return false;
}
