/*
 * fuzz_console.c - fuzz target: requests to the plugin console, and whatever there is for it to show. Tests only.
 *
 * An input is a text of pieces with a NUL between them: requests (requests.h), `+N` to let N tenths of a second pass, and changes of
 * what the console looks at: a line with a word (see words), lines with its arguments. Here, beside the rules that the fake host
 * checks: every request is answered once its time is over, live views end when the worker is drained; what is called JSON is
 * JSON, events and metrics keep their format, each series is there once, and nothing that a stranger has put into a stream can be taken for
 * markup.
 */
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/requests.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

extern const struct sluice_plugin sluice_plugin_v1;

enum { PIECES_MAX = 24, LENGTHS_MAX = 8, LINES_MAX = 2048 };

typedef struct sluice_slice slice;

static void must(bool good)
{
	if (!good)
		abort();
}

/* ---- what there is to be shown ---- */

static slice word_slice(const char *s)
{
	return (slice){.data = s, .len = strlen(s)};
}

static char *argument(char **at)
{
	char *line = line_next(at);

	return line ? line : *at;
}

static uint64_t number(char **at)
{
	return strtoull(argument(at), NULL, 0);
}

static void submitted(void *arg, const struct sluice_result *r, size_t n)
{
	(void)arg;
	(void)r;
	(void)n;
}

static void submit(fake *f, struct sluice_op *op)
{
	op->size = sizeof *op;
	(void)fake_store_table.submit(f, op, 1, submitted, NULL, NULL);
}

static void do_create(fake *f, char *at)
{
	const char *name = argument(&at), *type = argument(&at);
	struct sluice_op op = {.kind = SLUICE_OP_CREATE,
	                       .stream = word_slice(name),
	                       .content_type = word_slice(*type ? type : "text/plain")};

	if (*name)
		submit(f, &op);
}

/* A record of messages whose lengths are named first; the last one is what is left. */
static void do_append(fake *f, char *at)
{
	const char *name = argument(&at), *lengths = argument(&at);
	const struct fake_stream *s = fake_stream(f, name);
	struct sluice_op op = {.kind = SLUICE_OP_APPEND, .stream = word_slice(name), .data = word_slice(at)};
	uint32_t length[LENGTHS_MAX];
	size_t left = op.data.len;

	if (!s || left == 0)
		return;
	op.content_type = word_slice(s->type);
	for (; *lengths && op.n_messages < LENGTHS_MAX - 1; lengths += *lengths != '\0') {
		size_t n = (size_t)strtoul(lengths, (char **)(uintptr_t)&lengths, 10);

		n = n < left ? n : left;
		left -= n;
		if (n)
			length[op.n_messages++] = (uint32_t)n;
	}
	if (left)
		length[op.n_messages++] = (uint32_t)left;
	op.message_len = length;
	submit(f, &op);
}

static void do_close(fake *f, char *at)
{
	struct sluice_op op = {.kind = SLUICE_OP_CLOSE, .stream = word_slice(argument(&at))};

	submit(f, &op);
}

static void do_remove(fake *f, char *at)
{
	const char *name = argument(&at);

	if (fake_stream(f, name))
		fake_remove(f, name, number(&at) & 1);
}

static void do_trim(fake *f, char *at)
{
	const char *name = argument(&at);
	const struct fake_stream *s = fake_stream(f, name);
	uint64_t n = number(&at);

	/* To the end of its n-th record. */
	if (s && s->n_record && s->record[n % s->n_record].end > s->earliest)
		fake_trim(f, name, s->record[n % s->n_record].end);
}

static void do_deny(fake *f, char *at)
{
	f->deny = argument(&at);
}

static void do_who(fake *f, char *at)
{
	(void)f;
	fake_who = (int)(number(&at) % 3);
	fake_expires = f->wall + number(&at);
}

/* What the store answers; a broken one is told with 500, which is a test of its own. */
static void do_store(fake *f, char *at)
{
	static const int status[] = {
		0, SLUICE_EBUSY, SLUICE_EAGAIN, SLUICE_ELOST, SLUICE_ENOMEM, SLUICE_ENOENT, SLUICE_EGONE, SLUICE_EFULL};

	f->read_status = status[number(&at) & 7];
	f->submit_status = status[number(&at) & 7];
	f->ping_status = status[number(&at) & 7];
	f->channels = (int)(number(&at) % 3) - 1;
}

