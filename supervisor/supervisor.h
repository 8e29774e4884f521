/*
 * supervisor.h - what the files of sluiced share. The supervisor holds no data and loads no plugin.
 *
 * Decisions are level-triggered: whatever happens to a child, a reload or a signal changes a state and calls super_poke(); then, at
 * the end of the turn, super_progress() looks at all states and takes the next step. Children are freed there only.
 */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include <event2/event.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "lib/conf.h"
#include "lib/ipc.h"
#include "lib/link.h"
#include "lib/metrics.h"
#include "lib/msg.h"
#include "lib/options.h"

struct supervisor;
struct generation;
struct check;
struct upgrade;
struct control;
struct takeover;

/* ---- config.c: one text that was read and checked; shared by the generations that run on it ---- */
struct config {
	unsigned refs;
	char *file;
	struct sl_buf text;
	struct sluice_conf *root; /* NULL: not YAML at all */
	struct stat st;           /* of the file that was read */
};
enum { CONFIG_MAX = 512 * 1024 }; /* it travels to the children in one frame */
/* Reads and checks the core's part. NULL: unreadable, errno says why. Findings are added to errors. */
struct config *config_load(const char *file, struct sl_conf_errors *);
struct config *config_ref(struct config *);
void config_unref(struct config *);
/* Whether an option that wants the writer's restart differs. */
bool config_needs_restart(const struct config *old, const struct config *new);
enum sluice_level config_log_level(const struct config *);
void config_log_errors(const struct config *, const struct sl_conf_errors *);
/* Warns of a file that others can change, or, with secrets in it, read. owner: whose it is counts as well. */
void config_warn(const struct config *, bool secrets, bool owner);
int config_print(const struct config *, const struct check *, struct sl_buf *out); /* effective configuration */

/* ---- datadir.c ---- */
struct datadir {
	char *path;     /* absolute; owned */
	bool temporary; /* ours to remove */
};
/* Whether others can change what is there, or read it: an error, or a warning. Nothing is made. owner: as above. */
void datadir_check(const struct config *, bool owner, struct sl_conf_errors *);
int datadir_open(const char *configured, struct datadir *); /* logs what is wrong */
char *datadir_path(const char *configured);                 /* absolute, the caller's; NULL: no memory */
void datadir_close(struct datadir *);

/* ---- listen.c: listening sockets, which outlive every generation that uses them ---- */
struct listener {
	struct sl_link link;
	char *key;   /* what makes it the same listener in another configuration */
	char *shown; /* "http://127.0.0.1:4437", "unix:/path" */
	char *path;  /* unix socket made by us, removed with it; NULL otherwise */
	dev_t dev;
	ino_t ino;
	int fd;
	bool used;     /* scratch of listeners_sweep() */
	bool borrowed; /* another supervisor owns the file at `path` */
};
enum { ACTIVATION_MAX = 64 };
struct activation { /* sockets passed by systemd */
	char *name;
	int fd; /* -1: taken */
};
void activation_take(struct supervisor *); /* reads and clears the environment */
/* Opens what the configuration asks for and is not open yet. Findings are added to errors. */
void listeners_open(struct supervisor *, const struct config *, struct sl_conf_errors *);
struct listener *listener_find(struct supervisor *, const struct sluice_conf *frontend, size_t index);
void listeners_modes(struct supervisor *); /* as the configuration in force wants those of Unix sockets */
void listeners_sweep(struct supervisor *); /* closes what no generation uses */
void listeners_close(struct supervisor *);
/* In an upgrade; both take fd over, also on failure. */
int listener_adopt(struct supervisor *, sl_slice key, sl_slice shown, sl_slice path, int fd);
int activation_adopt(struct supervisor *, sl_slice name, int fd);
void listeners_lend(struct supervisor *, bool borrowed);
void listeners_show(struct supervisor *, const struct config *, struct sl_buf *out); /* " listen=..." for each */
int listener_url(struct supervisor *, const struct sluice_conf *frontend, size_t index, struct sl_buf *out); /* as clients say it */

/* ---- channel.c: a connection to another process of ours ---- */
typedef int channel_receive_fn(void *arg, struct sl_ipc *, uint16_t id, sl_slice body); /* nonzero: not understood */
struct channel {
	struct sl_ipc ipc;
	struct event *readable, *writable;
	channel_receive_fn *receive;
	void (*lost)(void *arg, const char *why); /* once; nothing is dispatched after it */
	void *arg;
	bool open;
};
int channel_open(struct channel *, struct event_base *, int fd, channel_receive_fn *receive,
                 void (*lost)(void *, const char *), void *arg); /* takes fd over, also on failure */
