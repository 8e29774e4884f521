/*
 * listen.c - listening sockets: TCP, Unix, passed by systemd. Supervisor.
 *
 * One socket per address, shared by the workers of all generations, without SO_REUSEPORT: closing one socket of such a group loses the
 * connections in its queue. An address that stays in a new configuration keeps its socket; one that left is closed when the last
 * generation that uses it is gone.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/address.h"
#include "lib/log.h"
#include "lib/options.h"
#include "lib/unix.h"
#include "supervisor/supervisor.h"

enum { BACKLOG = 4096, SHOWN_MAX = 128 };

/* Port 0 is another port each time it is asked for, so there the place in the configuration is the identity. */
static char *listener_key(const struct sluice_conf *frontend, size_t index)
{
	const char *text = sl_options_address(sl_conf_at(frontend, "listen", index)), *why;
	struct sl_address a;
	char *key = NULL;
	int n;

	if (sl_address_parse(text, &a, &why))
		return NULL;
	if (a.kind == SL_ADDRESS_TCP && a.port == 0)
		n = asprintf(&key, "%s#%zu %s", sl_conf_str(frontend, "name"), index, text);
	else if (a.kind == SL_ADDRESS_TCP)
		n = asprintf(&key, "tcp %s %u", a.host, a.port);
	else
		n = asprintf(&key, "%s", text);
	return n < 0 ? NULL : key;
}

struct listener *listener_find(struct supervisor *s, const struct sluice_conf *frontend, size_t index)
{
	char *key = listener_key(frontend, index);
	struct listener *found = NULL;

	for (struct sl_link *l = s->listeners.next; key && !found && l != &s->listeners; l = l->next) {
		if (strcmp(SL_OF(l, struct listener, link)->key, key) == 0)
			found = SL_OF(l, struct listener, link);
	}
	free(key);
	return found;
}

static void listener_free(struct listener *l)
{
	struct stat st;

	sl_link_del(&l->link);
	/* Another daemon may have made its own socket there meanwhile. */
	if (l->path && !l->borrowed && lstat(l->path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
	if (l->fd >= 0)
		close(l->fd);
	free(l->path);
	free(l->shown);
	free(l->key);
	free(l);
}

/* ---- TCP ---- */

static int tcp_address(const struct sl_address *a, struct sockaddr_storage *to, socklen_t *len, const char **why)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found = NULL;
	/* "localhost" may stand for two addresses in /etc/hosts; clients try both, a listener has one. */
	const char *host = strcmp(a->host, "localhost") == 0 ? "127.0.0.1" : a->host;
	char port[8];
	int rc;

	snprintf(port, sizeof port, "%u", a->port);
	if (!*host)
		hints.ai_family = AF_INET;
	rc = getaddrinfo(*host ? host : NULL, port, &hints, &found);
	if (rc) {
		*why = rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc);
		return SLUICE_EINVAL;
	}
	memcpy(to, found->ai_addr, found->ai_addrlen);
	*len = found->ai_addrlen;
	freeaddrinfo(found);
	return 0;
}

