import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { TlsSettings } from '../../config/web-file.ts';

/** Whether the server asks a client for a certificate. */
export function asksForCertificate({ clientAuth }: TlsSettings): boolean {
  return clientAuth !== 'NoClientCert';
}

/** Why a connection is closed after its handshake; undefined if the client may send requests. */
export function explainRejected(socket: TLSSocket, settings: TlsSettings): string | undefined {
  const { clientAuth, allowedSans } = settings;
  if (clientAuth === 'NoClientCert' || clientAuth === 'RequestClientCert') return undefined;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) {
    return clientAuth === 'VerifyClientCertIfGiven' ? undefined : 'the client sent no certificate';
  }
  if (clientAuth.includes('Verify') && !socket.authorized) {
    // Node gives the code of OpenSSL here, not the Error of its type declaration.
    return `the certificate of the client is not valid: ${String(socket.authorizationError)}`;
  }
  if (allowedSans !== undefined && !hasName(certificate, allowedSans)) {
    return 'the certificate of the client has no name of client_allowed_sans';
  }
  return undefined;
}

/** Whether the certificate has one of these names (DNS, IP, email, URI), compared exactly as exporter-toolkit does. */
function hasName(certificate: X509Certificate, allowed: readonly string[]): boolean {
  const names = namesOf(certificate.subjectAltName ?? '');
  return allowed.some((name) =>
    isIP(name) === 0 ? names.includes(name) : certificate.checkIP(name) !== undefined,
  );
}

/**
 * The DNS names, email addresses and URIs in Node's text of the subject alternative names. Node quotes a value as JSON
 * if it has a comma, a quote or another character that could be mistaken for a separator.
 */
export function namesOf(text: string): string[] {
  const names: string[] = [];
  const entry = /(?:^|, )([^:,"]+):("(?:[^"\\]|\\.)*"|[^",]*)/y;
  for (let match = entry.exec(text); match !== null; match = entry.exec(text)) {
    const [, kind = '', value = ''] = match;
    if (['DNS', 'email', 'URI'].includes(kind)) {
      names.push(value.startsWith('"') ? (JSON.parse(value) as string) : value);
    }
    if (entry.lastIndex === text.length) return names;
  }
  // A text that cannot be read to its end has no names.
  return [];
}
