/*
 * store_renew.h - a copy of a volume becomes a volume of its own. sluicectl.
 */
#ifndef SL_STORE_RENEW_H
#define SL_STORE_RENEW_H

#include <stddef.h>

/* Takes what is in the log into the file and makes the volume one without a generation, so that the next writer draws a new one and workers
 * do not take it for what they knew. Synced. 0, or SLUICE_E* with a sentence. */
int sl_volume_renew(const char *data_dir, char *why, size_t size);

#endif
