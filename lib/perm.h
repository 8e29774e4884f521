/*
 * perm.h - who beside root and our own user may change or read what is ours, by owner and mode. Every program. No logging.
 *
 * Two rules hold everywhere. A file is judged by what everybody may do: a group is somebody whom its owner has let in, as for the keys of
 * Debian's ssl-cert, and under umask 002 every file can be written by it. A data directory is judged by what its group may write as well:
 * we make it 0700, so a wider mode is somebody's deed.
 */
#ifndef SL_PERM_H
#define SL_PERM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

enum { SL_PERM_DATA = S_IWGRP | S_IWOTH }; /* what nobody else may have at a data directory and in it */

bool sl_perm_foreign(const struct stat *); /* it belongs neither to root nor to our user */
/* "its group", "everybody": whom that mode lets write; NULL: nobody else. */
const char *sl_perm_writers(mode_t mode, mode_t bits);
/* The command that takes a file from everybody's eyes and leaves it to ours. */
void sl_perm_hide(const struct stat *, const char *path, char *out, size_t size);

#endif
