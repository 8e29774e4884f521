/*
 * options.c - the option tables of the core: every key of the YAML file but the plugins' own. Supervisor, workers, writer.
 *
 * etc/sluice.yaml shows every entry with its default; tests/unit/lib/test_options.c compares. RESTART marks what the writer can
 * only take up by being started again (supervisor/reload.c does that after a reload); workers are always replaced.
 */
#include "lib/options.h"

#include <string.h>

#define OPT(name, type, def, min, max, doc) \
	{ \
		name, SLUICE_T_##type, def, min, max, doc, NULL, 0 \
	}
#define OPT_RESTART(name, type, def, min, max, doc) \
	{ \
		name, SLUICE_T_##type, def, min, max, doc, NULL, SLUICE_OPT_RESTART \
	}
#define OPT_SUB(name, type, def, min, max, sub, doc) \
	{ \
		name, SLUICE_T_##type, def, min, max, doc, sub, 0 \
	}
#define OPT_END \
	{ \
		NULL, SLUICE_T_BOOL, NULL, NULL, NULL, NULL, NULL, 0 \
	}

static const struct sluice_option store_options[] = {
	OPT_RESTART(
		"synchronous", ENUM, "full", "full|normal|off", NULL,
		"What a commit waits for. full: the data is on disk when a client hears of it. normal: a power failure may take "
		"the last commits. off: for throw-away data."),
	OPT("checkpoint_bytes", SIZE, "16M", "64K", "4G",
            "Size of the write-ahead log from which on it is copied into the database."),
	OPT("reader_mmap", SIZE, "256M", "0", "1T",
            "How much of the database a worker maps into its memory for reading."),
	OPT("max_payload", SIZE, "512M", "1M", "4G",
            "Largest payload of one append, whatever the limits of the protocols are."),
	OPT("segment_bytes", SIZE, "256M", "1M", "16G",
            "Size from which on a segment file is not added to any more. Payloads of more than 128K go to such files instead of the "
            "database."),
	OPT("max_batch_ops", INT, "1024", "1", "65536", "Most operations that one commit takes."),
	OPT("max_batch_bytes", SIZE, "1M", "4K", "256M", "Most payload bytes that one commit takes."),
	OPT("sweep_interval", DURATION, "1s", "10ms", "1h",
            "Time between looking for expired streams and old records."),
	OPT("reap_delay", DURATION, "60s", "0s", "1d",
            "How long the records of a deleted stream stay, because a long answer may still be reading them."),
	OPT_END,
};

static const struct sluice_option token_options[] = {
	OPT("name", STRING, NULL, "1", "256", "Name of who has the token, for rules."),
	OPT("hash", STRING, NULL, "1", "128",
            "\"sha256:\" and the SHA-256 of the token in hexadecimal; sluiced --new-token makes both."),
	OPT_END,
};

static const struct sluice_option jwt_key_options[] = {
	OPT("alg", ENUM, "auto", "auto|HS256|RS256|ES256|EdDSA", NULL,
            "The one algorithm that the key is for. auto: what fits a public key, HS256 for a secret."),
	OPT("kid", STRING, "", "1", "256",
            "A token that names a key is only tried with keys of that name, and with those that have none."),
	OPT("file", STRING, "", "1", "4096",
            "Absolute path of a public key in PEM, or, with alg: HS256, of a file whose bytes are the secret; one line end behind it is left out."),
	{"secret", SLUICE_T_STRING, "", "1", "1024", "A secret for HS256 of at least 32 bytes, as text.", NULL,
         SLUICE_OPT_SECRET},
	OPT_END,
};

static const struct sluice_option text_element[] = {
	OPT("", STRING, NULL, "1", "1024", "A text."),
	OPT_END,
};

static const struct sluice_option jwt_options[] = {
	OPT_SUB("keys", LIST, "", "1", "64", jwt_key_options,
                "Keys whose signatures are believed; several for as long as a rotation takes."),
	OPT("jwks", STRING, "", "1", "4096", "Absolute path of a JWKS file with further keys."),
	OPT("issuer", STRING, "", "1", "1024", "What iss has to be. Absent: it is not compared."),
	OPT_SUB("audience", LIST, "", "1", "64", text_element,
                "What aud has to be, or contain: one of these. Absent: it is not compared."),
	OPT("leeway", DURATION, "30s", "0s", "10m",
            "How far the clocks of issuer and server may differ when exp and nbf are looked at."),
	OPT("require_exp", BOOL, "true", NULL, NULL, "Refuse tokens that never expire."),
	OPT("name_claim", STRING, "sub", "1", "256", "The claim whose text is the name that rules speak of."),
	OPT("policy_claim", STRING, "", "1", "256",
            "A claim with rules: a list of {paths, actions}. A token that has it is judged by it alone, others by auth.policy."),
	OPT_END,
};

static const struct sluice_option action_element[] = {
	OPT("", ENUM, NULL, "read|append|create|delete|admin|all", NULL, "Something to do with a stream."),
	OPT_END,
};

