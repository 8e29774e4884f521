/*
 * worker.h - the inside of sluice-frontend: one worker process, its turn, its plugin instances, their handles, the
 * store.
 *
 * frontend.h is what the engines below frontend/ see; this is what the files beside it share.
 *
 * A turn: every ready socket and due timer (libevent), then worker_turn(): results the host made itself, events,
 * reads, room callbacks, deferred calls, one flush to the writer, burial of freed handles. Work that a callback of
 * that phase makes waits for the next turn, so a turn is bounded by what was there when it began.
 */
#ifndef WORKER_H
#define WORKER_H

#include <pthread.h>

#include "frontend/ephemeral/ephemeral.h"
#include "frontend/frontend.h"
#include "frontend/http/http.h"
#include "frontend/ws/ws.h"
#include "lib/conf.h"
#include "lib/map.h"
#include "lib/board.h"
#include "lib/metrics.h"
#include "lib/msg.h"
#include "lib/store_client.h"
#include "lib/store_reader.h"

#define WORKER_MAGIC 0x576f726bu
#define REQ_MAGIC 0x48527131u
#define SUB_MAGIC 0x48537562u
#define WATCH_MAGIC 0x48576174u
#define TIMER_MAGIC 0x4854696du
#define CHAN_REQ_MAGIC 0x43685271u
#define CHAN_SUB_MAGIC 0x43685375u

enum {
	HANDLES_MAX = 1 << 18, /* of one instance: requests, subscriptions, watches, timers, deferred calls */
	LISTENERS_MAX = 64,
	LINGER_MS = 60000, /* a watch outlives its last subscriber */
	READS_BIG = 16,    /* reads of READ_BIG bytes or more executed a turn; the rest waits for the next */
	READ_BIG = 32 * 1024,
	READS_TURN = 4096,
	DOWN_MAX_MS = 90000 /* without a writer, then the worker gives up and is restarted */
};

struct sluice_watch {
	uint32_t magic;
	struct sl_link in_ctx, grave;
	struct sluice_ctx *ctx;
	struct event *event;
	void (*fn)(void *, int);
	void *arg;
	int events;
};

struct sluice_timer {
	uint32_t magic;
	struct sl_link in_ctx, grave;
	struct sluice_ctx *ctx;
	struct event *event;
	void (*fn)(void *);
	void *arg;
};

struct host_call { /* a deferred call, or one waiting for room in the writer's queue */
	struct sl_link in_ctx, queued;
	struct sluice_ctx *ctx;
	void (*fn)(void *);
	void *arg;
};

enum req_kind { REQ_SUBMIT, REQ_READ, REQ_LIST, REQ_ITEMS, REQ_PING };

struct sluice_req {
	uint32_t magic;
	enum req_kind kind;
	struct sl_link in_ctx;
	struct sl_link queued; /* store.reads, store.local; alone while the writer has it */
	struct sluice_ctx *ctx;
	void *arg;
	union {
		sluice_done_fn *done;
		sluice_read_fn *read;
		sluice_list_fn *list;
		sluice_list_items_fn *items;
		sluice_ping_fn *ping;
	} fn; /* NULL members: cancelled */
	bool cancelled;
	uint64_t queued_us; /* monotonic */
	/* submit */
	uint32_t n_ops;
	bool appends; /* its first operation does */
	int32_t status; /* of a request that is answered here */
	uint32_t reason;
	size_t n_payload;
	struct sluice_payload **payload; /* owned until the writer has answered; behind this struct, like own_fd */
	int *own_fd;
	size_t n_own_fd;
	/* read: stream and the rest with the instance's prefix; list: prefix and after */
	struct sluice_read rd;
	sl_slice after;
	uint32_t limit;
	uint64_t touched; /* incarnation whose life the writer has confirmed, or cannot; 0: not asked */
	struct sl_client_req *touch;
	/* names follow */
};

