/*
 * setting.c - the store: section of the configuration as C. Store-writer.
 */
#include <stdio.h>
#include <string.h>

#include "lib/options.h"
#include "store-worker/store.h"

void settings_default(struct settings *s)
{
	*s = (struct settings){.sync = SE_SYNC_FULL,
	                       .checkpoint_bytes = 16u << 20,
	                       .max_payload = 512u << 20,
	                       .segment_bytes = 256u << 20,
	                       .max_batch_bytes = 1u << 20,
	                       .max_batch_ops = 1024,
	                       .sweep_ms = 1000,
	                       .reap_ms = 60000};
}

int settings_read(struct settings *s, sl_slice yaml, char *why, size_t why_len)
{
	struct sl_conf_errors errors = {0};
	struct sluice_conf *c;
	int rc;

	settings_default(s);
	if (yaml.len == 0) /* by hand, for tests */
		return 0;
	c = sl_options_load(yaml, &errors);
	if (!c || errors.n) {
		/* The supervisor has checked it: mostly this is it. */
		rc = !errors.n || strstr(errors.v[0].text, "out of memory") ? SLUICE_ENOMEM : SLUICE_EINVAL;
		snprintf(why, why_len, "line %u: %s", errors.n ? errors.v[0].line : 0,
		         errors.n ? errors.v[0].text : "no configuration");
		sl_conf_free(c);
		sl_conf_errors_fini(&errors);
		return rc;
	}
	s->sync = (enum se_sync)sl_conf_int(c, "store.synchronous");
	/* Nobody will look for the data after the process: syncing it would only cost. */
	if (strcmp(sl_conf_str(c, "data_dir"), "temporary") == 0)
		s->sync = SE_SYNC_OFF;
	s->checkpoint_bytes = (uint64_t)sl_conf_int(c, "store.checkpoint_bytes");
	s->max_payload = (uint64_t)sl_conf_int(c, "store.max_payload");
	s->segment_bytes = (uint64_t)sl_conf_int(c, "store.segment_bytes");
	s->max_batch_ops = (uint32_t)sl_conf_int(c, "store.max_batch_ops");
	s->max_batch_bytes = (uint64_t)sl_conf_int(c, "store.max_batch_bytes");
	s->sweep_ms = (uint64_t)sl_conf_int(c, "store.sweep_interval");
	s->reap_ms = (uint64_t)sl_conf_int(c, "store.reap_delay");
	sl_conf_free(c);
	sl_conf_errors_fini(&errors);
	return 0;
}
