/*
 * help.c - help, out of the descriptions of the commands. sluicectl.
 */
#include "sluicectl/ctl.h"

const struct ctl_option ctl_global_options[] = {
	{'S', "socket", "PATH", "control socket of the server (otherwise $SLUICE_SOCKET)"},
	{'c', "config", "FILE",
         "configuration of the server, which says where it is (" SL_SYSCONFDIR "/sluice/sluice.yaml)"},
	{'j', "json", NULL, "print JSON, one value a line"},
	{0, NULL, NULL, NULL},
};

/* Those that ctl.c does itself; they take no options. */
static const struct ctl_command help_special[] = {
	{.name = "help", .args = "[COMMAND]", .summary = "Show help about a command", .max = 1},
	{.name = "completion",
         .args = "bash | zsh",
         .summary = "Print the completion script of bash or zsh",
         .help = "For the shell to read: source <(sluicectl completion bash). An installation has it already.",
         .min = 1,
         .max = 1},
};
enum { HELP_SPECIAL = sizeof help_special / sizeof *help_special };

const struct ctl_command *help_find(const char *name)
{
	for (size_t i = 0; i < HELP_SPECIAL; i++) {
		if (strcmp(help_special[i].name, name) == 0)
			return &help_special[i];
	}
	return ctl_find(name);
}

static void help_options(FILE *f, const struct ctl_option *o)
{
	for (; o && o->letter; o++)
		fprintf(f, "  -%c, --%s%s%-*s  %s\n", o->letter, o->name, o->value ? " " : "",
		        (int)(20 - strlen(o->name) - (o->value ? 1 : 0)), o->value ? o->value : "", o->help);
}

void help_usage(FILE *f, const struct ctl_command *c)
{
	fprintf(f, "usage: sluicectl %s%s%s%s\n", c->name, c->options ? " [options]" : "", *c->args ? " " : "",
	        c->args);
}

void help_command(FILE *f, const struct ctl_command *c)
{
	help_usage(f, c);
	fprintf(f, "%s.\n", c->summary);
	if (c->help)
		fprintf(f, "\n%s\n", c->help);
	if (!c->run)
		return;
	fputc('\n', f);
	help_options(f, c->options);
	help_options(f, ctl_global_options);
}

void help_all(FILE *f)
{
	fputs("usage: sluicectl [options] COMMAND ...\n", f);
	for (const struct ctl_command *const *c = ctl_commands; *c; c++)
		fprintf(f, "  %-10s  %s\n", (*c)->name, (*c)->summary);
	for (size_t i = 0; i < HELP_SPECIAL; i++)
		fprintf(f, "  %-10s  %s\n", help_special[i].name, help_special[i].summary);
	fputc('\n', f);
	help_options(f, ctl_global_options);
	fputs("  -h, --help                  show this; behind a command, help about it\n"
	      "      --version               show the version\n\n"
	      "Exit status: 0 done, 1 refused or failed, 2 wrong command line, 3 no server answers, 4 no such stream.\n",
	      f);
}