struct sluice_sub {
	uint32_t magic;
	struct sl_link in_ctx, in_watch, grave,
		fresh; /* fresh: waits for its first event on a watch that is already there */
	struct sluice_ctx *ctx;
	struct host_watch *watch; /* NULL: ended */
	struct prefix_watch *prefix;
	sluice_event_fn *fn;
	void *arg;
	bool live;
};

struct tail_cache;

struct host_watch { /* one stream watched at the writer for all local subscribers */
	uint32_t magic;
	struct host_watch *hash_next;
	struct sl_link subs, dirty, idle;  /* idle: nobody subscribes, gone when LINGER_MS are over */
	struct sl_client_watch *at_writer; /* NULL: over */
	struct tail_cache *cache;
	uint64_t tail, incarnation, idle_since;
	uint32_t pending; /* SLUICE_EV_* to be told at the end of the turn */
	uint32_t closed;  /* SLUICE_EV_CLOSED once known */
	uint32_t n_live;
	bool answered;
	uint64_t hash;
	size_t len;
	char name[];
};

struct life_event {
	struct sl_link next;
	uint32_t events;
	uint64_t incarnation, time_ms;
	size_t n_stream, n_type;
	char text[]; /* stream, content type */
};

struct prefix_watch { /* one per subscription */
	struct sluice_sub *sub;
	struct sl_client_watch *at_writer;
	struct sl_link events, dirty;
	size_t n_events;
	bool resync; /* instead of the events */
};

struct store {
	struct sl_client *client;
	struct event *ev_read, *ev_write, *ev_tick;
	struct sl_reader *reader;
	uint32_t schema;
	uint8_t generation[16];
	bool have_generation;
	uint8_t volume;      /* counts the volumes this process has met; see store_id_out() */
	uint64_t down_since; /* 0: the writer is there */
	struct sl_link reads, local, rooms;
	size_t n_reads;
	bool room;                         /* run the room callbacks in this turn */
	struct sl_buf names, marks, types; /* scratch of one call */
	struct sl_buf listing;
	struct sl_buf memo_name; /* facts of the stream read last in this transaction */
	struct sl_facts memo;
	bool memo_valid;
	/* watches by name */
	struct host_watch **bucket;
	size_t n_bucket, n_watch;
	struct sl_link dirty, idle, fresh, prefix_dirty;
	struct sl_link *iterating; /* the subscriber link the delivery goes to next */
	/* tail caches, least recently used first */
	struct sl_link caches;
	size_t cache_bytes;
	struct sl_buf cache_ends, cache_records;
	struct sl_store_rule *rules; /* retention of all instances; prefixes owned */
	uint32_t n_rules;
	uint64_t failed_ms; /* monotonic: when a read that failed was logged last; 0: never */
	uint64_t *n_submits, *n_reads_done, *n_cache_hits, *n_events, *n_lost, *n_queued;
	struct sl_metrics_cell *append_time;
};

/* ---- ephemeral channels as this worker sees them (ephemeral/member.c, view.c) ---- */

enum chan_kind { CHAN_WRITE, CHAN_LOOK, CHAN_SUBSCRIBE, CHAN_LIST };

struct sluice_chan_req {
	uint32_t magic;
	enum chan_kind kind;
	struct sl_link in_ctx, order; /* member.reqs, oldest first: the order in which they are answered */
	struct sluice_ctx *ctx;       /* NULL: the view's own look */
	struct member_view *view;     /* of a SUBSCRIBE */
	uint64_t number;
	size_t bytes;
	uint32_t flags;
	union {
		sluice_channel_done_fn *done;
		sluice_channel_state_fn *state;
		sluice_channel_list_fn *list;
	} fn;
	void *arg;
	bool cancelled;
};

struct sluice_chan_sub {
	uint32_t magic;
	struct sl_link in_ctx, in_view, grave;
	struct sluice_ctx *ctx;
	struct member_view *view; /* NULL: over */
	sluice_channel_state_fn *state;
	sluice_channel_event_fn *event;
	void *arg;
};

