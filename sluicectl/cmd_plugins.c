/*
 * cmd_plugins.c - sluicectl plugins: what the workers have loaded. sluicectl.
 */
#include <stdlib.h>

#include "sluicectl/ctl.h"

static int plugins_on_plugin(void *arg, const struct sl_admin_plugin *m)
{
	json_t *all = ((struct link *)arg)->user;
	json_t *p =
		json_pack("{s:o, s:o, s:[I,I], s:o, s:o, s:o}", "name", out_text(m->name), "version",
	                  out_text(m->version), "abi", (json_int_t)m->abi_major, (json_int_t)m->abi_minor, "frontend",
	                  out_text(m->frontend), "mount", out_text(m->mount), "file", out_text(m->file));

	return p && json_array_append_new(all, p) == 0 ? 0 : SLUICE_ENOMEM;
}

static void plugins_print(const json_t *all)
{
	static const char *const head[] = {"PLUGIN", "VERSION", "ABI", "FRONTEND", "MOUNT", "FILE", NULL};
	static const char *const keys[] = {"name", "version", "abi", "frontend", "mount", "file"};
	struct table t;
	size_t i;
	json_t *p;

	table_init(&t, 0, head);
	json_array_foreach(all, i, p)
	{
		for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
			const json_t *v = json_object_get(p, keys[k]);

			if (json_is_array(v))
				table_add(&t, "%lld.%lld", (long long)json_integer_value(json_array_get(v, 0)),
				          (long long)json_integer_value(json_array_get(v, 1)));
			else
				table_add(&t, "%s", json_is_string(v) ? json_string_value(v) : "?");
		}
	}
	table_print(&t, stdout);
	table_fini(&t);
}

static int plugins_run(struct ctl *ctl)
{
	static const struct sl_admin_handlers handlers = {.plugin = plugins_on_plugin};
	json_t *all = json_array();
	struct link l;
	int rc = link_open(ctl, &l);

	if (rc == CTL_OK) {
		rc = sl_put_admin_plugins(&l.ipc, &(struct sl_admin_plugins){})
		             ? CTL_FAILED
		             : link_ask(&l, &handlers, all, LINK_SOON_MS);
		if (rc == CTL_FAILED)
			rc = link_refused(&l);
		link_close(&l);
	}
	if (rc == CTL_OK && ctl->json)
		rc = out_json(json_incref(all));
	else if (rc == CTL_OK)
		plugins_print(all);
	json_decref(all);
	return rc;
}

const struct ctl_command cmd_plugins = {
	.name = "plugins",
	.args = "",
	.summary = "Show the plugins that serve, and where",
	.run = plugins_run,
};