static const struct sluice_option policy_options[] = {
	OPT_SUB("who", LIST, NULL, "1", "1024", text_element,
                "Names of tokens, or of JWTs; \"*\": whoever has a valid one; anonymous: who has none."),
	OPT_SUB("paths", LIST, NULL, "1", "1024", text_element,
                "Patterns of stream names: \"*\" is anything within a segment, \"**\" any number of segments."),
	OPT_SUB("actions", LIST, NULL, "0", "6", action_element, "What they may do; an empty list: nothing."),
	OPT_END,
};

static const struct sluice_option auth_options[] = {
	OPT("mode", ENUM, "none", "none|tokens|jwt", NULL,
            "Who may use the server. none: everybody who can reach it. tokens: whoever has a token of the list. jwt: whoever has a JWT "
            "signed with a known key, or a token of the list."),
	OPT("insecure", BOOL, "false", NULL, NULL, "With mode none: allow listeners that other machines can reach."),
	OPT_SUB("tokens", LIST, "", "0", "65536", token_options, "Bearer tokens, as hashes."),
	OPT("tokens_file", STRING, "", "1", "4096",
            "Absolute path of a file with more of them: lines of a name and a hash; # begins a comment."),
	OPT_SUB("jwt", MAP, "{}", NULL, NULL, jwt_options, "JWTs."),
	OPT_SUB("policy", LIST, "", "0", "4096", policy_options,
                "Rules. The first one that names the client and the stream decides; what none speaks of is refused. Absent: whoever has a "
                "valid token may do everything."),
	OPT_END,
};

static const struct sluice_option limits_options[] = {
	OPT("body", SIZE, "64M", "1K", "4G", "Largest body of a request; a plugin may have a limit of its own."),
	OPT("body_memory", SIZE, "256M", "1M", "64G",
            "Memory of a worker for bodies that are being received, at least body; beyond it, it stops reading from clients."),
	OPT("connections", INT, "50000", "1", "1000000", "Most connections of a worker."),
	OPT("client_connections", INT, "0", "0", "1000000",
            "Most connections of one address (IPv6: of one network of 64 bits) at a worker; those beyond are answered 429. 0: no limit."),
	OPT("client_requests", INT, "0", "0", "1000000",
            "Requests a second of one client at a worker: of the name that its token has, otherwise of its address. Beyond: 429 with "
            "Retry-After. 0: no limit."),
	OPT("client_burst", INT, "100", "1", "1000000", "Requests that a client which was quiet may make at once."),
	OPT("header_bytes", SIZE, "64K", "1K", "1M", "Largest request line and headers; beyond: 431."),
	OPT("path_bytes", SIZE, "4K", "64", "64K", "Longest path of a request; beyond: 414."),
	OPT("h2_streams", INT, "1024", "1", "100000", "Most concurrent requests of one HTTP/2 connection."),
	OPT("header_timeout", DURATION, "10s", "100ms", "1h", "Time for the headers of a request to arrive."),
	OPT("body_timeout", DURATION, "30s", "100ms", "1d",
            "Longest pause inside the body of a request. On average 500 bytes a second have to come as well."),
	OPT("idle_timeout", DURATION, "75s", "100ms", "1d", "How long a connection without a request is kept."),
	OPT("send_timeout", DURATION, "60s", "100ms", "1d",
            "How long a client may take nothing of an answer before it is cut off."),
	OPT("drain_timeout", DURATION, "10s", "100ms", "1h",
            "How long a worker that is being replaced or stopped may finish what it has begun."),
	OPT_END,
};

static const struct sluice_option log_options[] = {
	OPT("level", ENUM, "info", "error|warn|info|debug", NULL, "Least important kind of line that is logged."),
	OPT_END,
};

static const struct sluice_option tls_options[] = {
	OPT("cert", STRING, NULL, "1", "4096",
            "Absolute path of a PEM file: the certificate, and behind it those that lead to one that clients know."),
	OPT("key", STRING, NULL, "1", "4096", "Absolute path of the key of the certificate: a PEM file without a passphrase."),
	OPT("min_version", ENUM, "1.2", "1.2|1.3", NULL, "Oldest version of TLS that is spoken."),
	OPT_END,
};

static const struct sluice_option listen_options[] = {
	OPT("address", LISTENER, NULL, NULL, NULL, "Where: as in the short form."),
	OPT_SUB("tls", MAP, "", NULL, NULL, tls_options, "Speak TLS there, and nothing else."),
	OPT("protocol", ENUM, "auto", "auto|http1", NULL,
            "What is spoken. auto: HTTP/1.1 and HTTP/2, told apart by the first bytes, with TLS by ALPN. http1: HTTP/1.1 only."),
	OPT("mode", STRING, "", "1", "16",
            "Of a unix: socket, its mode, in octal: who may write it may connect. Absent: 0600."),
	OPT_END,
};