struct member {
	bool wanted; /* some frontend mounts presence */
	bool linked;
	struct sl_ipc ipc;
	struct event *ev_read, *ev_write;
	struct sl_buf pieces;
	struct sl_link reqs, views, loud, graves; /* loud: views whose audience changed */
	struct sl_map by_name;
	struct member_view **slot; /* views by watch number; 0 is none */
	uint32_t n_slot, free_slot;
	size_t bytes; /* of unanswered requests */
	uint64_t seq, serial, owner;
	struct sl_link *iterating;
	struct sluice_channel_kept *kept; /* of the look that is being answered; texts in kept_text */
	size_t n_kept, cap_kept;
	struct sl_buf kept_text;
};

enum worker_state { WORKER_SETUP, WORKER_STARTING, WORKER_RUNNING, WORKER_DRAINING, WORKER_STOPPED };

struct worker {
	uint32_t magic;
	enum worker_state state;
	pthread_t thread;
	struct event_base *base;
	uint64_t now_us, wall_ms; /* 0: not asked in this turn */
	/* control.c */
	struct sl_ipc control;
	struct event *ev_control, *ev_control_write;
	char *name, *section, *config_file, *data_dir;
	uint32_t generation;
	bool check;
	struct sl_buf config_text;
	struct {
		uint32_t index;
		char *address;
		int fd;
		struct sluice_ctx *owner; /* claimed by a plugin; NULL: the HTTP engine's */
	} listener[LISTENERS_MAX];
	size_t n_listener;
	const char **origins, **hosts; /* of the configuration, which owns the texts; NULL: any */
	struct ssl_ctx_st *tls[LISTENERS_MAX]; /* as in the configuration; NULL: without TLS */
	int link;          /* store_link that came before setup_done */
	uint32_t links;    /* how many came */
	int presence_link; /* likewise */
	uint32_t presence_links;
	struct sl_metrics *metrics;
	struct sl_board *board; /* of the workers of this frontend; NULL: it is the only one */
	uint32_t slot;
	struct roster *roster; /* NULL: nothing was told */
	/* configuration */
	struct sluice_conf *conf;
	struct sl_conf_errors errors;
	const struct sluice_conf *frontend;
	/* instances, in the order of the YAML */
	struct sluice_ctx *instances;
	size_t n_instances;
	struct auth *auth;
	struct sl_buf auth_name; /* scratch of one authorize() */
	struct http_engine *http;
	struct ws_engine *ws;
	struct payload_budget budget;
	struct store store;
	struct member member;
	struct eph_server *ephemeral; /* the worker that mounts presence only */
	struct sl_link defers;
	struct sl_link graves_watch, graves_timer, graves_sub;
	/* draining */
	uint64_t deadline_ms;
	struct event *ev_deadline;
	bool http_idle, ws_idle;
	char *fail_why; /* somebody asked to leave; done at the end of the turn, since it calls plugins */
	int exit_code;
	bool quit;
};

extern struct worker *worker_the; /* the one of this process: for host calls that name no instance */

/* worker.c */
struct worker *worker_new(int control_fd); /* NULL: no memory */
int worker_run(struct worker *);           /* until the end; the exit code */
void worker_free(struct worker *);
void worker_begin(struct worker *); /* setup_done: load, start, listen, ready (or check) */
void worker_drain(struct worker *, uint64_t ms, uint32_t idle_ms); /* idle_ms: see http_engine_drain() */
void worker_fail(struct worker *, const char *why); /* drain, then exit with 1 */
void worker_check_idle(struct worker *);            /* ends a drain when nothing is left */
void worker_turn(struct worker *);                  /* the end of a turn */
bool worker_pending(const struct worker *);
uint64_t worker_now(struct worker *);
uint64_t worker_now_us(struct worker *);
uint64_t worker_wall(struct worker *);

