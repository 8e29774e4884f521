/*
 * help.c - help, out of the descriptions of the commands. sluicectl.
 */
#include "sluicectl/ctl.h"

const struct ctl_option ctl_global_options[] = {
	{'S', "socket", "PATH", "control socket of the server (otherwise $SLUICE_SOCKET)"},
	{'c', "config", "FILE", "configuration of the server, which says where the socket is"},
	{'j', "json", NULL, "print JSON, one value a line"},
	{0, NULL, NULL, NULL},
};

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
	fputc('\n', f);
	help_options(f, c->options);
	help_options(f, ctl_global_options);
}

void help_all(FILE *f)
{
	fputs("usage: sluicectl [options] COMMAND ...\n", f);
	for (const struct ctl_command *const *c = ctl_commands; *c; c++)
		fprintf(f, "  %-10s  %s\n", (*c)->name, (*c)->summary);
	fputs("  help        Show help about a command\n"
	      "  completion  Print the completion script of bash or zsh\n\n",
	      f);
	help_options(f, ctl_global_options);
	fputs("      --help                  show this; behind a command, help about it\n"
	      "      --version               show the version\n\n"
	      "Exit status: 0 done, 1 refused or failed, 2 wrong command line, 3 no server answers, 4 no such stream.\n",
	      f);
}