void channel_flush(struct channel *);
void channel_drain(struct channel *); /* dispatches what has arrived */
void channel_close(struct channel *);

/* ---- output.c: captured stdout or stderr of a child ---- */
struct output {
	struct event *readable;
	int fd;
	int level; /* of lines that do not say theirs */
	const char *name;
	pid_t pid;
	size_t len;
	char line[2048];
};
/* Takes fd over, also on failure. */
int output_open(struct output *, struct event_base *, int fd, int level, const char *name, pid_t pid);
void output_close(struct output *); /* logs what is left */
/* One line of a child as it is logged, without line end; returns its length. */
size_t output_format(char *out, size_t size, bool terminal, int level, const char *name, pid_t pid, const char *line,
                     size_t len);

/* ---- backoff.c: when a child that died is started again ---- */
enum { BACKOFF_FIRST = 100, BACKOFF_MAX = 30000, BACKOFF_HEALTHY = 10000 };
struct backoff {
	uint32_t delay; /* of the next early death; 0: start at once */
	bool proven;    /* was healthy once: what clients can cause does not throttle it */
};
/* lived_ms: how long it was ready; -1: it never was. Returns the milliseconds to wait. */
uint32_t backoff_next(struct backoff *, int64_t lived_ms);

/* ---- child.c: states ---- */
#define CHILD_STATES(X) \
	X(DOWN, "down")         /* no process; perhaps a restart is timed */ \
	X(STARTING, "starting") /* the handshake is under way */ \
	X(READY, "ready") \
	X(DRAINING, "draining") /* told to finish */ \
	X(KILLED, "killed")     /* was sent a deadly signal */
#define X(id, name) CHILD_##id,
enum child_state { CHILD_STATES(X) };
#undef X
enum child_kind { CHILD_STORE, CHILD_WORKER, CHILD_CHECK };

struct child_plugin { /* as its worker said; all owned */
	char *name, *version, *mount, *file;
	uint32_t abi_major, abi_minor;
};
enum { CHILD_PLUGINS_MAX = 32 }; /* of a frontend, see lib/options.c */

#define CHILD_MAGIC 0x4368696cu
struct child {
	uint32_t magic;
	enum child_kind kind;
	enum child_state state;
	struct supervisor *super;
	struct sl_link link;       /* supervisor->children */
	char *name;                /* "store", "streams#1" */
	const char *section;       /* name of the frontend; lives in the generation's or check's configuration */
	struct generation *gen;    /* workers; not owned */
	struct check *check;       /* checks; NULL: abandoned */
	bool wanted;               /* is to run: started again when it dies */
	bool final;                /* said that a restart would not help */
	bool greeted;              /* hello_back was good */
	bool replaced;             /* told to leave so that a new one can start */
	char *why;                 /* its own words about a failure; owned */
	const char *lost;          /* why its channel ended */
	unsigned deaths;           /* unexpected ones */
	pid_t pid;
	struct channel channel;
	struct output out, err;
	struct event *restart, *deadline;
	struct backoff backoff;
	int64_t ready_at;          /* monotonic; -1: not since it was started */
	uint64_t ping;
	unsigned missed;           /* pings without an answer */
	bool presence;             /* worker: mounts presence, so it owns every ephemeral channel */
	uint32_t links;            /* worker: connections to the writer given to this process */
	bool unlinked;             /* worker: the newest of them is lost; it gets another with the next ping */
	uint32_t presence_links;   /* worker: likewise to the presence worker */
	bool presence_unlinked;
	int peer_fd;               /* worker: the writer's end of the connection, while there is no writer to take it; -1 */
	struct child_plugin plugins[CHILD_PLUGINS_MAX];
	size_t n_plugins;
	int board_fd;              /* worker: of its frontend, its own copy; -1: it is the only worker */
	uint32_t slot;             /* its place there */
	int metrics_fd;            /* for reading */
	struct sl_metrics *metrics; /* mapped; survives the process until the next one starts */
	uint64_t memory;           /* number of metrics; 0: none yet */
	bool roster;               /* worker: wants to know of every process */
	uint64_t memory_told;      /* to it: memories up to this number */
};
enum { PING_MS = 2000, PINGS_WORKER = 5, PINGS_STORE = 30, EXIT_FINAL = 78 };

struct child *child_new(struct supervisor *, enum child_kind, const char *name, const char *section);
void child_free(struct child *);                       /* DOWN only */
void child_start(struct child *);                      /* a failure counts as a death */
void child_stop(struct child *, uint32_t deadline_ms, const char *why);  /* drain, then kill; not started again */
void child_replace(struct child *, uint32_t deadline_ms, const char *why); /* the same, and a new one is started */
void child_kill(struct child *, int signal, const char *why);
void child_reaped(struct child *, int status);
void child_ping(struct child *);
const char *child_state_name(enum child_state);