/* control.c */
int control_open(struct worker *, int fd);
void control_close(struct worker *);
void control_ready(struct worker *);
void control_roster_wanted(struct worker *);
void control_store_lost(struct worker *);
void control_presence_lost(struct worker *);
void control_failed(struct worker *, const char *why, bool final);
void control_check_error(struct worker *, unsigned line, unsigned column, const char *text);
void control_check_warning(void *worker, const char *text);
void control_checked(struct worker *, uint32_t errors, sl_slice effective, bool secrets);
void control_flush(struct worker *, bool wait); /* wait: up to a second, before an exit */

/* load.c */
const struct sluice_plugin *load_plugin(const char *configured, uint64_t caps, char *why,
                                        size_t size); /* NULL: *why says it */
int load_path(const char *configured, char *path, size_t size); /* the file of a plugin */
const char *load_dir(void);

/* instance.c */
int instances_configure(struct worker *); /* loads and configures all; findings go to worker->errors */
int instances_start(struct worker *, const char **why);
void instances_drain(struct worker *);
void instances_stop(struct worker *);
void instances_free(struct worker *);
bool instances_secrets(const struct worker *);
int instances_print(struct worker *, struct sl_buf *);

/* host.c, loop.c */
extern const struct sluice_host host_table;
void host_thread_check(void);
void host_ctx_check(const struct sluice_ctx *);
void host_conf_phase(struct sl_conf_errors *); /* where conf_error() goes; NULL: not now */
void host_metrics_phase(bool open);
int loop_watch_new(struct sluice_ctx *, int fd, int events, void (*fn)(void *, int), void *arg, struct sluice_watch **);
int loop_watch_set(struct sluice_watch *, int events);
void loop_watch_free(struct sluice_watch *);
void loop_forget_fd(struct sluice_ctx *, int fd); /* before the host closes it: what is watched there stays silent */
int loop_timer_new(struct sluice_ctx *, void (*fn)(void *), void *arg, struct sluice_timer **);
void loop_timer_set(struct sluice_timer *, int64_t ms);
void loop_timer_free(struct sluice_timer *);
int loop_defer(struct sluice_ctx *, void (*fn)(void *), void *arg);
void loop_run_defers(struct worker *);
void loop_bury(struct worker *);
size_t loop_reclaim(struct sluice_ctx *);

/* store.c, submit.c: writes; reads.c; subs.c: watches; cache.c */
extern const struct sluice_store store_table;
int store_init(struct worker *);
void store_fini(struct worker *);
int store_link(struct worker *, int fd);
void store_turn(struct worker *);
void store_flush(struct worker *);
bool store_pending(const struct worker *);
bool store_idle(const struct worker *);
size_t store_reclaim(struct sluice_ctx *);
/* What plugins see as incarnation. After a restore another volume may use a number again for something else, so all but
 * the first volume of this process mark theirs; an answer that was begun in one volume is then cut off instead of going
 * on in another. */
static inline uint64_t store_id_out(const struct store *s, uint64_t id)
{
	return id ? id | (uint64_t)s->volume << 56 : 0;
}
static inline bool store_id_in(const struct store *s, uint64_t id, uint64_t *own)
{
	*own = id & ((UINT64_C(1) << 56) - 1);
	return id >> 56 == s->volume;
}
struct sluice_req *store_req_new(struct sluice_ctx *, enum req_kind, size_t extra, void *arg);
void store_req_free(struct sluice_req *);
void store_req_check(const struct sluice_req *);

int submit_submit(struct sluice_ctx *, const struct sluice_op *, size_t n, sluice_done_fn *, void *arg,
                  struct sluice_req **);
void submit_cancel(struct sluice_req *);
void submit_run_local(struct worker *);

int reads_read(struct sluice_ctx *, const struct sluice_read *, sluice_read_fn *, void *arg, struct sluice_req **);
int reads_list_items(struct sluice_ctx *, sl_slice prefix, sl_slice after, uint32_t limit, sluice_list_items_fn *, void *arg,
                     struct sluice_req **);
