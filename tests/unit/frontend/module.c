/*
 * module.c - plugins for test_load.c, one per build with another MODULE_* defined: a good one, and one for each way
 * to be refused.
 */
#include "sluice/plugin.h"

static int configure(struct sluice_ctx *ctx, const struct sluice_host *host, const struct sluice_conf *conf,
                     void **self)
{
	(void)ctx;
	(void)host;
	(void)conf;
	*self = (void *)1;
	return 0;
}

#ifndef MODULE_MAGIC
#define MODULE_MAGIC SLUICE_MAGIC
#endif
#ifndef MODULE_SIZE
#define MODULE_SIZE sizeof(struct sluice_plugin)
#endif
#ifndef MODULE_MAJOR
#define MODULE_MAJOR SLUICE_ABI_MAJOR
#endif
#ifndef MODULE_MINOR
#define MODULE_MINOR SLUICE_ABI_MINOR
#endif
#ifndef MODULE_FLAGS
#define MODULE_FLAGS 0
#endif
#ifndef MODULE_NEEDS
#define MODULE_NEEDS SLUICE_CAP_STORE
#endif
#ifndef MODULE_CONFIGURE
#define MODULE_CONFIGURE configure
#endif

#if defined(MODULE_V2)
SLUICE_EXPORT extern const int sluice_plugin_v2;
const int sluice_plugin_v2 = 1;
#elif defined(MODULE_NONE)
SLUICE_EXPORT extern const int something_else;
const int something_else = 1;
#else
/* Behind the descriptor as this host knows it: members of a later minor, which the host must not look at. */
SLUICE_EXPORT extern const struct module {
	struct sluice_plugin plugin;
	void *later[4];
} sluice_plugin_v1;
const struct module sluice_plugin_v1 = {
	.plugin = {.magic = MODULE_MAGIC,
                   .size = MODULE_SIZE,
                   .abi_major = MODULE_MAJOR,
                   .abi_minor = MODULE_MINOR,
                   .flags = MODULE_FLAGS,
                   .needs = MODULE_NEEDS,
                   .name = MODULE_NAME,
                   .version = "1",
                   .configure = MODULE_CONFIGURE},
	.later = {(void *)1, (void *)2, (void *)3, (void *)4},
};
#endif
/* Silences the compiler where a build leaves it out. */
SLUICE_EXPORT extern void *const module_unused;
void *const module_unused = (void *)configure;
