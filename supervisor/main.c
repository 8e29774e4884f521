/*
 * main.c - sluiced: command line and the state every child inherits. Supervisor.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "lib/log.h"
#include "supervisor/supervisor.h"

static const char main_usage[] =
        "usage: sluiced [-c FILE] [-t | --print-config] [-v]\n"
        "       sluiced --new-token NAME\n"
        "\n"
        "Runs in the foreground, logs to standard error, and starts the processes of the server.\n"
        "\n"
        "  -c, --config FILE      configuration (" SL_SYSCONFDIR "/sluice/sluice.yaml)\n"
        "  -t, --test             check the configuration, plugins included, and exit\n"
        "      --print-config     print the effective configuration, defaults included, and exit\n"
        "      --die-with-parent  stop in order when the process that started it ends\n"
        "      --new-token NAME   make a bearer token for NAME and print it with its line for the configuration\n"
        "  -v, --verbose          log everything, whatever log.level says\n"
        "  -h, --help             show this\n"
        "      --version          show the version\n"
        "\n"
        "SIGHUP reloads the configuration, SIGUSR2 upgrades to the installed build, SIGTERM and SIGINT stop in order.\n"
        "sluicectl does the same and tells how it went. Exit status: 0 stopped in order, or checked and good; 1 it cannot\n"
        "run, for the reason above; 2 wrong command line.\n";

struct main_options {
	const char *file;
	bool test, print, verbose, tied;
};

/* What is wrong has been said. */
static int main_misuse(void)
{
	fputs("Try \"sluiced --help\".\n", stderr);
	return 2;
}

/* -1: go on; otherwise the exit code. */
static int main_parse(int argc, char **argv, struct main_options *o)
{
	enum { OPT_PRINT = 256, OPT_VERSION, OPT_HELP, OPT_TOKEN, OPT_TIED };
	static const struct option longs[] = {
	        {"config", required_argument, NULL, 'c'}, {"test", no_argument, NULL, 't'},
	        {"print-config", no_argument, NULL, OPT_PRINT}, {"new-token", required_argument, NULL, OPT_TOKEN}, {"die-with-parent", no_argument, NULL, OPT_TIED}, {"verbose", no_argument, NULL, 'v'},
	        {"version", no_argument, NULL, OPT_VERSION}, {"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "c:tvh", longs, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->file = optarg;
			break;
		case 't':
			o->test = true;
			break;
		case 'v':
			o->verbose = true;
			break;
		case OPT_TIED:
			o->tied = true;
			break;
		case OPT_PRINT:
			o->print = true;
			break;
		case OPT_TOKEN:
			return token_print(optarg);
		case OPT_VERSION:
			printf("sluiced %s\n", PACKAGE_VERSION);
			return 0;
		case 'h':
		case OPT_HELP:
			fputs(main_usage, stdout);
			return 0;
		default:
			return main_misuse();
		}
	}
	if (optind < argc) {
		fprintf(stderr, "sluiced: unexpected argument \"%s\"\n", argv[optind]);
		return main_misuse();
	}
	return -1;
}

/* Descriptors 0 to 2 exist, so that no socket of ours becomes one of them. */
static void main_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd < 3);
	if (fd >= 0)
		close(fd);
}

/* A worker may have tens of thousands of connections; children inherit the limit. */
static void main_limits(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) || r.rlim_cur == r.rlim_max)
		return;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r))
		sl_log_errno(SLUICE_LOG_WARN, "limit descriptors=%llu", (unsigned long long)r.rlim_max);
}

/* For a program that has a server of its own, however it ends. The kernel sends the signal; who was gone before it was asked to has
 * left us to another parent. */
static void main_tie(pid_t parent)
{
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) || getppid() != parent)
		sl_fatal("the process that started it has ended");
}

/* What an upgrade starts: the path by which we were started, links and all, because they say where the next build will be. */
static int main_program(const char *name, char *out, size_t size)
{
	char cwd[PATH_MAX];
	int n = -1;

	if (name && *name == '/')
		n = snprintf(out, size, "%s", name);
	else if (name && strchr(name, '/') && getcwd(cwd, sizeof cwd))
		n = snprintf(out, size, "%s/%s", cwd, name);
	return n > 0 && (size_t)n < size ? 0 : spawn_self(out, size);
}

int main(int argc, char **argv)
{
	struct main_options o = {.file = SL_SYSCONFDIR "/sluice/sluice.yaml"};
	char programs[PATH_MAX], program[PATH_MAX];
	pid_t parent = getppid();
	struct supervisor s;
	int rc = main_parse(argc, argv, &o);

	if (rc >= 0)
		return rc;
	main_descriptors();
	sl_log_init("sluiced", o.verbose ? SLUICE_LOG_DEBUG : SLUICE_LOG_INFO);
	main_limits();
	if (o.tied && !getenv(SPAWN_HANDOVER))
		main_tie(parent);
	if (spawn_dir(programs, sizeof programs))
		sl_fatal("the path of the programs is too long");
	if (super_init(&s, o.file, programs, o.verbose))
		sl_fatal("out of memory");
	if (main_program(argv[0], program, sizeof program) == 0) {
		s.program = program;
		s.argv = argv;
	}
	rc = o.test || o.print ? super_check(&s, o.print) : super_run(&s);
	super_fini(&s);
	return rc;
}