static void do_hold(fake *f, char *at)
{
	f->hold = number(&at) & 1;
	f->hold_reads = number(&at) & 1;
	f->hold_watches = number(&at) & 1;
}

/* The n-th call of the host from here on fails. */
static void do_fail(fake *f, char *at)
{
	f->fail_at = f->calls + (unsigned)(number(&at) & 63);
}

static void do_process(fake *f, char *at)
{
	struct fake_process *p = &f->process[f->n_process];
	uint32_t kind = (uint32_t)(number(&at) % 3);

	if (f->n_process == sizeof f->process / sizeof *f->process)
		return;
	*p = (struct fake_process){.kind = kind ? kind == 1 ? SLUICE_PROCESS_STORE : SLUICE_PROCESS_WORKER
	                                        : SLUICE_PROCESS_SUPERVISOR};
	p->pid = (uint32_t)number(&at);
	p->name = argument(&at);
	p->frontend = argument(&at);
	p->state = argument(&at);
	for (size_t i = 0; i < f->n_process; i++)
		if (strcmp(f->process[i].name, p->name) == 0)
			return; /* names of processes are the supervisor's, each there once */
	f->n_process++;
}

/* Plugins have counters and gauges, whose names begin with their own; histograms are the host's. */
static void do_metric(fake *f, char *at)
{
	struct fake_process *p = f->n_process ? &f->process[f->n_process - 1] : NULL;
	struct fake_metric *m = p ? &p->metric[p->n_metric] : NULL;
	uint32_t kind = (uint32_t)(number(&at) % 3);

	if (!p || p->n_metric == sizeof p->metric / sizeof *p->metric)
		return;
	*m = (struct fake_metric){.kind = kind ? kind == 1 ? SLUICE_METRIC_COUNTER : SLUICE_METRIC_GAUGE
	                                       : SLUICE_METRIC_HISTOGRAM,
	                          .scale = 1};
	m->value = number(&at);
	if (kind == 0)
		for (size_t i = 0; i < 3; i++)
			m->bucket[m->n_bucket++] =
				(struct sluice_bucket){i == 2 ? UINT64_MAX : 500 + i * 1500, number(&at)};
	m->mount = argument(&at);
	m->help = argument(&at);
	m->name = kind ? argument(&at) : "http.seconds";
	if (kind == 0 || strncmp(m->name, "x.", 2) == 0)
		p->n_metric++;
}

static const struct word {
	const char *word;
	void (*run)(fake *, char *at);
} words[] = {
	{"create", do_create}, {"append", do_append}, {"close", do_close},     {"remove", do_remove},
	{"trim", do_trim},     {"deny", do_deny},     {"who", do_who},         {"store", do_store},
	{"hold", do_hold},     {"fail", do_fail},     {"process", do_process}, {"metric", do_metric},
};

/* ---- what it answered ---- */

static bool starts(slice s, const char *with)
{
	return s.len >= strlen(with) && memcmp(s.data, with, strlen(with)) == 0;
}

/* The next line of a text, without its newline, which must be there. */
static bool text_line(slice *text, slice *line)
{
	const char *end = text->len ? memchr(text->data, '\n', text->len) : NULL;

	must(end || text->len == 0);
	if (!end)
		return false;
	*line = (slice){.data = text->data, .len = (size_t)(end - (const char *)text->data)};
	*text = (slice){.data = end + 1, .len = text->len - line->len - 1};
	return true;
}

static void check_json(slice s)
{
	json_error_t error;
	json_t *value = json_loadb(s.data, s.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &error);

	must(value && !memchr(s.data, '<', s.len));
	json_decref(value);
}

static void check_events(slice s)
{
	slice line;

	while (text_line(&s, &line))
		if (starts(line, "data: "))
			check_json((slice){.data = (const char *)line.data + 6, .len = line.len - 6});
		else
			must(line.len == 0 || starts(line, ": ") || starts(line, "event: "));
}

