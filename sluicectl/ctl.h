/*
 * ctl.h - what the files of sluicectl share: the description of a command, the way to the server, output.
 *
 * A command is a file cmd_NAME.c with one `const struct ctl_command cmd_NAME` and a row in commands.def; parser, help and completion come out
 * of the description. It prints its own errors (ctl_error) and returns an exit code.
 */
#ifndef CTL_H
#define CTL_H

#include <jansson.h>
#include <poll.h>
#include <stdio.h>

#include "lib/msg.h"
#include "lib/store_check.h"
#include "lib/store_client.h"
#include "lib/store_reader.h"

/* Documented in sluicectl(8). */
enum ctl_exit { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2, CTL_UNCHECKED = 2, CTL_AWAY = 3, CTL_ABSENT = 4 };

struct ctl_option {
	char letter;
	const char *name, *value, *help; /* value: what it is called in help; NULL: a flag */
};

enum ctl_words { CTL_NO_WORDS, CTL_WORD_STREAM, CTL_WORD_LEVEL, CTL_WORD_FILE }; /* what completion offers */

struct ctl;
struct ctl_command {
	const char *name, *args;          /* args: as in a synopsis */
	const char *summary;              /* one line */
	const char *help;                 /* paragraphs; NULL: the summary says it all */
	const struct ctl_option *options; /* ends with letter 0; NULL: none */
	unsigned min, max;                /* number of arguments */
	enum ctl_words words;
	int (*run)(struct ctl *);
};

struct ctl {
	const struct ctl_command *command;
	const char *socket, *config; /* as given; NULL: not */
	bool json;
	const char *option[128]; /* by letter: value, "" for a flag, NULL when not given */
	char **arg;
	unsigned n_arg;
};

#define CTL_COMMAND(id) extern const struct ctl_command cmd_##id;
#include "sluicectl/commands.def"
#undef CTL_COMMAND
extern const struct ctl_command *const ctl_commands[]; /* ends with NULL */