/* ---- spawn.c ---- */
#define SPAWN_HANDOVER "SLUICE_HANDOVER" /* in the environment of a successor: the process id of its predecessor */
int spawn_self(char *out, size_t size); /* the file of this program, or what was put in its place */
int spawn_dir(char *out, size_t size);  /* where the programs of the children are */
int spawn_process(struct child *);      /* fork and exec; channel and outputs are open after it */
struct successor {
	pid_t pid;
	int pidfd;   /* readable when it has ended; it is no child of ours */
	int channel;
};
int spawn_successor(struct supervisor *, struct successor *); /* the program that is installed now; nonzero with errno */

/* ---- setup.c: what a child is told ---- */
int setup_send(struct child *);
void setup_link(struct child *worker);  /* a new connection between worker and writer */
void setup_peers(struct supervisor *);  /* connections for all workers, after the writer came up */

/* ---- presence.c: the worker that owns the ephemeral channels, and everybody's connection to it ---- */
struct child *presence_owner(const struct supervisor *);         /* of the generation that serves; NULL: none */
void presence_link(struct child *worker);                        /* a new connection; nothing while there is no owner */
void presence_links(struct supervisor *);                        /* for all workers, after the owner came up or changed */
bool presence_stays(const struct supervisor *, const struct config *new); /* a reload to this keeps the owner and its channels */
void presence_move(struct supervisor *, struct generation *to);  /* the owner goes on in the new generation */

/* ---- generation.c: the workers of one configuration ---- */
struct generation {
	struct sl_link link; /* supervisor->old while it drains */
	unsigned number;
	struct config *config;
	struct supervisor *super;
	uint32_t idle_ms; /* while it drains: end connections that are idle for so long; 0: keep them */
};
/* Children exist, not started. kept: without the owner of the ephemeral channels, which the reload takes along. */
struct generation *generation_new(struct supervisor *, struct config *, unsigned number, bool kept);
void generation_start(struct generation *);
void generation_stop(struct generation *, uint32_t deadline_ms, const char *why);
bool generation_ready(const struct generation *); /* every worker is */
bool generation_empty(const struct generation *);
struct child *generation_failed(const struct generation *, bool final); /* one that died (for good) */
void generation_free(struct generation *);

/* ---- check.c: plugins' options, in throw-away children, one frontend after the other ----
 * Also for a configuration in which the core has found errors already, so that all are seen at once. */
struct check *check_start(struct supervisor *, struct config *, struct sl_conf_errors *found); /* takes found over */
bool check_done(const struct check *);
struct sl_conf_errors *check_errors(struct check *); /* sorted; complete when done */
const struct config *check_config(const struct check *);
sl_slice check_effective(const struct check *, size_t frontend); /* YAML list of the plugins, defaults filled in */
void check_free(struct check *); /* also while it runs */
/* From child.c. */
void check_found(struct child *, const struct sl_control_check_error *);
void check_warned(struct child *, const struct sl_control_check_warning *);
void check_verdict(struct child *, const struct sl_control_checked *);
void check_gone(struct child *, int status); /* as of waitpid(); -1: it could not be started */

/* ---- reload.c ---- */
void reload_request(struct supervisor *);
void reload_progress(struct supervisor *);

