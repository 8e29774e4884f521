/*
 * digest.c - what tells one snapshot from another: SHA-256 of its type, a zero byte and its bytes. Store-writer; also its helper thread.
 */
#include <openssl/evp.h>

#include "store-worker/store.h"

int digest_begin(struct digest *d, sl_slice type)
{
	d->md = EVP_MD_CTX_new();
	d->failed = !d->md || EVP_DigestInit_ex(d->md, EVP_sha256(), NULL) != 1;
	digest_add(d, type.data, type.len);
	digest_add(d, "", 1);
	return d->failed ? SLUICE_ENOMEM : 0;
}

void digest_add(struct digest *d, const void *p, size_t n)
{
	if (!d->failed && n > 0 && EVP_DigestUpdate(d->md, p, n) != 1)
		d->failed = true;
}

int digest_end(struct digest *d, uint8_t out[SL_DIGEST])
{
	if (!d->failed && EVP_DigestFinal_ex(d->md, out, NULL) != 1)
		d->failed = true;
	EVP_MD_CTX_free(d->md);
	d->md = NULL;
	return d->failed ? SLUICE_ENOMEM : 0;
}
