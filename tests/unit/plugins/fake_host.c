/*
 * fake_host.c - the fake's loop, configuration, buffers and payloads. Tests only.
 */
#include "tests/unit/plugins/fake_host.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sluice_timer {
	TAILQ_ENTRY(sluice_timer) link;
	fake *f;
	void (*fn)(void *);
	void *arg;
	uint64_t at; /* 0: not armed */
};
struct fake_defer {
	TAILQ_ENTRY(fake_defer) link;
	void (*fn)(void *);
	void *arg;
};
struct sluice_payload {
	fake *f;
	struct fake_bytes bytes;
};

/* The fake's own memory never fails: a test that lets malloc() fail looks at fake_allocating. */
unsigned fake_allocating;

void *fake_realloc(void *old, size_t n)
{
	void *p;

	fake_allocating++;
	p = realloc(old, n ? n : 1);
	fake_allocating--;
	assert(p);
	return p;
}

void *fake_malloc(size_t n)
{
	return fake_realloc(NULL, n);
}

void *fake_calloc(size_t n, size_t size)
{
	return memset(fake_malloc(n * size), 0, n * size);
}

char *fake_dup(const void *data, size_t n)
{
	char *s = fake_malloc(n + 1);

	if (n)
		memcpy(s, data, n);
	s[n] = '\0';
	return s;
}

void fake_bytes_add(struct fake_bytes *b, const void *data, size_t n)
{
	if (b->len + n + 1 > b->cap) {
		b->cap = (b->len + n + 1) * 2;
		b->data = fake_realloc(b->data, b->cap);
	}
	if (n)
		memcpy(b->data + b->len, data, n);
	b->len += n;
	b->data[b->len] = '\0';
}

bool fake_fails(fake *f)
{
	return ++f->calls == f->fail_at;
}

/* ---- configuration ---- */

static int64_t fake_number(const char *text)
{
	char *end;
	int64_t v;

	if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
		return strcmp(text, "true") == 0;
	v = strtoll(text, &end, 10);
	switch (*end) {
	case 'K':
		return v << 10;
	case 'M':
		return v << 20;
	case 'G':
		return v << 30;
	case 'h':
		return v * 3600000;
	case 'd':
		return v * 86400000;
	case 'm':
		return end[1] == 's' ? v : v * 60000;
	case 's':
		return v * 1000;
	default:
		return v;
	}
}

static const char *fake_conf_str(const struct sluice_conf *conf, const char *path)
{
	for (size_t i = 0; i < conf->n_set; i++)
		if (strcmp(conf->set[i].key, path) == 0)
			return conf->set[i].value;
	for (const struct sluice_option *o = conf->table; o->name; o++)
		if (strcmp(o->name, path) == 0)
			return o->def ? o->def : "";
	assert(!"an option that the table does not have");
	return "";
}

static int64_t fake_conf_int(const struct sluice_conf *conf, const char *path)
{
	return fake_number(fake_conf_str(conf, path));
}

static size_t fake_conf_len(const struct sluice_conf *conf, const char *path)
{
	return conf->list_key && strcmp(conf->list_key, path) == 0 ? conf->n_list : 0;
}

static const struct sluice_conf *fake_conf_at(const struct sluice_conf *conf, const char *path, size_t i)
{
	assert(i < fake_conf_len(conf, path));
	return &conf->list[i];
}

static int fake_conf_error(const struct sluice_conf *conf, const char *path, const char *fmt, ...)
{
	(void)conf;
	(void)path;
	(void)fmt;
	return SLUICE_EINVAL;
}

/* "key=value", or "list[].member=value" for the next element of a list of maps ("list[+].member=value" begins one). */
static void fake_conf_set(struct sluice_conf *conf, const char *setting)
{
	const char *eq = strchr(setting, '='), *bracket = strchr(setting, '[');
	const struct sluice_option *o = conf->table;
	struct sluice_conf *to = conf;
	const char *key = setting;

	assert(eq);
	if (bracket && bracket < eq) {
		while (strncmp(o->name, setting, (size_t)(bracket - setting)) != 0)
			o++;
		conf->list_key = o->name;
		if (bracket[1] == '+') {
			conf->list = fake_realloc(conf->list, ++conf->n_list * sizeof *conf->list);
			conf->list[conf->n_list - 1] = (struct sluice_conf){.table = o->sub};
		}
		to = &conf->list[conf->n_list - 1];
		key = strchr(bracket, '.') + 1;
	}
	for (o = to->table; strncmp(o->name, key, (size_t)(eq - key)) != 0 || o->name[eq - key]; o++)
		assert(o->name);
	to->set[to->n_set].key = o->name;
	to->set[to->n_set++].value = eq + 1;
}

/* ---- loop ---- */

