/*
 * options_check.c - what no option table says: the checks across keys, of listeners, of pages in browsers and of mounts.
 * Supervisor, workers, writer.
 */
#include <stdlib.h>
#include <strings.h>

#include "lib/address.h"
#include "lib/options.h"

/* As chmod takes it, also as YAML 1.2 writes octal. Without its leading zero a program may have written it in decimal: what the owner cannot
 * read and write, as 0660 would be then (432), is never meant. */
static int mode_parse(const char *text, mode_t *mode)
{
	const char *digits = strncmp(text, "0o", 2) == 0 ? text + 2 : text;
	size_t n = strspn(digits, "01234567");
	unsigned long v = n > 0 && n <= 6 && !digits[n] ? strtoul(digits, NULL, 8) : 0;

	if (v > 0777 || (v & 0600) != 0600)
		return SLUICE_EINVAL;
	*mode = (mode_t)v;
	return 0;
}

mode_t sl_options_mode(const struct sluice_conf *listen)
{
	mode_t mode;

	return mode_parse(sl_conf_str(listen, "mode"), &mode) ? 0600 : mode;
}

static void check_mode(const struct sluice_conf *listen, const struct sl_address *a, struct sl_conf_errors *errors)
{
	const char *text = sl_conf_str(listen, "mode");
	mode_t mode;

	if (!*text)
		return;
	if (a->kind == SL_ADDRESS_SYSTEMD)
		sl_conf_error_at(listen, "mode", errors, "has no effect on a socket that systemd made: set SocketMode= in its unit");
	else if (a->kind == SL_ADDRESS_TCP)
		sl_conf_error_at(listen, "mode", errors, "only sockets with a path have a mode: set address to unix:/path, or leave it out");
	else if (mode_parse(text, &mode))
		sl_conf_error_at(listen, "mode", errors,
		                 "expected a mode in octal with which its owner may read and write, such as 0660, got \"%.200s\"", text);
}

static void check_name(const struct sluice_conf *root, size_t i, struct sl_conf_errors *errors)
{
	const struct sluice_conf *f = sl_conf_at(root, "frontends", i);
	const char *name = sl_conf_str(f, "name");

	if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(name))
		sl_conf_error_at(f, "name", errors,
		                 "only letters, digits, \"_\" and \"-\" may be in a name, got \"%.64s\"", name);
	if (strcmp(name, "store") == 0)
		sl_conf_error_at(f, "name", errors, "\"store\" is the name of the store-writer");
	for (size_t k = 0; k < i; k++) {
		const struct sluice_conf *other = sl_conf_at(root, "frontends", k);

		if (*name && strcmp(sl_conf_str(other, "name"), name) == 0)
			sl_conf_error_at(f, "name", errors, "another frontend in line %u has the name \"%s\"",
			                 sl_conf_line(sl_conf_get(other, "name")), name);
	}
}

/* Two listeners on one port can only be told apart when the port is any free one. */
static bool same_address(const char *a, const char *b)
{
	struct sl_address x, y;
	const char *why;

	if (sl_address_parse(a, &x, &why) || sl_address_parse(b, &y, &why) || x.kind != y.kind)
		return false;
	if (x.kind != SL_ADDRESS_TCP)
		return strcmp(x.name, y.name) == 0;
	return x.port != 0 && x.port == y.port && strcmp(x.host, y.host) == 0;
}

static void check_duplicate(const struct sluice_conf *root, size_t frontend, size_t index,
                            struct sl_conf_errors *errors)
{
	const struct sluice_conf *at = sl_conf_at(sl_conf_at(root, "frontends", frontend), "listen", index);

	for (size_t f = 0; f <= frontend; f++) {
		const struct sluice_conf *other = sl_conf_at(root, "frontends", f);
		size_t n = f == frontend ? index : sl_conf_len(other, "listen");

		for (size_t i = 0; i < n; i++) {
			const struct sluice_conf *l = sl_conf_at(other, "listen", i);

			if (!same_address(sl_options_address(at), sl_options_address(l)))
				continue;
			sl_conf_error_at(at, "", errors, "%s is listened on in line %u already", sl_options_address(at),
			                 sl_conf_line(l));
			return;
		}
	}
}

