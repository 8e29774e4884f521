/*
 * schema.h - what writer and readers must agree on about a data directory. Writer, workers, sluicectl.
 */
#ifndef SL_SCHEMA_H
#define SL_SCHEMA_H

#define SL_APP_ID 0x736c7563u /* PRAGMA application_id: "sluc" */
#define SL_SCHEMA 4u          /* PRAGMA user_version */

#define SL_VOLUME_FILE "volume0.db"
#define SL_SEGMENT_DIR "segments"
#define SL_LOCK_FILE "lock"

#define SL_NAME_MAX 4096u

#define SL_DIGEST 32 /* bytes of a snapshot's digest: SHA-256 of its type, a zero byte and its bytes */

enum sl_stream_state { SL_LIVE = 0, SL_SOFT = 1, SL_DEAD = 2 }; /* stream.state; dead: about to be reaped */

#endif
