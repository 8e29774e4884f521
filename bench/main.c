/*
 * main.c - arguments and the table of cases. Program bench/load.
 *
 * usage: load HOST:PORT ROOT CASE [key=value...]
 */
#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "bench/load.h"

enum { CASE_MAX_S = 150 };

struct options opt = {
	.connections = 1, .streams = 1, .pipeline = 1, .bytes = 100, .seconds = 1, .subscribers = 1, .total = 1};

static const struct {
	const char *name;
	int (*run)(void);
	const char *what;
} cases[] = {
	{"append", case_append, "connections append to their streams; batch=N: JSON arrays of N"},
	{"read", case_read, "connections read whole streams of total= bytes over and over"},
	{"fanout", case_fanout,
         "subscribers= SSE readers of streams=, connections= writers, rate= appends a second (0: as fast as answered)"},
	{"poll", case_poll, "connections= pairs of a long-poll and a writer that waits for it"},
	{"idle", case_idle, "connections= parked readers (sse=1: SSE), then one append wakes them all"},
	{"many", case_many, "streams= are created, appended to and read at random"},
	{"presence", case_presence, "subscribers= of one ephemeral channel, connections= writers, rate= updates a second"},
	{"mixed", case_mixed, "connections= writers at full rate, subscribers= readers of streams of total= bytes"},
};

void die(const char *fmt, ...)
{
	va_list ap;

	fputs("load: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

void stream_path(char *out, size_t size, unsigned i)
{
	snprintf(out, size, "/bench/%s/%u", opt.run, i);
}

static void parse_address(const char *text)
{
	const char *colon = strrchr(text, ':');
	char host[64];

	if (!colon || (size_t)(colon - text) >= sizeof host)
		die("expected HOST:PORT, got %s", text);
	snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
	opt.addr.sin_family = AF_INET;
	opt.addr.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &opt.addr.sin_addr) != 1)
		die("not an IPv4 address: %s", host);
	opt.host = text;
}

static void parse_option(const char *text)
{
	const struct {
		const char *name;
		unsigned *number;
		size_t *size;
		bool *flag;
	} known[] = {{"connections", &opt.connections, NULL, NULL},
	             {"streams", &opt.streams, NULL, NULL},
	             {"pipeline", &opt.pipeline, NULL, NULL},
	             {"batch", &opt.batch, NULL, NULL},
	             {"rate", &opt.rate, NULL, NULL},
	             {"subscribers", &opt.subscribers, NULL, NULL},
	             {"bytes", NULL, &opt.bytes, NULL},
	             {"total", NULL, &opt.total, NULL},
	             {"sse", NULL, NULL, &opt.sse},
	             {"lenient", NULL, NULL, &opt.lenient}};
	const char *value = strchr(text, '=');

	if (!value)
		die("expected key=value, got %s", text);
	if (strncmp(text, "seconds=", 8) == 0) {
		opt.seconds = atof(value + 1);
		return;
	}
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		if (strncmp(known[i].name, text, (size_t)(value - text)) != 0 || known[i].name[value - text])
			continue;
		if (known[i].number)
			*known[i].number = (unsigned)atoi(value + 1);
		else if (known[i].size)
			*known[i].size = (size_t)atol(value + 1);
		else
			*known[i].flag = atoi(value + 1) != 0;
		return;
	}
	die("no such option: %s", text);
}

int main(int argc, char **argv)
{
	struct rlimit files;
	static char run[32];

	if (argc < 4) {
		fprintf(stderr, "usage: load HOST:PORT ROOT CASE [key=value...]\n");
		for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
			fprintf(stderr, "  %-8s %s\n", cases[i].name, cases[i].what);
		return 2;
	}
	parse_address(argv[1]);
	opt.root = argv[2];
	for (int i = 4; i < argc; i++)
		parse_option(argv[i]);
	if (opt.connections < 1 || opt.connections > CONNECTIONS_MAX || opt.streams < 1 || opt.bytes < 64 ||
	    opt.pipeline < 1 || opt.pipeline > PIPELINE_MAX || opt.subscribers > CONNECTIONS_MAX)
		die("an argument is out of range");
	snprintf(run, sizeof run, "%llx", (unsigned long long)now_us());
	opt.run = run;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	alarm((unsigned)opt.seconds + CASE_MAX_S); /* a server that hangs costs its own figure only */
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		if (strcmp(cases[i].name, argv[3]) == 0)
			return cases[i].run();
	die("no such case: %s", argv[3]);
}
