/*
 * store_check.h - looks through a data directory that no writer has open, and says what is damaged. sluicectl, tests.
 *
 * Nothing is written, not even what SQLite would write to read a log (store_check.c). Memory is bounded by the numbers of
 * segments and of streams that have forks. What it cannot see: records that are gone from the end of a stream together with
 * every trace of them, and other bytes of the same length in snapshots below 128 KiB and in rows of versions without checksums.
 */
#ifndef SL_STORE_CHECK_H
#define SL_STORE_CHECK_H

#include "lib/buf.h"

/* What a finding is about; the names are documented in sluicectl(8). */
#define SL_FINDINGS(X) \
	X(DATABASE, "database") /* SQLite finds its file or its tables damaged */ \
	X(VOLUME, "volume")     /* what the volume says about itself */ \
	X(STREAM, "stream")     /* the row of a stream contradicts itself */ \
	X(GAP, "gap")           /* records are missing, or some are there twice */ \
	X(POSITION, "position") /* records are there, but counted wrongly */ \
	X(RECORDS, "records")   /* a row does not have the records that it promises */ \
	X(FORK, "fork")         /* a fork, its source, or what one needs of the other */ \
	X(PRODUCER, "producer") \
	X(SNAPSHOT, "snapshot") /* one that is not what, or where, its stream says */ \
	X(PAYLOAD, "payload") /* bytes are not those that were written */ \
	X(SEGMENT, "segment") /* the file of a segment, or the account of its bytes */ \
	X(ORPHAN, "orphan")   /* a file that nothing refers to; the next start removes it */
#define X(id, name) SL_FINDING_##id,
enum sl_finding_kind { SL_FINDINGS(X) SL_FINDING_KINDS };
#undef X
const char *sl_finding_name(enum sl_finding_kind);

struct sl_finding { /* borrowed during the call */
	enum sl_finding_kind kind;
	bool damage;     /* false: worth a line, but nothing is lost and nothing has to be done */
	sl_slice stream; /* its name; absent: of none */
	uint64_t incarnation;
	bool has_offset;
	uint64_t offset;
	const char *file; /* below the data directory */
	const char *text;
};

struct sl_check_hooks {
	void (*found)(void *, const struct sl_finding *);
	/* Now and then; nonzero gives up. what: "structure", "records". total 0: not known. */
	int (*progress)(void *, const char *what, uint64_t done, uint64_t total);
};

struct sl_check {
	uint32_t schema;
	uint64_t position;                                               /* of the volume */
	uint64_t streams, records, bytes, producers, segments, payloads; /* looked at; bytes: of records */
	uint64_t damaged, notes;                                         /* findings */
};

enum { SL_CHECK_WHY = 512 };
/* 0: looked at everything, damaged tells. SLUICE_ENOENT: there is no data. SLUICE_EBUSY: a writer has it open. SLUICE_ENOTSUP: of another
 * program or version; of an older schema the structure was looked at all the same. SLUICE_ECANCELED, SLUICE_ENOMEM, SLUICE_EINTERNAL
 * otherwise. why: a sentence. */
int sl_check_run(const char *dir, const struct sl_check_hooks *, void *arg, struct sl_check *, char why[SL_CHECK_WHY]);

#endif