static const struct sluice_option listen_element[] = {
	OPT_SUB("", LISTENER, NULL, NULL, NULL, listen_options,
            "host:port, [v6 address]:port, unix:/path, or systemd:name for a socket of a systemd socket unit. Port 0 takes a free one. "
            "With TLS, to name what is spoken, or to let others connect to a Unix socket, an element is a map {address, tls, protocol, mode}."),
	OPT_END,
};

const struct sluice_option sl_plugin_options[] = {
	OPT("plugin", STRING, NULL, "1", "4096",
            "Name of the plugin, looked for in the plugin directory, or an absolute path."),
	OPT("mount", STRING, "", "1", "1024", "Path below which the plugin answers; the plugin has a default."),
	OPT("prefix", STRING, "", "1", "1024",
            "Put before every stream name, with a \"/\" between, so that this mount has a catalogue of its own. Absent: the common catalogue."),
	OPT_END,
};

const char *const sl_plugin_core_keys[] = {"plugin", "mount", "prefix", NULL};

static const struct sluice_option origin_element[] = {
	OPT("", STRING, NULL, "1", "300", "scheme://host, with :port unless it is the scheme's own, or :* for any; \"null\"; or \"*\" for any origin."),
	OPT_END,
};

static const struct sluice_option host_element[] = {
	OPT("", STRING, NULL, "1", "255", "A name or an address, without a port; an IPv6 address in brackets."),
	OPT_END,
};

/* Elements of plugins: are checked apart, because their other members belong to the plugin. */
static const struct sluice_option frontend_options[] = {
	OPT("name", STRING, NULL, "1", "32", "Name of the frontend in logs and in the process list."),
	OPT_SUB("listen", LIST, NULL, "1", "16", listen_element, "Where it listens."),
	OPT("workers", INT, "2", "1", "64", "Number of its processes; exactly 1, and that by default, where presence is mounted."),
	OPT_SUB("origins", LIST, "", "0", "64", origin_element,
                "Whose pages in browsers may send requests and open WebSockets, beside its own; others are answered 403. Absent: everybody's."),
	OPT_SUB("hosts", LIST, "", "1", "64", host_element,
                "Host names that it may be asked for by; others are answered 421. Absent: any."),
	OPT_SUB("plugins", LIST, NULL, "1", "32", NULL,
                "What it serves: a list of maps {plugin, mount, prefix, the plugin's own options}."),
	OPT_END,
};

const struct sluice_option sl_options[] = {
	OPT("data_dir", STRING, "/var/lib/sluice", "1", "1024",
            "Directory of all data, made if it is missing. \"temporary\": a new one that is removed at the end."),
	OPT("control_socket", STRING, "control.sock", "1", "1024",
            "Unix socket by which sluicectl reaches sluiced; below data_dir unless it begins with \"/\". Cannot change by a reload."),
	OPT_SUB("store", MAP, "{}", NULL, NULL, store_options, "The store-writer."),
	OPT_SUB("auth", MAP, "{}", NULL, NULL, auth_options, "Who may use the server."),
	OPT_SUB("limits", MAP, "{}", NULL, NULL, limits_options, "Bounds of every frontend."),
	OPT_SUB("log", MAP, "{}", NULL, NULL, log_options, "Logging."),
	OPT_SUB("frontends", LIST, NULL, "1", "32", frontend_options, "The groups of worker processes."),
	OPT_END,
};

const char *sl_options_address(const struct sluice_conf *listen)
{
	const struct sluice_conf *address = sl_conf_get(listen, "address");

	return sl_conf_str(address ? address : listen, "");
}

bool sl_options_mounts_presence(const struct sluice_conf *plugin)
{
	return strcmp(sl_conf_str(plugin, "plugin"), "presence") == 0;
}

const struct sluice_conf *sl_options_presence(const struct sluice_conf *root)
{
	for (size_t i = 0; i < sl_conf_len(root, "frontends"); i++) {
		const struct sluice_conf *f = sl_conf_at(root, "frontends", i);

		for (size_t k = 0; k < sl_conf_len(f, "plugins"); k++)
			if (sl_options_mounts_presence(sl_conf_at(f, "plugins", k)))
				return f;
	}
	return NULL;
}

struct sluice_conf *sl_options_load(sl_slice text, struct sl_conf_errors *errors)
{
	struct sluice_conf *root = sl_conf_parse(text, errors);

	if (!root)
		return NULL;
	sl_conf_check(root, sl_options, "", NULL, errors);
	sl_options_check(root, errors);
	sl_conf_errors_sort(errors);
	return root;
}

const struct sluice_conf *sl_options_frontend(const struct sluice_conf *root, const char *name)
{
	for (size_t i = 0; i < sl_conf_len(root, "frontends"); i++) {
		const struct sluice_conf *f = sl_conf_at(root, "frontends", i);

		if (strcmp(sl_conf_str(f, "name"), name) == 0)
			return f;
	}
	return NULL;
}
