/*
 * fake.h - what the host's unit tests stand on: a worker without supervisor, a store reader over streams in memory, a
 * writer at the other end of a socketpair. Tests only.
 */
#ifndef FAKE_H
#define FAKE_H

#include "frontend/worker.h"

struct fake_stream {
	char name[64];
	struct sl_facts facts;
	struct sl_buf data; /* all payload bytes */
	struct {
		uint32_t bytes, messages;
		uint32_t len[16];
	} record[4096];
	size_t n_record;
};
extern struct fake_stream fake_streams[8];
/* The one snapshot that there is, of the streams whose facts name it. */
#define FAKE_SNAPSHOT 77u
#define FAKE_SNAPSHOT_BYTES "what was before"
extern size_t fake_step_max; /* payload bytes of a step */
extern int fake_begins, fake_ends, fake_facts, fake_steps, fake_open;
extern int fake_begin_status;

struct fake_stream *fake_stream(const char *name, uint64_t incarnation); /* made empty */
/* Appends one record of `messages` messages; len NULL: one message of all bytes. Returns the new tail. */
uint64_t fake_append(struct fake_stream *, const char *data, const uint32_t *len, uint32_t messages);

struct worker *fake_worker(void);
struct sluice_ctx *fake_instance(struct worker *, const char *plugin, const char *prefix);
void fake_worker_free(struct worker *);
void fake_turn(struct worker *); /* ready sockets, then the end of the turn */

/* -- the writer -- */
enum { FAKE_HEARD = 512 };
struct fake_heard {
	uint16_t id;
	uint64_t number, incarnation;
	uint32_t n_ops;
	int live;
	struct { /* first two operations */
		uint32_t kind, flags;
		char stream[64], fork_of[64], data[32];
		uint64_t data_len, marks_len;
		size_t n_data, n_marks;
		int fd;
	} op[2];
	char name[64];
};
extern struct fake_heard fake_heard[FAKE_HEARD];
extern size_t fake_n_heard;

void fake_writer_start(struct worker *);                /* links, no welcome yet */
void fake_writer_welcome(struct worker *, char volume); /* another letter is another volume */
void fake_writer_stop(struct worker *);
void fake_writer_hang_up(void);          /* without a turn of the worker */
void fake_writer_again(struct worker *); /* links, without a turn; may fail for want of memory */
void fake_writer_listen(void);
struct fake_heard *fake_last(uint16_t id); /* NULL: none */
size_t fake_count(uint16_t id);
void fake_forget(void);
void fake_result(uint64_t req, int32_t status, uint64_t tail);
void fake_results(uint64_t req, uint32_t n);
void fake_touched(uint64_t req, int32_t status);
void fake_watched(uint64_t watch, uint32_t events, uint64_t incarnation, uint64_t tail);
void fake_notice(uint64_t watch, uint32_t events, uint64_t tail, uint64_t from, sl_slice fill, sl_slice marks);
void fake_life(uint64_t watch, uint32_t events, const char *stream);
void fake_send(void);

#endif