static int fake_timer_new(fake *f, void (*fn)(void *), void *arg, struct sluice_timer **out)
{
	struct sluice_timer *t;

	if (fake_fails(f))
		return SLUICE_ENOMEM;
	t = fake_calloc(1, sizeof *t);
	*t = (struct sluice_timer){.f = f, .fn = fn, .arg = arg};
	TAILQ_INSERT_TAIL(&f->timers, t, link);
	f->n_timers++;
	*out = t;
	return 0;
}

static void fake_timer_set(struct sluice_timer *t, int64_t ms)
{
	t->at = ms < 0 ? 0 : t->f->now + (uint64_t)ms;
}

static void fake_timer_free(struct sluice_timer *t)
{
	if (!t)
		return;
	TAILQ_REMOVE(&t->f->timers, t, link);
	t->f->n_timers--;
	free(t);
}

static int fake_defer_add(fake *f, void (*fn)(void *), void *arg)
{
	struct fake_defer *d;

	if (fake_fails(f))
		return SLUICE_ENOMEM;
	d = fake_calloc(1, sizeof *d);
	d->fn = fn;
	d->arg = arg;
	TAILQ_INSERT_TAIL(&f->defers, d, link);
	return 0;
}

static void fake_loop_turn(fake *f, bool *busy)
{
	struct fake_defer *d;
	struct sluice_timer *t;

	while ((d = TAILQ_FIRST(&f->defers))) {
		TAILQ_REMOVE(&f->defers, d, link);
		d->fn(d->arg);
		free(d);
		*busy = true;
	}
	for (t = TAILQ_FIRST(&f->timers); t; t = TAILQ_NEXT(t, link)) {
		if (t->at == 0 || t->at > f->now)
			continue;
		t->at = 0;
		*busy = true;
		t->fn(t->arg);
		break; /* the list may have changed */
	}
}

void fake_turn(fake *f)
{
	bool busy = true;

	for (int rounds = 0; busy; rounds++) {
		assert(rounds < 100000);
		busy = false;
		fake_store_turn(f, &busy);
		fake_loop_turn(f, &busy);
		fake_http_turn(f, &busy);
	}
}

void fake_advance(fake *f, uint64_t ms)
{
	fake_turn(f);
	while (ms > 0) {
		uint64_t step = ms < 100 ? ms : 100;

		f->now += step;
		f->wall += step;
		ms -= step;
		fake_turn(f);
	}
}

static uint64_t fake_now_ms(fake *f)
{
	return f->now;
}

static uint64_t fake_wall_ms(fake *f)
{
	return f->wall;
}

/* ---- buffers and payloads ---- */

static struct sluice_buf *fake_buf_new(fake *f, struct sluice_slice bytes)
{
	struct sluice_buf *b;

	if (fake_fails(f))
		return NULL;
	b = fake_calloc(1, sizeof *b);
	b->f = f;
	b->refs = 1;
	fake_bytes_add(&b->bytes, bytes.data, bytes.len);
	f->n_bufs++;
	return b;
}

static struct sluice_buf *fake_buf_ref(struct sluice_buf *b)
{
	b->refs++;
	return b;
}

static void fake_buf_unref(struct sluice_buf *b)
{
	if (!b || --b->refs > 0)
		return;
	b->f->n_bufs--;
	free(b->bytes.data);
	free(b);
}

struct sluice_payload *fake_payload(fake *f, const void *data, size_t n)
{
	struct sluice_payload *p = fake_calloc(1, sizeof *p);

	p->f = f;
	fake_bytes_add(&p->bytes, data, n);
	f->n_payloads++;
	return p;
}

struct fake_bytes *fake_payload_bytes(struct sluice_payload *p)
{
	return &p->bytes;
}

static uint64_t fake_payload_len(const struct sluice_payload *p)
{
	return p->bytes.len;
}

static int fake_payload_map(struct sluice_payload *p, void **data, size_t *len)
{
	if (fake_fails(p->f))
		return SLUICE_ENOMEM;
	*data = p->bytes.data;
	*len = p->bytes.len;
	return 0;
}

static void fake_payload_truncate(struct sluice_payload *p, size_t len)
{
	assert(len <= p->bytes.len);
	p->bytes.len = len;
}

void fake_payload_free(struct sluice_payload *p)
{
	if (!p)
		return;
	p->f->n_payloads--;
	free(p->bytes.data);
	free(p);
}

/* ---- the rest ---- */

static void fake_log(fake *f, enum sluice_level level, const char *fmt, ...)
{
	va_list ap;

	(void)f;
	(void)level;
	va_start(ap, fmt);
	printf("# log: ");
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
}

static void fake_drained(fake *f)
{
	assert(!f->drained);
	f->drained = true;
}

static void fake_fail(fake *f, const char *why)
{
	(void)why;
	f->failed = true;
}

