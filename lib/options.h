/*
 * options.h - the option tables of the core, and what they mean as C. Supervisor, workers, writer.
 */
#ifndef SL_OPTIONS_H
#define SL_OPTIONS_H

#include <sys/types.h>

#include "lib/conf.h"

extern const struct sluice_option sl_options[];          /* the whole file */
extern const struct sluice_option sl_plugin_options[];   /* what the core reads of a plugins: entry (plugin, mount, prefix) */
extern const char *const sl_plugin_core_keys[];          /* the same names, for sl_conf_check's `ignore` */

/* Parses and checks everything but the plugins' own options, cross-checks included (unique frontend names, addresses ...). Errors
 * are sorted. NULL when there is no tree at all; a tree that came with errors may be looked at (getters give 0 and "" for what is
 * absent or wrong), so that plugins can be checked in the same pass. */
struct sluice_conf *sl_options_load(sl_slice text, struct sl_conf_errors *);
/* The address of an element of listen:, in either form. */
const char *sl_options_address(const struct sluice_conf *listen);
mode_t sl_options_mode(const struct sluice_conf *listen); /* of a Unix socket */
/* The frontends: entry of that name, or NULL. */
const struct sluice_conf *sl_options_frontend(const struct sluice_conf *root, const char *name);
/* The frontend whose worker owns every ephemeral channel, or NULL: the one that mounts the plugin `presence`. */
const struct sluice_conf *sl_options_presence(const struct sluice_conf *root);
bool sl_options_mounts_presence(const struct sluice_conf *plugin); /* an entry of plugins: */
/* The part of sl_options_load() that compares keys with each other, once the tables have been applied. */
void sl_options_check(struct sluice_conf *root, struct sl_conf_errors *);

#endif