int reads_list(struct sluice_ctx *, sl_slice prefix, sl_slice after, uint32_t limit, sluice_list_fn *, void *arg,
               struct sluice_req **);
void reads_cancel(struct sluice_req *);
void reads_run(struct worker *);
void reads_expire(struct worker *);

int subs_subscribe(struct sluice_ctx *, sl_slice stream, int live, sluice_event_fn *, void *arg, struct sluice_sub **);
int subs_subscribe_prefix(struct sluice_ctx *, sl_slice prefix, sluice_event_fn *, void *arg, struct sluice_sub **);
void subs_unsubscribe(struct sluice_sub *);
void subs_event(void *worker, void *user, const struct sl_client_event *);
void subs_new_volume(struct worker *);
void subs_life(void *worker, void *user, const struct sl_store_life *);
void subs_run(struct worker *);
void subs_sweep(struct worker *);
void subs_bury(struct worker *);
struct host_watch *subs_find(struct worker *, sl_slice name);
int subs_init(struct worker *);
void subs_fini(struct worker *);

void cache_fill(struct worker *, struct host_watch *, uint64_t from, sl_slice fill, sl_slice marks);
void cache_drop(struct worker *, struct host_watch *);
void cache_drop_all(struct worker *);
/* Fills in the answer when the cache has all of it: plan and step. Slices stay valid until the next call or fill. */
bool cache_read(struct worker *, struct host_watch *, const struct sl_facts *, uint64_t from, uint64_t budget,
                struct sl_plan *, struct sl_step *);

/* roster.c */
extern const struct sluice_server server_table;
bool roster_is_wanted(const struct worker *); /* some plugin needs it */
int roster_memory(struct worker *, uint64_t number, int fd); /* takes the descriptor over */
int roster_replace(struct worker *, const struct sl_control_roster *);
void roster_cancel(struct sluice_req *); /* a ping */
void roster_free(struct worker *);

/* ephemeral/member.c, view.c */
extern const struct sluice_ephemeral ephemeral_table;
int member_init(struct worker *);
void member_fini(struct worker *);
int member_link(struct worker *, int fd); /* takes the descriptor over; a second one replaces the first */
void member_flush(struct worker *);       /* at the end of a turn */
bool member_idle(const struct worker *);
size_t member_reclaim(struct sluice_ctx *);
struct sluice_chan_req *member_req(struct worker *, struct sluice_ctx *, enum chan_kind, size_t bytes, void *arg, int *rc);
int member_sent(struct worker *, struct sluice_chan_req *, int rc); /* the frame is queued, or the request is taken back */
void member_req_free(struct worker *, struct sluice_chan_req *);
int member_channel(struct worker *, const struct sluice_channel *, struct eph_channel_id *);
int view_subscribe(struct sluice_ctx *, const struct sluice_channel *, sluice_channel_state_fn *,
                   sluice_channel_event_fn *, void *arg, struct sluice_chan_sub **);
void view_unsubscribe(struct sluice_chan_sub *);
void view_looked(struct worker *, struct sluice_chan_req *, const struct sluice_channel_state *);
void view_event(struct worker *, const struct sl_presence_event *, sl_slice data);
void view_lost(struct worker *); /* the presence worker is gone */
void view_loud(struct worker *); /* tells how many subscribers stand behind each view */
void view_bury(struct worker *);

/* ephemeral/server.c */
struct eph_registry_limits eph_server_limits(const struct sluice_conf *presence); /* of the plugin's options */
int eph_server_new(struct worker *, const struct eph_registry_limits *);
void eph_server_free(struct worker *);
int eph_server_peer(struct worker *, int fd); /* takes the descriptor over */
void eph_server_relink(struct worker *);      /* a connection of the worker to itself that was lost is made anew */
void eph_server_turn(struct worker *);

#endif