/* ---- notify.c: systemd ---- */
struct notify {
	char *path;            /* NULL: nobody listens */
	uint64_t watchdog_ms;  /* half of what was asked for; 0: none */
};
void notify_open(struct notify *); /* reads and clears the environment */
void notify_close(struct notify *);
int notify_adopt(struct notify *, sl_slice path, uint64_t watchdog_ms); /* from a predecessor */
void notify_send(const struct notify *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void notify_reloading(const struct notify *, const char *status); /* READY=1 ends it */

/* ---- upgrade.c: another build takes our place ---- */
/* Begins; how it ended is told by the log. Nonzero: it cannot begin, for the reason in `why`. */
int super_upgrade(struct supervisor *, char *why, size_t size);
void upgrade_progress(struct supervisor *);
void upgrade_cancel(struct supervisor *); /* we are stopping */
void upgrade_free(struct supervisor *);

/* ---- takeover.c: we take the place of another build ---- */
int takeover_open(struct supervisor *); /* reads and clears the environment; supervisor->takeover stays NULL when nobody is there */
bool takeover_given(const struct supervisor *);    /* everything has arrived, or there is nobody to wait for */
int takeover_data(struct supervisor *, const char **why); /* instead of datadir_open() */
void takeover_able(struct supervisor *);           /* our workers accept and queue */
bool takeover_released(const struct supervisor *); /* the data is ours */
void takeover_serving(struct supervisor *);
void takeover_progress(struct supervisor *); /* when the predecessor has gone the service manager is ours */
void takeover_fail(struct supervisor *, const char *why);
void takeover_free(struct supervisor *);

/* ---- control.c: sluicectl ---- */
/* When the data is ours. replace: take the place of a predecessor that still answers there. SLUICE_EBUSY: somebody else answers. */
int control_open(struct supervisor *, bool replace, char *why, size_t size);
const char *control_shown(const struct supervisor *); /* the path; "" when there is none */
bool control_may(uid_t);                              /* whether that user may connect */
void control_note(struct supervisor *, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* about the reload under way */
void control_reloaded(struct supervisor *, bool good);
void control_upgraded(struct supervisor *, const char *failed); /* NULL: the other build serves */
void control_backup_progress(struct supervisor *, const struct sl_control_backup_progress *);
void control_backup_done(struct supervisor *, uint32_t number, int status, sl_slice text); /* number 0: whichever there is */
void control_stopping(struct supervisor *);
void control_progress(struct supervisor *);
void control_close(struct supervisor *);

/* ---- roster.c: what workers are told of all processes ---- */
enum { ROSTER_MAX = 1024 }; /* processes that are told of */
void roster_wanted(struct child *);
void roster_progress(struct supervisor *); /* something may have changed */

/* ---- report.c ---- */
int report_status(struct supervisor *, struct sl_ipc *out);
int report_plugins(struct supervisor *, struct sl_ipc *out);

/* ---- supervisor.c ---- */
#define SUPER_PHASES(X) \
	X(CHECKING, "checking") \
	X(STORE, "starting the store") \
	X(WORKERS, "starting the workers") \
	X(TAKING, "waiting for the predecessor") \
	X(RUNNING, "running") \
	X(HANDING, "handing over to the successor") \
	X(DRAINING, "draining the workers") \
	X(CLOSING, "stopping the store") \
	X(OVER, "over")
#define X(id, name) SUPER_##id,
enum super_phase { SUPER_PHASES(X) };
#undef X

enum { OLD_MAX = 4, STORE_DRAIN_MS = 30000, CONTROL_WAIT_MS = 2000, CONTROL_AGAIN_MS = 50 };
struct supervisor {
	struct event_base *base;
	const char *file;     /* configuration */
	const char *program;  /* of this process, as installed now; NULL: not known */
	char **argv;          /* its arguments */
	const char *programs; /* directory of the children's programs */
	bool verbose;
	bool only_check; /* -t: the loop ends with the check */
	enum super_phase phase;
	int exit_code;
	struct config *config; /* what runs */
	struct datadir data;
	bool begun;            /* a writer has opened the data */
	struct sl_link children, listeners, old;
	struct child *store;
	struct generation *gen, *next; /* next: of a reload that is not ready yet */
	unsigned n_old, generations;
	uint64_t memories;            /* numbers given to metrics so far */
	struct check *check;
	bool reloading, reload_again; /* one more is remembered */
	unsigned reloads;             /* begun so far */
	struct control *control;      /* NULL: not open */
	int64_t control_since;        /* monotonic: it is tried to open it; 0: not yet */
	uint32_t backups;             /* begun so far */
	int64_t started;              /* monotonic */
	struct upgrade *upgrade;      /* under way, or its process is not gone yet */
	struct takeover *takeover;    /* until the predecessor is gone */
	struct activation *activation;
	size_t n_activation;
	struct notify notify;
	struct event *progress, *pings, *watchdog, *signals[8];
	size_t n_signals;
};
int super_init(struct supervisor *, const char *file, const char *programs, bool verbose);
void super_fini(struct supervisor *);
int super_run(struct supervisor *);               /* the daemon; returns the exit code */
int super_check(struct supervisor *, bool print); /* -t and --print-config; returns the exit code */
void super_poke(struct supervisor *);
void super_stop(struct supervisor *, const char *why);
void super_enter(struct supervisor *, enum super_phase);
void super_over(struct supervisor *, int exit_code);
void super_watchdog(struct supervisor *); /* begins to feed it, when one is asked for */
const char *super_phase_name(enum super_phase);
int64_t super_now(void); /* monotonic milliseconds */
uint32_t super_drain_ms(const struct supervisor *);

/* ---- token.c: --new-token; returns the exit code ---- */

int token_print(const char *name);

#endif
