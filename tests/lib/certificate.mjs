// Certificates for one test, made by openssl: {ca (text), cert, key (paths)}, signed by themselves, for 127.0.0.1 and localhost.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporary } from './sluice.mjs';

const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });

export function newCertificate(name = 'localhost') {
	const folder = temporary('sluice-certificate');
	const made = { folder, name, cert: join(folder, 'cert.pem'), key: join(folder, 'key.pem') };
	openssl(
		...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
		...['-keyout', made.key, '-out', made.cert, '-subj', `/CN=${name}`],
		...['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost'],
	);
	made.ca = readFileSync(made.cert, 'utf8');
	return made;
}

// The same key with a certificate whose time is over.
export function expiredCertificate({ folder, key }) {
	const file = (name, text = '') => {
		writeFileSync(join(folder, name), text);
		return join(folder, name);
	};
	const config = file(
		'ca.conf',
		`[ca]\ndefault_ca = c\n[c]\ndatabase = ${file('index')}\nrand_serial = yes\nnew_certs_dir = ${folder}\n` +
			'default_md = sha256\npolicy = p\n[p]\ncommonName = supplied\n[req]\ndistinguished_name = d\n[d]\n',
	);
	openssl('req', '-new', '-key', key, '-subj', '/CN=old', '-out', file('request'), '-config', config);
	const cert = join(folder, 'expired.pem');
	openssl(
		...['ca', '-batch', '-selfsign', '-notext', '-config', config, '-keyfile', key, '-in', join(folder, 'request')],
		...['-startdate', '20200101000000Z', '-enddate', '20210101000000Z', '-out', cert],
	);
	return cert;
}

export function encryptedKey({ folder, key }) {
	const out = join(folder, 'encrypted.pem');
	openssl('pkey', '-in', key, '-aes256', '-passout', 'pass:secret', '-out', out);
	return out;
}