/* ---- ctl.c ---- */
int ctl_main(int argc, char **argv);
void ctl_error(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* "sluicectl: ...\n" on stderr */
int ctl_misuse(const struct ctl *, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* CTL_USAGE */
const struct ctl_command *ctl_find(const char *name);
bool ctl_number(const char *text, uint64_t *); /* decimal, the whole of it */

/* ---- help.c ---- */
extern const struct ctl_option ctl_global_options[];
const struct ctl_command *help_find(const char *name); /* also "help" and "completion", which have no run */
void help_all(FILE *);
void help_command(FILE *, const struct ctl_command *);
void help_usage(FILE *, const struct ctl_command *);

/* ---- completion.c ---- */
int completion_print(const char *shell); /* CTL_USAGE: not known */

/* ---- locate.c: where the control socket is, and the data; the caller's, NULL: said why ---- */
/* mistakes: what else is wrong in the configuration that says it, for locate_tell() in case that nobody answers there. */
char *locate_socket(const struct ctl *, struct sl_buf *mistakes);
void locate_tell(const struct sl_buf *mistakes);
char *locate_data(const struct ctl *); /* the directory, as the server says or the configuration */

/* ---- link.c: the control connection ---- */
struct link {
	struct sl_ipc ipc;
	char *path, *build, *data_dir; /* of socket, server, last store_link */
	uint32_t pid;
	int store_fd;       /* of the last store_link; -1 */
	struct sl_buf text; /* of the last done */
	int status;         /* of the last done */
	bool done, greeted;
	struct sl_admin_handlers handlers;
	void *user;                  /* of the handlers, whose first argument is the link */
	void (*idle)(struct link *); /* now and then while it waits, and after a signal; may send something */
};
enum { LINK_SOON_MS = 30000, LINK_IDLE_MS = 200 };
int link_open(const struct ctl *, struct link *); /* exit code; CTL_OK: to be closed */
/* After sl_put_admin_*(&link->ipc): sends, and handles what comes until it is done. wait_ms -1: however long it takes. Exit code, with
 * everything but a refusal told; a refusal is CTL_FAILED with status and text. */
int link_ask(struct link *, const struct sl_admin_handlers *, void *user, int wait_ms);
int link_refused(const struct link *); /* tells a refusal; CTL_FAILED */
const char *link_text(const struct link *);
bool link_wait_end(struct link *, int wait_ms); /* until the server closes the connection */
void link_close(struct link *);

/* ---- session.c: a connection to the store ---- */
struct session {
	const struct ctl *ctl;
	struct sl_client *client;
	struct sl_reader *reader;
	uint32_t schema;
	uint8_t generation[16];
	uint64_t away_since; /* monotonic ms; 0: a writer is there */
	bool known, replaced, refused;
	char why[256];
	void (*event)(struct session *, void *user, const struct sl_client_event *);
};
int session_open(const struct ctl *, struct session *); /* exit code; CTL_OK: a writer is there, the volume is open */
/* Waits for something to happen, at most wait_ms; brings a writer that is gone back. extra: a further descriptor to wait for, or NULL. Exit code. */
int session_turn(struct session *, int wait_ms, struct pollfd *extra);
int session_begin(struct session *); /* of a read transaction; exit code, told */
/* Submits and waits. results: n of them. Exit code, of the transport alone. */
int session_submit(struct session *, const struct sl_store_op *, uint32_t n, int fd, struct sluice_result *results);
void session_close(struct session *);
uint64_t session_now(void);                                                 /* monotonic ms */
uint64_t session_wall(void);                                                /* ms since 1970 */
int session_facts(struct session *, const char *stream, struct sl_facts *); /* inside a transaction; exit code, told */
int result_tell(const struct sluice_result *, const char *what, const char *stream); /* exit code */
const char *result_why(const struct sluice_result *);

/* ---- print.c: records of a stream on standard output ---- */
struct print {
	struct session *session;
	const char *stream;
	uint64_t incarnation;
	uint64_t next, skip; /* where the next step begins */
	bool lines;          /* a JSON stream: a message a line */
	struct sl_buf out;
};
bool print_offset(const char *text, uint64_t *); /* "123" or "0000000000000000_0000000000000123" */
bool print_is_json(sl_slice content_type);
int print_until(struct print *, uint64_t until); /* exit code */
void print_fini(struct print *);

/* ---- progress.c: a bar on standard error where that is a terminal ---- */
struct progress {
	bool shown, drawn;
	uint64_t last_ms;
};
void progress_init(struct progress *, const struct ctl *);
void progress_show(struct progress *, const char *what, uint64_t done, uint64_t total); /* total 0: not known */
void progress_clear(struct progress *); /* before anything else is printed */

/* ---- files.c: directories under names of their own until they are complete. What fails is told; 0 or -1 ---- */
char *files_partial(const char *path);   /* "PATH.partial-XXXXXX", made, mode 0700; the caller's */
int files_remove(const char *path);      /* with everything below; one that is not there is fine */
int files_sync(const char *path);        /* a file, or the entries of a directory */
int files_sync_parent(const char *path); /* so that the name outlives a power failure */
int files_copy(int from, int to, void (*copied)(void *, uint64_t),
               void *arg);                           /* the bytes of a file; errno, nothing is told */
int files_place(const char *from, const char *path); /* renames, unless something is there, and syncs */
int files_exchange(const char *a, const char *b);    /* in one step where the file system can; does not sync */
char *files_join(const char *dir, const char *name); /* the caller's; NULL: told */
int files_tar(const char *const argv[]);             /* runs tar, whose words are on standard error */

/* ---- stop.c: SIGINT, SIGTERM and SIGHUP while something must be put in order first ---- */
void stop_catch(void);
bool stop_asked(void);

/* ---- verify.c: sl_check_run() with findings on standard output ---- */
int verify_run(const struct ctl *, const char *dir, bool (*stopped)(void), struct sl_check *,
               char why[SL_CHECK_WHY]); /* its status */
void verify_table(const struct sl_check *);
enum { VERIFY_SUM = 256 };
const char *verify_sum(const struct sl_check *,
                       char buf[VERIFY_SUM]); /* "1 stream, 2 records, 5 bytes, as of position 7" */
json_t *verify_counts(const struct sl_check *);

/* ---- status.c ---- */
int status_ask(const struct ctl *, json_t **root);      /* exit code, told; root is the caller's */
const char *json_text(const json_t *, const char *key); /* "" when absent */
uint64_t json_number(const json_t *, const char *key);

const json_t *status_same(const json_t *root,
                          const json_t *process); /* the same process in another answer; NULL: not there */

/* ---- latency.c ---- */
enum { LATENCY_BUCKETS = 24, LATENCY_LINE = 256 };
extern const struct latency_kind { /* ends with text NULL */
	const char *text, *name;   /* of the histogram */
	const char *p50, *p99;     /* what they are called in JSON */
} latency_kinds[];
struct latency { /* observations of one process or several, in seconds */
	unsigned n;
	double bound[LATENCY_BUCKETS];
	uint64_t count[LATENCY_BUCKETS];
};
json_t *latency_json(const struct sl_admin_histogram *);                     /* NULL: no memory */
void latency_add(struct latency *, const json_t *before, const json_t *now); /* what came between; before NULL: all */
double latency_quantile(const struct latency *, double q);                   /* -1: nothing was observed */
json_t *latency_number(const struct latency *, double q);                    /* null: nothing was observed */
/* Of all processes of an answer to "status", since the one before, or (NULL) since each began. */
const char *latency_line(const json_t *before, const json_t *now, char buf[LATENCY_LINE]);

/* ---- out.c ---- */
int out_json(json_t *);     /* a line; takes the object over; exit code */
json_t *out_text(sl_slice); /* a string; what is not UTF-8 comes as {"base64": ...} */
char *out_name(sl_slice);   /* with control characters escaped; the caller's */
const char *out_duration(uint64_t ms, char buf[32]);
const char *out_bytes(uint64_t n, char buf[32]); /* in a column, or with a unit behind it: "5", "1.2M" */
const char *out_size(uint64_t n, char buf[32]);  /* in a sentence: "1 byte", "1.2M" */
const char *out_count(uint64_t n, const char *noun, char buf[64]); /* "1 record", "2 records" */
int out_flush(void); /* exit code: output that went nowhere is a failure */

enum { TABLE_COLUMNS = 16 };
struct table {
	unsigned n_col;
	unsigned right; /* bits of the columns that are aligned to the right */
	size_t n_cell, cap;
	char **cell; /* row by row; the first row is the head */
};
void table_init(struct table *, unsigned right, const char *const head[]);                  /* NULL-terminated */
void table_add(struct table *, const char *fmt, ...) __attribute__((format(printf, 2, 3))); /* the next cell */
void table_print(struct table *, FILE *);
void table_fini(struct table *);

#endif
