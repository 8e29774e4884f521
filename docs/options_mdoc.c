/*
 * options_mdoc.c - prints the option tables of the core as mdoc, the middle of sluice.yaml(5). Runs at build time only.
 */
#include <stdio.h>
#include <string.h>

#include "lib/options.h"

/* Each sentence on a line of its own, as mdoc wants it. A line must not begin with a control character; backslashes are not used in
 * the tables. */
static void text_print(const char *text)
{
	printf("%s", *text == '.' || *text == '\'' ? "\\&" : "");
	for (const char *p = text; *p; p++) {
		putchar(*p);
		if (*p == '.' && p[1] == ' ') {
			putchar('\n');
			p++;
		}
	}
	putchar('\n');
}

static void type_print(const struct sluice_option *o)
{
	static const char *const names[] = {
	        [SLUICE_T_BOOL] = "true or false", [SLUICE_T_INT] = "a number",      [SLUICE_T_SIZE] = "a size",
	        [SLUICE_T_DURATION] = "a time",    [SLUICE_T_STRING] = "text",       [SLUICE_T_LISTENER] = "an address",
	        [SLUICE_T_LIST] = "a list",        [SLUICE_T_MAP] = "a map",
	};

	if (o->type == SLUICE_T_ENUM) {
		printf("One of ");
		for (const char *p = o->min; *p; p++) {
			if (*p == '|')
				printf(", ");
			else
				putchar(*p);
		}
	} else {
		printf("Expects %s", names[o->type]);
		if (o->min && o->max && (o->type == SLUICE_T_INT || o->type == SLUICE_T_SIZE || o->type == SLUICE_T_DURATION))
			printf(" from %s to %s", o->min, o->max);
	}
	if (!o->def)
		printf("; required.\n");
	else if (*o->def && strcmp(o->def, "{}") != 0)
		printf("; the default is %s.\n", o->def);
	else
		printf("; may be absent.\n");
}

static void table_print(const struct sluice_option *table);

static void element_print(const struct sluice_option *o)
{
	text_print(o->doc);
	if (o->sub)
		table_print(o->sub);
}

static void table_print(const struct sluice_option *table)
{
	puts(".Bl -tag -width Ds");
	for (const struct sluice_option *o = table; o->name; o++) {
		printf(".It Cm %s\n", *o->name ? o->name : "element");
		if (o->doc)
			text_print(o->doc);
		if (o->type == SLUICE_T_MAP || (o->type == SLUICE_T_LIST && o->sub && *o->sub->name))
			table_print(o->sub);
		else if (o->type == SLUICE_T_LIST && o->sub)
			element_print(o->sub);
		else if (o->type != SLUICE_T_LIST)
			type_print(o);
		if (o->flags & SLUICE_OPT_RESTART)
			puts("A change restarts the store-writer after the reload; requests wait meanwhile.");
	}
	puts(".El");
}

int main(void)
{
	table_print(sl_options);
	puts("An element of\n.Cm plugins\nmay have these members beside the options of the plugin itself, which its own manual page lists:");
	table_print(sl_plugin_options);
	return 0;
}