/* NAME{LABEL="VALUE",...} of a sample; returns its length. */
static size_t sample_series(slice s)
{
	const char *p = s.data;
	size_t n = 0;
	bool quoted = false;

	while (n < s.len && (isalnum((unsigned char)p[n]) || p[n] == '_'))
		n++;
	must(n > 0 && n < s.len && (p[n] == '{' || p[n] == ' '));
	for (bool inside = p[n] == '{'; inside; n++) {
		must(n < s.len);
		if (quoted && p[n] == '\\')
			n++;
		else if (p[n] == '"')
			quoted = !quoted;
		else if (!quoted && p[n] == '}')
			inside = false;
	}
	return n;
}

static void check_metrics(slice s)
{
	slice line, seen[LINES_MAX], family = {0};
	size_t n_seen = 0;

	while (text_line(&s, &line)) {
		slice key = line;
		const char *value;

		if (starts(line, "# TYPE ")) {
			must(starts(line, "# TYPE sluice_"));
			continue;
		}
		if (starts(line, "# HELP ")) {
			key.len = (size_t)((const char *)memchr((const char *)line.data + 7, ' ', line.len - 7) -
			                   (const char *)line.data);
			family = (slice){.data = (const char *)line.data + 7, .len = key.len - 7};
		} else {
			key.len = sample_series(line);
			must(key.len >= family.len && memcmp(key.data, family.data, family.len) == 0);
			value = (const char *)line.data + key.len;
			must(value[0] == ' ');
			(void)strtod(value + 1, (char **)(uintptr_t)&value);
			must(*value == '\n');
		}
		for (size_t i = 0; i < n_seen; i++)
			must(seen[i].len != key.len || memcmp(seen[i].data, key.data, key.len) != 0);
		if (n_seen < LINES_MAX)
			seen[n_seen++] = key;
	}
}

static void check(const struct sluice_http_req *r)
{
	const char *type = fake_header(r, "content-type");
	slice body = {.data = r->body.data, .len = r->body.len};

	must(!r->wrong && !fake_open(r));
	must(!r->responded || (r->status >= 200 && r->status != 500 && r->status <= 599));
	if (!r->responded || r->reset || !type || body.len == 0)
		return;
	if (strcmp(type, "application/json") == 0)
		check_json(body);
	else if (strcmp(type, "text/event-stream") == 0)
		check_events(body);
	else if (strncmp(type, "text/plain; version", 19) == 0)
		check_metrics(body);
}

/* ---- one input ---- */

static void run(fake *f, char *text, size_t len, struct sluice_http_req **made)
{
	struct request r;
	char *at = text;

	if (text[0] == '+') {
		fake_advance(f, 100 * (uint64_t)(atoi(text + 1) & 255));
	} else if (islower((unsigned char)text[0])) {
		const char *word = argument(&at);

		for (size_t i = 0; i < sizeof words / sizeof *words; i++)
			if (strcmp(words[i].word, word) == 0)
				words[i].run(f, at);
		fake_turn(f);
	} else if (request_parse(text, len, &r)) {
		*made = fake_http(f, r.method, r.target, r.header, r.body, r.body_len);
		fake_turn(f);
	}
}

/* Everything goes on, whoever is answered by then is, and the worker is replaced. */
static void finish(fake *f)
{
	f->hold = f->hold_reads = f->hold_watches = false;
	fake_advance(f, 2000);
	f->plugin->drain(f->self, 0);
	fake_turn(f);
	must(f->drained);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const settings[] = {"health_timeout=200ms", NULL};
	struct sluice_http_req *made[PIECES_MAX] = {NULL};
	char *text = input_copy(data, n), *piece;
	size_t at = 0, len = 0;
	fake *f;

	if (!text)
		return 0;
	f = fake_new(&sluice_plugin_v1, settings);
	must(f != NULL);
	for (size_t i = 0; i < PIECES_MAX && (piece = input_piece(text, n, &at, &len)); i++)
		run(f, piece, len, &made[i]);
	finish(f);
	for (size_t i = 0; i < PIECES_MAX; i++)
		if (made[i])
			check(made[i]);
	must(fake_free(f) == 0);
	fake_who = SLUICE_WHO_ANYBODY;
	fake_expires = 0;
	free(text);
	return 0;
}
