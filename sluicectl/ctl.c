/*
 * ctl.c - the command line of sluicectl: options for all commands, the command, its own options. sluicectl.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>

#include "sluicectl/ctl.h"

#define CTL_COMMAND(id) &cmd_##id,
const struct ctl_command *const ctl_commands[] = {
#include "sluicectl/commands.def"
	NULL,
};
#undef CTL_COMMAND

enum { OPTIONS_MAX = 24, OPT_HELP = 'h', OPT_VERSION = 256 };

void ctl_error(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("sluicectl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int ctl_misuse(const struct ctl *ctl, const char *fmt, ...)
{
	va_list ap;

	fputs("sluicectl: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (ctl->command)
		help_usage(stderr, ctl->command);
	else
		fputs("Try \"sluicectl --help\".\n", stderr);
	return CTL_USAGE;
}

const struct ctl_command *ctl_find(const char *name)
{
	for (const struct ctl_command *const *c = ctl_commands; *c; c++) {
		if (strcmp((*c)->name, name) == 0)
			return *c;
	}
	return NULL;
}

bool ctl_number(const char *text, uint64_t *n)
{
	char *end;

	errno = 0;
	*n = strtoull(text, &end, 10);
	return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

/* The tables in getopt's form. A long name behind the letters finds the same letter. */
static void ctl_getopt(const struct ctl_option *const tables[2], char letters[2 * OPTIONS_MAX + 3],
                       struct option longs[OPTIONS_MAX + 3])
{
	size_t n = 0, k = 2;

	letters[0] = '+'; /* the first word that is none ends the options */
	letters[1] = OPT_HELP;
	for (int t = 0; t < 2; t++) {
		for (const struct ctl_option *o = tables[t]; o && o->letter && n < OPTIONS_MAX; o++) {
			letters[k++] = o->letter;
			if (o->value)
				letters[k++] = ':';
			longs[n++] =
				(struct option){o->name, o->value ? required_argument : no_argument, NULL, o->letter};
		}
	}
	letters[k] = '\0';
	longs[n++] = (struct option){"help", no_argument, NULL, OPT_HELP};
	longs[n++] = (struct option){"version", no_argument, NULL, OPT_VERSION};
	longs[n] = (struct option){0};
}

/* Options up to the first other word, which is argv[optind]. -1: go on; otherwise the exit code. */
static int ctl_parse(struct ctl *ctl, int argc, char **argv)
{
	const struct ctl_option *const tables[2] = {ctl_global_options, ctl->command ? ctl->command->options : NULL};
	char letters[2 * OPTIONS_MAX + 3];
	struct option longs[OPTIONS_MAX + 3];
	int c;

	ctl_getopt(tables, letters, longs);
	while ((c = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		switch (c) {
		case OPT_HELP:
			if (ctl->command)
				help_command(stdout, ctl->command);
			else
				help_all(stdout);
			return CTL_OK;
		case OPT_VERSION:
			printf("sluicectl %s\n", PACKAGE_VERSION);
			return CTL_OK;
		case '?':
			if (ctl->command)
				help_usage(stderr, ctl->command);
			else
				fputs("Try \"sluicectl --help\".\n", stderr);
			return CTL_USAGE;
		default:
			ctl->option[c & 127] = optarg ? optarg : "";
		}
	}
	return -1;
}

/* Options of a command may stand among its arguments: they are looked for behind each; "--" ends them. */
static int ctl_arguments(struct ctl *ctl, int argc, char **argv)
{
	int rc;

	ctl->arg = argv;
	for (;;) {
		rc = ctl_parse(ctl, argc, argv);
		if (rc >= 0 || optind >= argc)
			break;
		if (strcmp(argv[optind - 1], "--") == 0) {
			while (optind < argc)
				ctl->arg[ctl->n_arg++] = argv[optind++];
			break;
		}
		/* Into the part that has been read already. */
		ctl->arg[ctl->n_arg++] = argv[optind++];
	}
	if (rc >= 0)
		return rc;
	if (ctl->n_arg < ctl->command->min)
		return ctl_misuse(ctl, "\"%s\" needs %s", ctl->command->name, ctl->command->args);
	if (ctl->n_arg > ctl->command->max)
		return ctl_misuse(ctl, "unexpected argument \"%s\"", ctl->arg[ctl->command->max]);
	return -1;
}

static int ctl_help(int argc, char **argv)
{
	const struct ctl_command *c = argc > 0 ? help_find(argv[0]) : NULL;

	if (argc > 0 && !c) {
		ctl_error("there is no command \"%s\"; try \"sluicectl --help\"", argv[0]);
		return CTL_USAGE;
	}
	if (c)
		help_command(stdout, c);
	else
		help_all(stdout);
	return CTL_OK;
}

static int ctl_completion(struct ctl *ctl, int argc, char **argv)
{
	bool asks = argc == 1 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0);
	int rc;

	ctl->command = help_find("completion");
	if (asks)
		help_command(stdout, ctl->command);
	rc = asks ? CTL_OK : argc == 1 ? completion_print(argv[0]) : CTL_USAGE;
	return rc == CTL_USAGE ? ctl_misuse(ctl, "\"completion\" needs bash or zsh") : rc;
}

int ctl_main(int argc, char **argv)
{
	struct ctl ctl = {0};
	int rc;

	signal(SIGPIPE, SIG_IGN); /* a reader that has gone is a failed write */
	rc = ctl_parse(&ctl, argc, argv);
	if (rc >= 0)
		return rc;
	if (optind >= argc) {
		help_all(stderr);
		return CTL_USAGE;
	}
	if (strcmp(argv[optind], "help") == 0)
		return ctl_help(argc - optind - 1, argv + optind + 1);
	if (strcmp(argv[optind], "completion") == 0)
		return ctl_completion(&ctl, argc - optind - 1, argv + optind + 1);
	ctl.command = ctl_find(argv[optind]);
	if (!ctl.command)
		return ctl_misuse(&ctl, "there is no command \"%s\"", argv[optind]);
	optind++;
	rc = ctl_arguments(&ctl, argc, argv);
	if (rc >= 0)
		return rc;
	ctl.socket = ctl.option['S'];
	ctl.config = ctl.option['c'];
	ctl.json = ctl.option['j'] != NULL;
	rc = ctl.command->run(&ctl);
	return rc ? rc : out_flush();
}