static void check_listeners(const struct sluice_conf *root, size_t frontend, struct sl_conf_errors *errors)
{
	const struct sluice_conf *f = sl_conf_at(root, "frontends", frontend);
	bool open = strcmp(sl_conf_str(root, "auth.mode"), "none") == 0 && !sl_conf_int(root, "auth.insecure");

	for (size_t i = 0; i < sl_conf_len(f, "listen"); i++) {
		const struct sluice_conf *l = sl_conf_at(f, "listen", i);
		struct sl_address a;
		const char *why;

		if (sl_address_parse(sl_options_address(l), &a, &why))
			continue;
		if (open && !sl_address_loopback(&a))
			sl_conf_error_at(
				l, "", errors,
				"other machines can reach %s and auth.mode is none; listen on 127.0.0.1, or set auth.insecure: true "
				"if everybody may read and write",
				sl_options_address(l));
		check_mode(l, &a, errors);
		check_duplicate(root, frontend, i, errors);
	}
}

static bool host_is_sane(const char *host, size_t n)
{
	if (*host == '[')
		return n > 2 && strspn(host + 1, "0123456789abcdefABCDEF:.") == n - 2 && host[n - 1] == ']';
	return n > 0 && strcspn(host, ":/*?#@[]\\ ") >= n;
}

