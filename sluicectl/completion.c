/*
 * completion.c - scripts by which bash and zsh complete our command line, out of the descriptions of the commands. sluicectl.
 */
#include "sluicectl/ctl.h"

/* In single quotes; in zsh's specifications brackets and colons mean something as well. */
static void quoted(const char *text, const char *escaped)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\''", stdout);
		else
			printf("%s%c", strchr(escaped, *text) ? "\\" : "", *text);
	}
}

/* ---- bash ---- */

static void bash_options(const struct ctl_option *o)
{
	for (; o && o->letter; o++)
		printf(" --%s", o->name);
}

static void bash_values(const struct ctl_option *o)
{
	for (; o && o->letter; o++) {
		if (o->value)
			printf("|-%c|--%s", o->letter, o->name);
	}
}

static void bash_command(const struct ctl_command *c)
{
	static const char *const words[] = {
		[CTL_NO_WORDS] = "",
		[CTL_WORD_STREAM] = "streams",
		[CTL_WORD_FILE] = "",
		[CTL_WORD_LEVEL] = "error warn info debug",
	};

	printf("\t%s) options='", c->name);
	bash_options(c->options);
	printf("' words='%s' ;;\n", words[c->words]);
}

static void bash_print(void)
{
	fputs("# bash completion of sluicectl; made by `sluicectl completion bash`\n"
	      "_sluicectl() {\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command='' options='' words='' i\n"
	      "\tlocal -a server=()\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tcase ${COMP_WORDS[i]} in\n"
	      "\t\t-S|--socket|-c|--config) server+=(\"${COMP_WORDS[i]}\" \"${COMP_WORDS[i+1]}\"); ((i++)) ;;\n"
	      "\t\t-*) ;;\n"
	      "\t\t*) [[ $command ]] || command=${COMP_WORDS[i]} ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\tcase $command in\n"
	      "\t'') words='help",
	      stdout);
	for (const struct ctl_command *const *c = ctl_commands; *c; c++)
		printf(" %s", (*c)->name);
	fputs("' ;;\n\thelp) words='", stdout);
	for (const struct ctl_command *const *c = ctl_commands; *c; c++)
		printf(" %s", (*c)->name);
	fputs("' ;;\n", stdout);
	for (const struct ctl_command *const *c = ctl_commands; *c; c++)
		bash_command(*c);
	fputs("\tesac\n"
	      "\tcase $prev in\n"
	      "\t-S|--socket|-c|--config) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n"
	      "\t-",
	      stdout);
	for (const struct ctl_command *const *c = ctl_commands; *c; c++)
		bash_values((*c)->options);
	fputs(") return ;;\n"
	      "\tesac\n"
	      "\tif [[ $cur == -* ]]; then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W \"$options",
	      stdout);
	bash_options(ctl_global_options);
	fputs(" --help\" -- \"$cur\")\n"
	      "\telif [[ $words == streams ]]; then\n"
	      "\t\tmapfile -t COMPREPLY < <(sluicectl \"${server[@]}\" ls -- \"$cur\" 2>/dev/null | head -n 200)\n"
	      "\t\tdeclare -F __ltrim_colon_completions >/dev/null && __ltrim_colon_completions \"$cur\"\n"
	      "\telse\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	      "\tfi\n"
	      "}\n"
	      "complete -o default -F _sluicectl sluicectl\n",
	      stdout);
}

/* ---- zsh ---- */

static void zsh_options(const struct ctl_option *o)
{
	for (; o && o->letter; o++) {
		printf(" \\\n\t\t\t'(-%c --%s)'{-%c%s,--%s%s}'[", o->letter, o->name, o->letter, o->value ? "+" : "",
		       o->name, o->value ? "=" : "");
		quoted(o->help, "[]:\\");
		printf("]%s%s%s'", o->value ? ":" : "", o->value ? o->value : "",
		       !o->value                                                        ? ""
		       : strcmp(o->value, "FILE") == 0 || strcmp(o->value, "PATH") == 0 ? ":_files"
		                                                                        : ":");
	}
}

static void zsh_command(const struct ctl_command *c)
{
	static const char *const words[] = {
		[CTL_NO_WORDS] = "",
		[CTL_WORD_STREAM] = " \\\n\t\t\t'*:stream:_sluicectl_streams'",
		[CTL_WORD_LEVEL] = " \\\n\t\t\t'1:level:(error warn info debug)'",
		[CTL_WORD_FILE] = " \\\n\t\t\t'*:file:_files'",
	};

	printf("\t\t%s) _arguments -s", c->name);
	zsh_options(c->options);
	zsh_options(ctl_global_options);
	printf("%s ;;\n", words[c->words]);
}

static void zsh_print(void)
{
	fputs("#compdef sluicectl\n"
	      "# made by `sluicectl completion zsh`\n"
	      "_sluicectl_streams() {\n"
	      "\tlocal -a found\n"
	      "\tfound=(${(f)\"$(sluicectl ls -- \"$PREFIX\" 2>/dev/null | head -n 200)\"})\n"
	      "\t_alternative 'streams:stream:compadd -a found' 'files:file:_files'\n"
	      "}\n"
	      "_sluicectl() {\n"
	      "\tlocal state\n"
	      "\tlocal -a commands\n"
	      "\tcommands=('help:Show help about a command'",
	      stdout);
	for (const struct ctl_command *const *c = ctl_commands; *c; c++) {
		printf("\n\t\t'%s:", (*c)->name);
		quoted((*c)->summary, ":\\");
		putchar('\'');
	}
	fputs(")\n\t_arguments -C", stdout);
	zsh_options(ctl_global_options);
	fputs(" \\\n\t\t\t'1:command:->command' '*::argument:->argument'\n"
	      "\tcase $state in\n"
	      "\tcommand) _describe -t commands command commands ;;\n"
	      "\targument)\n"
	      "\t\tcase $words[1] in\n"
	      "\t\thelp) _describe -t commands command commands ;;\n",
	      stdout);
	for (const struct ctl_command *const *c = ctl_commands; *c; c++)
		zsh_command(*c);
	fputs("\t\tesac ;;\n\tesac\n}\n_sluicectl \"$@\"\n", stdout);
}

int completion_print(const char *shell)
{
	if (strcmp(shell, "bash") == 0)
		bash_print();
	else if (strcmp(shell, "zsh") == 0)
		zsh_print();
	else
		return CTL_USAGE;
	return out_flush();
}
