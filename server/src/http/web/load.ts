import { X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { type Pem, parseWebFile, type TlsSettings, type WebSettings } from '../../config/web-file.ts';
import { TracerError } from '../../lib/errors.ts';
import { problemsError } from '../../lib/problems.ts';

export interface LoadedTls {
  settings: TlsSettings;
  context: SecureContextOptions;
}

/** A web configuration file and the files that it names. */
export interface LoadedWeb {
  settings: WebSettings;
  tls: LoadedTls | undefined;
  /** The file has no text. */
  isBlank: boolean;
  /** The version of each file that was read, by absolute path. */
  versions: ReadonlyMap<string, string>;
}

/**
 * Reads the web configuration file, its certificates and keys, and checks that they fit together.
 *
 * @throws TracerError with all problems at once; it never quotes a key or a hash
 */
export async function loadWeb(path: string): Promise<LoadedWeb> {
  const versions = new Map<string, string>();
  const readText = async (file: string, what: string, remedy: string): Promise<string> => {
    // The version before the content: a change in between is found by the next comparison.
    versions.set(file, await versionOf(file));
    return await textOf(file, what, remedy);
  };
  const text = await readText(
    resolve(path),
    'the web configuration file',
    'set --web.config.file to a file that this user may read',
  );
  const parsed = parseWebFile(text, path);
  if ('problems' in parsed) {
    throw problemsError('bad_config', 'problems in the web configuration file', parsed.problems);
  }
  const { settings } = parsed;
  const isBlank = text.trim() === '';
  if (settings.tls === undefined) return { settings, tls: undefined, isBlank, versions };
  const read = async (pem: Pem): Promise<string> => {
    if ('text' in pem) return pem.text;
    // Relative to the folder of the web configuration file, as in exporter-toolkit.
    const file = resolve(dirname(path), pem.path);
    return await readText(file, pem.key, `correct ${pem.key}, or let this user read the file`);
  };
  return { settings, tls: await tlsOf(settings.tls, path, read), isBlank, versions };
}

async function tlsOf(
  settings: TlsSettings,
  path: string,
  read: (pem: Pem) => Promise<string>,
): Promise<LoadedTls> {
  const { cert, key, clientCa } = settings;
  const context: SecureContextOptions = {
    cert: await read(cert),
    key: await read(key),
    ciphers: settings.ciphers,
    ecdhCurve: settings.curves,
    honorCipherOrder: settings.preferServerCiphers,
    minVersion: settings.minVersion,
    maxVersion: settings.maxVersion,
  };
  if (clientCa !== undefined) context.ca = certificatesOf(await read(clientCa), clientCa.key, path);
  try {
    createSecureContext(context);
  } catch (cause) {
    const message = `${cert.key} and ${key.key} cannot be used: ${(cause as Error).message}`;
    const remedy = 'give the certificate and its key as PEM, the key without a passphrase';
    throw new TracerError('bad_config', message, { where: path, remedy, cause });
  }
  return { settings, context };
}

/** OpenSSL ignores a text without a certificate, and then nobody could connect. */
function certificatesOf(text: string, key: string, path: string): string[] {
  const found = text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  const isValid = (pem: string): boolean => {
    try {
      return new X509Certificate(pem).raw.length > 0;
    } catch {
      return false;
    }
  };
  if (found.length > 0 && found.every(isValid)) return found;
  throw new TracerError('bad_config', `${key} has no certificate, or one that cannot be read`, {
    where: path,
    remedy: 'give the CA certificates as PEM',
  });
}

/** A text that differs after a change of the file. It follows links, as Kubernetes and certbot use them. */
async function versionOf(file: string): Promise<string> {
  const found = await stat(file, { bigint: true }).catch(() => undefined);
  return found === undefined ? 'absent' : `${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs}`;
}

/** Whether one of the files has changed since it was read. */
export async function hasChanged({ versions }: LoadedWeb): Promise<boolean> {
  for (const [file, version] of versions) if ((await versionOf(file)) !== version) return true;
  return false;
}

async function textOf(file: string, what: string, remedy: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new TracerError('file_unreadable', `user ${process.geteuid?.()} cannot read ${what} (${code})`, {
      where: file,
      remedy,
      cause,
    });
  }
}
