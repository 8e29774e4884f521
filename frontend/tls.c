/*
 * tls.c - what a listener's tls: says, as a context of OpenSSL: certificate, key, versions, what is spoken. Process:
 * sluice-frontend.
 *
 * Read once, when a worker is configured: a reload means new workers, and they read the files again. What makes the pair useless
 * is an error of the configuration; what an operator should know of is a warning.
 */
#include "frontend/tls.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "frontend/auth/file.h"
#include "lib/log.h"

enum { CHAIN_MAX = 16 };

/* Forward secret, authenticated encryption only; TLS 1.3 has nothing else. */
static const char tls_ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20:!PSK";

struct tls_load {
	const struct sluice_conf *conf; /* the map */
	struct sl_conf_errors *errors;
	SSL_CTX *ctx;
};

static const char *tls_reason(void)
{
	const char *why = ERR_reason_error_string(ERR_peek_last_error());

	return why ? why : "out of memory";
}

static const char *tls_path(const struct tls_load *t, const char *name)
{
	return sl_conf_str(t->conf, name);
}

static BIO *tls_file(const struct tls_load *t, const char *name, char **text)
{
	size_t len = 0;

	*text = auth_file(t->conf, name, &len, t->errors);
	return *text ? BIO_new_mem_buf(*text, (int)len) : NULL;
}

/* ---- certificate ---- */

static void tls_check_time(const struct tls_load *t, const X509 *cert)
{
	if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
		sl_log(SLUICE_LOG_WARN, "certificate_expired file=%s action=\"clients refuse it: renew it and reload\"",
		       tls_path(t, "cert"));
	else if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0)
		sl_log(SLUICE_LOG_WARN, "certificate_not_yet_valid file=%s action=\"look at the clock\"",
		       tls_path(t, "cert"));
}

/* The server's certificate, and behind it those that lead to one that clients know. */
static bool tls_read_chain(const struct tls_load *t, BIO *bio)
{
	X509 *cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL);
	bool good = cert && SSL_CTX_use_certificate(t->ctx, cert) == 1;
	const char *name = tls_path(t, "cert");

	if (!cert)
		sl_conf_error_at(t->conf, "cert", t->errors, "%.200s is not a certificate in PEM", name);
	else if (!good)
		sl_conf_error_at(t->conf, "cert", t->errors, "%.200s cannot be used: %s", name, tls_reason());
	else
		tls_check_time(t, cert);
	X509_free(cert);
	for (int i = 0; good; i++) {
		cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		if (!cert)
			break;
		if (i < CHAIN_MAX && SSL_CTX_add0_chain_cert(t->ctx, cert) == 1)
			continue;
		sl_conf_error_at(t->conf, "cert", t->errors, "%.200s has a chain that cannot be used: %s", name,
		                 i < CHAIN_MAX ? tls_reason() : "more than 16 certificates");
		X509_free(cert);
		good = false;
	}
	if (good && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
		sl_conf_error_at(t->conf, "cert", t->errors, "%.200s is damaged behind its first certificate: %s", name,
		                 tls_reason());
		good = false;
	}
	ERR_clear_error();
	return good;
}

/* ---- key ---- */

static int tls_no_password(char *buf, int size, int rw, void *arg)
{
	(void)buf, (void)size, (void)rw;
	*(bool *)arg = true;
	return -1; /* nobody is there to be asked */
}

static void tls_read_key(const struct tls_load *t, BIO *bio, bool certified)
{
	bool asked = false;
	EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, tls_no_password, &asked);
	const char *name = tls_path(t, "key");

	if (asked)
		sl_conf_error_at(
			t->conf, "key", t->errors,
			"%.200s is encrypted, and nobody is there to be asked: write it without a passphrase (openssl pkey -in %.200s "
			"-out FILE)",
			name, name);
	else if (!key)
		sl_conf_error_at(t->conf, "key", t->errors, "%.200s is not a private key in PEM", name);
	else if (certified && X509_check_private_key(SSL_CTX_get0_certificate(t->ctx), key) != 1)
		sl_conf_error_at(t->conf, "key", t->errors, "%.200s is not the key of the certificate in %.200s", name,
		                 tls_path(t, "cert"));
	else if (SSL_CTX_use_PrivateKey(t->ctx, key) != 1)
		sl_conf_error_at(t->conf, "key", t->errors, "%.200s cannot be used: %s", name, tls_reason());
	else
		auth_file_secret(t->conf, "key");
	EVP_PKEY_free(key);
	ERR_clear_error();
}

/* ---- context ---- */

/* The first of ours that the client knows. None: it means another service, and hears so (RFC 7301 3.2). */
static int tls_alpn(SSL *ssl, const unsigned char **out, unsigned char *len, const unsigned char *in, unsigned int n,
                    void *arg)
{
	static const unsigned char all[] = "\x02h2\x08http/1.1";
	const bool *http1 = arg;
	const unsigned char *ours = *http1 ? all + 3 : all;
	unsigned char *selected;

	(void)ssl;
	if (SSL_select_next_proto(&selected, len, ours, (unsigned)(all + sizeof all - 1 - ours), in, n) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = selected;
	return SSL_TLSEXT_ERR_OK;
}

static int tls_settings(SSL_CTX *ctx, bool only_13, bool http1)
{
	static const bool spoken[] = {false, true};

	/* A connection that ends without close_notify is judged by the framing of HTTP, as without TLS. */
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF |
	                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* Sessions are resumed by tickets, which their clients keep. */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_alpn_select_cb(ctx, tls_alpn, (void *)(uintptr_t)&spoken[http1]);
	return SSL_CTX_set_min_proto_version(ctx, only_13 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
	                       SSL_CTX_set_cipher_list(ctx, tls_ciphers) == 1
	               ? 0
	               : SLUICE_EINTERNAL;
}

struct ssl_ctx_st *tls_load(const struct sluice_conf *conf, bool http1, struct sl_conf_errors *errors)
{
	struct tls_load t = {.conf = conf, .errors = errors, .ctx = SSL_CTX_new(TLS_server_method())};
	size_t before = errors->n;
	char *text = NULL;
	bool certified;
	BIO *bio;

	if (!t.ctx || tls_settings(t.ctx, sl_conf_int(conf, "min_version") == 1, http1)) {
		sl_conf_error_at(conf, "", errors, "TLS cannot be set up: %s", tls_reason());
		SSL_CTX_free(t.ctx);
		return NULL;
	}
	bio = tls_file(&t, "cert", &text);
	certified = bio && tls_read_chain(&t, bio);
	BIO_free(bio);
	free(text);
	bio = tls_file(&t, "key", &text);
	if (bio)
		tls_read_key(&t, bio, certified);
	BIO_free(bio);
	if (text)
		OPENSSL_cleanse(text, strlen(text));
	free(text);
	if (errors->n == before)
		return t.ctx;
	SSL_CTX_free(t.ctx);
	return NULL;
}

void tls_unload(struct ssl_ctx_st *ctx)
{
	SSL_CTX_free(ctx);
}