static int tcp_open(const struct sl_address *a, const char **why)
{
	struct sockaddr_storage to = {0};
	socklen_t len = 0;
	int fd, on = 1;

	if (tcp_address(a, &to, &len, why))
		return -1;
	fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
	    (to.ss_family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
	    bind(fd, (struct sockaddr *)&to, len) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	*why = strerror(errno);
	if (fd >= 0)
		close(fd);
	return -1;
}

/* ---- Unix ---- */

/* A socket file that nobody listens on is what a killed daemon left behind. */
static bool unix_is_stale(const struct sockaddr_un *to)
{
	struct stat st;
	bool refused;
	int fd;

	if (lstat(to->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	refused = connect(fd, (const struct sockaddr *)to, sizeof *to) < 0 && errno == ECONNREFUSED;
	close(fd);
	return refused;
}

/* Sets the mode of the socket's file, which had *before. By its descriptor: whoever may write the directory can put another file there. */
static int unix_mode(const struct listener *l, mode_t mode, mode_t *before, const char **why)
{
	int fd = open(l->path, O_PATH | O_NOFOLLOW | O_CLOEXEC), rc = -1;
	char by_fd[64];
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		*why = strerror(errno);
	} else if (st.st_dev != l->dev || st.st_ino != l->ino) {
		*why = "another file is there";
	} else {
		*before = st.st_mode & 07777;
		snprintf(by_fd, sizeof by_fd, "/proc/self/fd/%d", fd);
		rc = *before == mode ? 0 : chmod(by_fd, mode);
		if (rc)
			*why = strerror(errno);
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

static int unix_open(const struct sl_address *a, struct listener *l, mode_t mode, const char **why)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct stat st;
	mode_t before;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;

	memcpy(to.sun_path, a->name, strlen(a->name) + 1); /* length checked by sl_address_parse() */
	rc = fd < 0 ? -1 : sl_unix_bind(fd, to.sun_path, mode);
	if (rc && errno == EADDRINUSE && unix_is_stale(&to)) {
		unlink(to.sun_path);
		rc = sl_unix_bind(fd, to.sun_path, mode);
	}
	*why = strerror(errno);
	if (rc == 0 && lstat(to.sun_path, &st) == 0) {
		l->dev = st.st_dev;
		l->ino = st.st_ino;
		l->path = strdup(to.sun_path);
		/* An ACL of the directory may have left less. */
		rc = l->path ? unix_mode(l, mode, &before, why) : -1;
		if (rc == 0 && listen(fd, BACKLOG) == 0)
			return fd;
		if (rc == 0)
			*why = strerror(errno);
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

/* ---- systemd ---- */

void activation_take(struct supervisor *s)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
	long n = fds ? strtol(fds, NULL, 10) : 0;

	if (pid && strtol(pid, NULL, 10) == (long)getpid() && n > 0 && n <= ACTIVATION_MAX)
		s->activation = calloc((size_t)n, sizeof *s->activation);
	for (long i = 0; s->activation && i < n; i++) {
		size_t len = names ? strcspn(names, ":") : 0;

		fcntl((int)(3 + i), F_SETFD, FD_CLOEXEC);
		fcntl((int)(3 + i), F_SETFL, O_NONBLOCK);
		s->activation[i].fd = (int)(3 + i);
		s->activation[i].name = sl_slice_dup(len ? SL_SLICE(names, len) : SL_STR("unknown"));
		s->n_activation++;
		if (names)
			names += len + (names[len] == ':');
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

/* Kept open for ever under its name, so that an address that left and comes back finds it again. */
static int activation_open(struct supervisor *s, const struct sl_address *a, const char **why)
{
	int listening = 0, fd;
	socklen_t len = sizeof listening;

	for (size_t i = 0; i < s->n_activation; i++) {
		if (!s->activation[i].name || strcmp(s->activation[i].name, a->name) != 0)
			continue;
		if (getsockopt(s->activation[i].fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) || !listening) {
			*why = "what systemd passed is not a listening socket (Accept=no, ListenStream= is needed)";
			return -1;
		}
		fd = fcntl(s->activation[i].fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			*why = strerror(errno);
		return fd;
	}
	*why = "systemd passed no socket of this name (FileDescriptorName= in the socket unit)";
	return -1;
}

/* ---- in an upgrade: the sockets of another supervisor ---- */

int activation_adopt(struct supervisor *s, sl_slice name, int fd)
{
	struct activation *more = s->n_activation < ACTIVATION_MAX ?
	                                  realloc(s->activation, (s->n_activation + 1) * sizeof *more) : NULL;

	if (more)
		s->activation = more;
	if (!more || !(more[s->n_activation].name = sl_slice_dup(name))) {
		close(fd);
		return SLUICE_ENOMEM;
	}
	more[s->n_activation++].fd = fd;
	return 0;
}

int listener_adopt(struct supervisor *s, sl_slice key, sl_slice shown, sl_slice path, int fd)
{
	struct listener *l = calloc(1, sizeof *l);
	struct stat st;

	if (!l) {
		close(fd);
		return SLUICE_ENOMEM;
	}
	sl_link_init(&l->link);
	l->fd = fd;
	l->borrowed = true;
	l->key = sl_slice_dup(key);
	l->shown = sl_slice_dup(shown);
	l->path = path.len ? sl_slice_dup(path) : NULL;
	if (!l->key || !l->shown || (path.len && !l->path)) {
		listener_free(l);
		return SLUICE_ENOMEM;
	}
	if (l->path && lstat(l->path, &st) == 0) {
		l->dev = st.st_dev;
		l->ino = st.st_ino;
	}
	sl_link_add(&s->listeners, &l->link);
	return 0;
}

void listeners_lend(struct supervisor *s, bool borrowed)
{
	for (struct sl_link *l = s->listeners.next; l != &s->listeners; l = l->next)
		SL_OF(l, struct listener, link)->borrowed = borrowed;
}

/* ---- all ---- */

static bool sockaddr_loopback(const struct sockaddr_storage *a)
{
	if (a->ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
	if (a->ss_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
	return true;
}

/* How a client reaches it; port 0 is resolved. */
static char *listener_shown(int fd, const struct sl_address *a, bool *loopback)
{
	struct sockaddr_storage at = {0};
	socklen_t len = sizeof at;
	char host[INET6_ADDRSTRLEN] = "", *shown = NULL;
	int n;

	if (getsockname(fd, (struct sockaddr *)&at, &len))
		return NULL;
	*loopback = sockaddr_loopback(&at);
	if (at.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&at;

		inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
		n = asprintf(&shown, "http://%s:%u", host, ntohs(in->sin_port));
	} else if (at.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)&at;

		inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
		n = asprintf(&shown, "http://[%s]:%u", host, ntohs(in->sin6_port));
	} else if (at.ss_family == AF_UNIX && len > offsetof(struct sockaddr_un, sun_path)) {
		n = asprintf(&shown, "unix:%s", ((const struct sockaddr_un *)(const void *)&at)->sun_path);
	} else {
		n = asprintf(&shown, "%s:%s", a->kind == SL_ADDRESS_SYSTEMD ? "systemd" : "unix", a->name ? a->name : "");
	}
	return n < 0 ? NULL : shown;
}

static void listener_open(struct supervisor *s, const struct config *config, const struct sluice_conf *frontend, size_t index,
                          struct sl_conf_errors *errors)
{
	const struct sluice_conf *at = sl_conf_at(frontend, "listen", index);
	const char *text = sl_options_address(at), *why = "out of memory";
	struct listener *l = calloc(1, sizeof *l);
	struct sl_address a;
	bool loopback = true;

	if (!l) {
		sl_conf_error_at(at, "", errors, "out of memory");
		return;
	}
	sl_link_init(&l->link);
	l->fd = -1;
	l->key = listener_key(frontend, index);
	if (l->key && sl_address_parse(text, &a, &why) == 0) {
		l->fd = a.kind == SL_ADDRESS_TCP ? tcp_open(&a, &why) :
		        a.kind == SL_ADDRESS_UNIX ? unix_open(&a, l, sl_options_mode(at), &why) : activation_open(s, &a, &why);
		l->shown = l->fd < 0 ? NULL : listener_shown(l->fd, &a, &loopback);
	}
	if (!l->shown) {
		sl_conf_error_at(at, "", errors, "cannot listen on %s: %s", text, why);
		listener_free(l);
		return;
	}
	if (!loopback && a.kind == SL_ADDRESS_SYSTEMD && !sl_conf_int(config->root, "auth.insecure")) {
		sl_conf_error_at(at, "", errors, "other machines can reach %s (%s) and auth.mode is none; set auth.insecure: true if "
		                 "everybody may read and write", text, l->shown);
		listener_free(l);
		return;
	}
	sl_link_add(&s->listeners, &l->link);
}

void listeners_open(struct supervisor *s, const struct config *config, struct sl_conf_errors *errors)
{
	for (size_t f = 0; f < sl_conf_len(config->root, "frontends"); f++) {
		const struct sluice_conf *frontend = sl_conf_at(config->root, "frontends", f);

		for (size_t i = 0; i < sl_conf_len(frontend, "listen"); i++) {
			if (!listener_find(s, frontend, i))
				listener_open(s, config, frontend, i, errors);
		}
	}
}

/* A socket outlives reloads and upgrades that change its mode. */
static void listener_set_mode(struct supervisor *s, const struct listener *l, mode_t mode)
{
	mode_t before = 0;
	const char *why;

	if (unix_mode(l, mode, &before, &why)) {
		sl_log(SLUICE_LOG_WARN, "listener_mode listen=%s mode=%04o error=\"%s\" action=\"set it by hand, or start sluiced again\"",
		       l->shown, (unsigned)mode, why);
		control_note(s, "%s: its mode cannot be set to %04o: %s", l->shown, (unsigned)mode, why);
	} else if (before != mode) {
		sl_log(SLUICE_LOG_INFO, "listener_mode listen=%s mode=%04o before=%04o", l->shown, (unsigned)mode, (unsigned)before);
	}
}

void listeners_modes(struct supervisor *s)
{
	for (size_t f = 0; f < sl_conf_len(s->config->root, "frontends"); f++) {
		const struct sluice_conf *frontend = sl_conf_at(s->config->root, "frontends", f);

		for (size_t i = 0; i < sl_conf_len(frontend, "listen"); i++) {
			const struct listener *l = listener_find(s, frontend, i);

			if (l && l->path)
				listener_set_mode(s, l, sl_options_mode(sl_conf_at(frontend, "listen", i)));
		}
	}
}

static void listeners_mark(struct supervisor *s, const struct config *config)
{
	for (size_t f = 0; config && f < sl_conf_len(config->root, "frontends"); f++) {
		const struct sluice_conf *frontend = sl_conf_at(config->root, "frontends", f);

		for (size_t i = 0; i < sl_conf_len(frontend, "listen"); i++) {
			struct listener *l = listener_find(s, frontend, i);

			if (l)
				l->used = true;
		}
	}
}

void listeners_sweep(struct supervisor *s)
{
	struct sl_link *next;

	for (struct sl_link *l = s->listeners.next; l != &s->listeners; l = l->next)
		SL_OF(l, struct listener, link)->used = false;
	listeners_mark(s, s->config);
	listeners_mark(s, s->next ? s->next->config : NULL);
	for (struct sl_link *g = s->old.next; g != &s->old; g = g->next)
		listeners_mark(s, SL_OF(g, struct generation, link)->config);
	for (struct sl_link *l = s->listeners.next; l != &s->listeners; l = next) {
		struct listener *one = SL_OF(l, struct listener, link);

		next = l->next;
		if (one->used)
			continue;
		/* Closed before it is said: who reads the line may count on it. */
		close(one->fd);
		one->fd = -1;
		sl_log(SLUICE_LOG_INFO, "listener_closed listen=%s", one->shown);
		listener_free(one);
	}
}

void listeners_close(struct supervisor *s)
{
	while (!sl_link_alone(&s->listeners))
		listener_free(SL_OF(s->listeners.next, struct listener, link));
	for (size_t i = 0; i < s->n_activation; i++) {
		close(s->activation[i].fd);
		free(s->activation[i].name);
	}
	free(s->activation);
	s->activation = NULL;
	s->n_activation = 0;
}

/* A socket outlives reloads that put TLS on it, so its URL depends on the configuration. */
int listener_url(struct supervisor *s, const struct sluice_conf *frontend, size_t index, struct sl_buf *out)
{
	const struct listener *l = listener_find(s, frontend, index);
	const char *shown = l ? l->shown : "?";
	bool tls = sl_conf_get(sl_conf_at(frontend, "listen", index), "tls") != NULL, http = strncmp(shown, "http:", 5) == 0;

	return sl_buf_addf(out, "%s%s%s", tls && http ? "https" : "", shown + (tls && http ? 4 : 0), tls && !http ? "+tls" : "");
}

void listeners_show(struct supervisor *s, const struct config *config, struct sl_buf *out)
{
	for (size_t f = 0; f < sl_conf_len(config->root, "frontends"); f++) {
		const struct sluice_conf *frontend = sl_conf_at(config->root, "frontends", f);

		sl_buf_addf(out, " frontend=%s", sl_conf_str(frontend, "name"));
		for (size_t i = 0; i < sl_conf_len(frontend, "listen"); i++) {
			sl_buf_addf(out, " listen=");
			listener_url(s, frontend, i, out);
		}
	}
}