/* scheme://host[:port]: what a browser sends has neither a path nor a slash at the end, and a mistake would let nobody in. */
static bool origin_is_sane(const char *origin)
{
	size_t scheme = strspn(origin, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-."), n;
	const char *host = origin + scheme + 3, *port;

	if (strcmp(origin, "*") == 0 || strcmp(origin, "null") == 0)
		return true;
	if (scheme == 0 || strncmp(origin + scheme, "://", 3) != 0)
		return false;
	n = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
	if (n > strlen(host) || !host_is_sane(host, n))
		return false;
	port = host + n;
	/* The scheme's own is what a browser leaves out. */
	if ((scheme == 4 && strncasecmp(origin, "http", 4) == 0 && strcmp(port, ":80") == 0) ||
	    (scheme == 5 && strncasecmp(origin, "https", 5) == 0 && strcmp(port, ":443") == 0))
		return false;
	return !*port || strcmp(port, ":*") == 0 || (*port == ':' && port[1] && !port[1 + strspn(port + 1, "0123456789")]);
}

static void check_pages(const struct sluice_conf *f, struct sl_conf_errors *errors)
{
	for (size_t i = 0; i < sl_conf_len(f, "origins"); i++) {
		const struct sluice_conf *at = sl_conf_at(f, "origins", i);
		const char *origin = sl_conf_str(at, "");

		if (!origin_is_sane(origin))
			sl_conf_error_at(at, "", errors,
			                 "expected an origin such as \"https://app.example\" or \"http://localhost:*\", got \"%.200s\"", origin);
	}
	for (size_t i = 0; i < sl_conf_len(f, "hosts"); i++) {
		const struct sluice_conf *at = sl_conf_at(f, "hosts", i);
		const char *host = sl_conf_str(at, "");

		if (!host_is_sane(host, strlen(host)))
			sl_conf_error_at(at, "", errors,
			                 "expected a host name without a port, such as \"localhost\" or \"[::1]\", got \"%.200s\"", host);
	}
}

/* A mount or prefix is a path of sane segments: it becomes part of URLs and of stream names. */
static bool path_is_sane(const char *path)
{
	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 0 || (n == 1 && path[0] == '.') || (n == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		for (size_t i = 0; i < n; i++) {
			if ((unsigned char)path[i] <= ' ' || path[i] == 0x7f || strchr("?#%\\", path[i]))
				return false;
		}
		path += n;
		if (*path == '/' && !*++path)
			return false;
	}
	return true;
}

static void check_plugins(const struct sluice_conf *f, struct sl_conf_errors *errors)
{
	static const char *const everything[] = {"*", NULL};

	for (size_t i = 0; i < sl_conf_len(f, "plugins"); i++) {
		/* Ours: the tree was made by sl_options_load() and is not yet anybody else's. */
		struct sluice_conf *p = (struct sluice_conf *)(uintptr_t)sl_conf_at(f, "plugins", i);
		const char *mount, *prefix, *name;

		if (sl_conf_check(p, sl_plugin_options, NULL, everything, errors))
			continue;
		name = sl_conf_str(p, "plugin");
		mount = sl_conf_str(p, "mount");
		prefix = sl_conf_str(p, "prefix");
		if (*name != '/' && strchr(name, '/'))
			sl_conf_error_at(p, "plugin", errors, "expected a name or an absolute path, got \"%.200s\"",
			                 name);
		if (*mount && strcmp(mount, "/") != 0 && (*mount != '/' || !path_is_sane(mount + 1)))
			sl_conf_error_at(p, "mount", errors, "expected a path such as \"/v1/stream\", got \"%.200s\"",
			                 mount);
		if (*prefix && !path_is_sane(prefix))
			sl_conf_error_at(p, "prefix", errors, "expected a name such as \"team/a\", got \"%.200s\"",
			                 prefix);
	}
}

/* Rules that are not in force would look as if they were. */
static void check_auth(const struct sluice_conf *root, struct sl_conf_errors *errors)
{
	static const char *const unused[] = {"auth.jwt.keys", "auth.jwt.jwks", "auth.tokens", "auth.tokens_file",
	                                     "auth.policy"};
	const char *mode = sl_conf_str(root, "auth.mode");
	/* A mode goes without the first of them: tokens without what is jwt's, none without all. */
	size_t n = strcmp(mode, "none") == 0 ? sizeof unused / sizeof *unused : strcmp(mode, "tokens") == 0 ? 2 : 0;

	for (size_t i = 0; i < n; i++)
		if (sl_conf_has(root, unused[i]))
			sl_conf_error_at(root, unused[i], errors,
			                 "has no effect with auth.mode: %s; set another mode, or leave it out", mode);
	if (strcmp(mode, "tokens") == 0 && !sl_conf_has(root, "auth.tokens") && !sl_conf_has(root, "auth.tokens_file"))
		sl_conf_error_at(root, "auth.mode", errors, "mode tokens needs auth.tokens or auth.tokens_file");
	if (strcmp(mode, "jwt") == 0 && !sl_conf_has(root, "auth.jwt.keys") && !sl_conf_has(root, "auth.jwt.jwks"))
		sl_conf_error_at(root, "auth.mode", errors, "mode jwt needs auth.jwt.keys or auth.jwt.jwks");
}

static void check_across(const struct sluice_conf *root, struct sl_conf_errors *errors)
{
	check_auth(root, errors);
	if (sl_conf_int(root, "limits.body_memory") &&
	    sl_conf_int(root, "limits.body") > sl_conf_int(root, "limits.body_memory"))
		sl_conf_error_at(
			root, "limits.body_memory", errors,
			"must not be smaller than limits.body (%s): a worker would have no room for such a body",
			sl_conf_str(root, "limits.body"));
}

/* One worker owns every ephemeral channel: two would each have half of them. */
static void check_presence(const struct sluice_conf *root, struct sl_conf_errors *errors)
{
	/* Ours: the tree is not yet anybody else's. */
	struct sluice_conf *f = (struct sluice_conf *)(uintptr_t)sl_options_presence(root);
	bool seen = false;

	if (!f)
		return;
	if (sl_conf_default_int(f, "workers", 1))
		sl_conf_error_at(f, "workers", errors, "out of memory");
	else if (sl_conf_int(f, "workers") != 1)
		sl_conf_error_at(f, "workers", errors, "a frontend that mounts presence has exactly 1 worker, which owns every channel");
	for (size_t i = 0; i < sl_conf_len(root, "frontends"); i++) {
		const struct sluice_conf *other = sl_conf_at(root, "frontends", i);

		for (size_t k = 0; k < sl_conf_len(other, "plugins"); k++) {
			const struct sluice_conf *plugin = sl_conf_at(other, "plugins", k);

			if (!sl_options_mounts_presence(plugin))
				continue;
			if (seen)
				sl_conf_error_at(plugin, "plugin", errors, "presence is mounted already in line %u; it can be mounted once", sl_conf_line(f));
			seen = true;
		}
	}
}

void sl_options_check(struct sluice_conf *root, struct sl_conf_errors *errors)
{
	check_across(root, errors);
	check_presence(root, errors);
	for (size_t i = 0; i < sl_conf_len(root, "frontends"); i++) {
		check_name(root, i, errors);
		check_listeners(root, i, errors);
		check_pages(sl_conf_at(root, "frontends", i), errors);
		check_plugins(sl_conf_at(root, "frontends", i), errors);
	}
}