static uint64_t *fake_counter(fake *f, const char *name, const char *help)
{
	(void)help;
	assert(f->n_cells < 64 && strlen(name) < 40);
	memcpy(f->cell_name[f->n_cells], name, strlen(name) + 1);
	return &f->cells[f->n_cells++];
}

uint64_t fake_cell(const fake *f, const char *name)
{
	for (size_t i = 0; i < f->n_cells; i++)
		if (strcmp(f->cell_name[i], name) == 0)
			return f->cells[i];
	assert(!"no such cell");
	return 0;
}

static int fake_authorize(fake *f, const struct sluice_principal *who, const char *action, struct sluice_slice stream)
{
	size_t n = f->deny ? strlen(f->deny) : 0;

	(void)who;
	(void)action;
	return n && stream.len >= n && memcmp(stream.data, f->deny, n) == 0 ? SLUICE_EDENIED : 0;
}

static struct sluice_slice fake_claim(const struct sluice_principal *who, const char *name)
{
	(void)who;
	(void)name;
	return (struct sluice_slice){0};
}

int fake_who = SLUICE_WHO_ANYBODY;

static int fake_principal_who(const struct sluice_principal *who)
{
	assert((const void *)who == (const void *)&fake_who);
	return fake_who;
}

uint64_t fake_expires;

static uint64_t fake_principal_expires(const struct sluice_principal *who)
{
	assert((const void *)who == (const void *)&fake_who);
	return fake_expires;
}

fake *fake_new(const struct sluice_plugin *plugin, const char *const *settings)
{
	fake *f = fake_calloc(1, sizeof *f);

	f->plugin = plugin;
	f->conf.table = plugin->options;
	f->mount = plugin->default_mount;
	f->now = 1000000;
	f->wall = UINT64_C(1800000000000);
	f->step = 256 * 1024;
	f->next_incarnation = 1;
	TAILQ_INIT(&f->https);
	TAILQ_INIT(&f->reqs);
	TAILQ_INIT(&f->subs);
	TAILQ_INIT(&f->chan_subs);
	TAILQ_INIT(&f->timers);
	TAILQ_INIT(&f->defers);
	for (size_t i = 0; settings && settings[i]; i++)
		fake_conf_set(&f->conf, settings[i]);
	if (plugin->configure(f, &fake_host_table, &f->conf, &f->self) < 0) {
		free(f->conf.list);
		free(f);
		return NULL;
	}
	if (plugin->start(f->self) < 0) {
		plugin->stop(f->self);
		assert(f->n_timers == 0);
		free(f->conf.list);
		free(f);
		return NULL;
	}
	return f;
}

size_t fake_free(fake *f)
{
	size_t leaked;

	/* The engine closes its connections before the plugins stop. */
	while (!TAILQ_EMPTY(&f->https))
		fake_http_free(TAILQ_FIRST(&f->https));
	f->plugin->stop(f->self);
	leaked = f->n_bufs + f->n_payloads + f->n_subs + f->n_timers;
	fake_store_fini(f);
	leaked += f->n_reqs;
	free(f->conf.list);
	free(f);
	return leaked;
}

const struct sluice_host fake_host_table = {
	.size = sizeof fake_host_table,
	.abi_major = SLUICE_ABI_MAJOR,
	.abi_minor = SLUICE_ABI_MINOR,
	.caps = SLUICE_CAP_STORE | SLUICE_CAP_HTTP | SLUICE_CAP_AUTH | SLUICE_CAP_EPHEMERAL | SLUICE_CAP_SERVER,
	.store = &fake_store_table,
	.http = &fake_http_table,
	.log = fake_log,
	.conf_int = fake_conf_int,
	.conf_str = fake_conf_str,
	.conf_len = fake_conf_len,
	.conf_at = fake_conf_at,
	.conf_error = fake_conf_error,
	.timer_new = fake_timer_new,
	.timer_set = fake_timer_set,
	.timer_free = fake_timer_free,
	.defer = fake_defer_add,
	.now_ms = fake_now_ms,
	.wall_ms = fake_wall_ms,
	.buf_new = fake_buf_new,
	.buf_ref = fake_buf_ref,
	.buf_unref = fake_buf_unref,
	.payload_len = fake_payload_len,
	.payload_map = fake_payload_map,
	.payload_truncate = fake_payload_truncate,
	.payload_free = fake_payload_free,
	.drained = fake_drained,
	.fail = fake_fail,
	.counter = fake_counter,
	.gauge = fake_counter,
	.authorize = fake_authorize,
	.claim = fake_claim,
	.principal_who = fake_principal_who,
	.principal_expires = fake_principal_expires,
	.ephemeral = &fake_ephemeral_table,
	.server = &fake_server_table,
};
