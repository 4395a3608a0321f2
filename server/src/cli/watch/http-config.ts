import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import { Type } from 'typebox';
import { readYaml } from '../../config/yaml-file.ts';
import { TracerError } from '../../lib/errors.ts';
import { type Problem, problemsError } from '../../lib/problems.ts';

/** How `watch` proves who it is, and whom it trusts. */
export interface HttpConfig {
  /** The header `Authorization`. */
  authorization: string | undefined;
  tls: SecureContextOptions & { servername?: string; rejectUnauthorized?: boolean };
}

const Text = Type.Optional(Type.String({ description: 'give a text' }));
const closed = { additionalProperties: false } as const;

/** The part of promtool's --http.config.file that `watch` supports. All values are texts. */
const HttpConfigFile = Type.Object(
  {
    basic_auth: Type.Optional(
      Type.Object({ username: Type.String(), password: Text, password_file: Text }, closed),
    ),
    tls_config: Type.Optional(
      Type.Object(
        {
          ca: Text,
          ca_file: Text,
          cert: Text,
          cert_file: Text,
          key: Text,
          key_file: Text,
          server_name: Text,
          insecure_skip_verify: Type.Optional(
            Type.Enum(['true', 'false'], { description: 'write true or false' }),
          ),
        },
        closed,
      ),
    ),
  },
  closed,
);

/**
 * Reads the file with the credentials and CA for a daemon, so that no secret is on the command line.
 *
 * @throws TracerError with all problems at once; it never quotes a secret
 */
export function readHttpConfig(path: string): HttpConfig {
  const read = (file: string, key: string): string => {
    try {
      return readFileSync(resolve(dirname(path), file), 'utf8');
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error';
      throw new TracerError('file_unreadable', `${key} cannot be read (${code})`, {
        where: resolve(dirname(path), file),
        remedy: 'name an existing file that this user may read',
        cause,
      });
    }
  };
  const { value, problems, at } = readYaml(
    read(resolve(path), 'the file of --http.config.file'),
    path,
    HttpConfigFile,
  );
  const { basic_auth: auth, tls_config: tls = {} } = value ?? {};
  const one = <K extends string>(section: string, from: Partial<Record<string, string>>, name: K) => {
    const text = from[name];
    const file = from[`${name}_file`];
    if (text !== undefined && file !== undefined) {
      problems.push(twice(at([section, name]), name));
    }
    return file === undefined ? text : read(file, `${name}_file`);
  };
  const password = one('basic_auth', { ...auth }, 'password')?.trim() ?? '';
  const { server_name: servername, insecure_skip_verify: insecure = 'false', ...files } = tls;
  const [ca, cert, key] = ['ca', 'cert', 'key'].map((name) => one('tls_config', files, name));
  if (problems.length > 0) throw problemsError('bad_config', `problems in ${path}`, problems);
  const context: SecureContextOptions = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
  try {
    createSecureContext(context);
  } catch (cause) {
    throw new TracerError('bad_config', `the certificates cannot be used: ${(cause as Error).message}`, {
      where: path,
      remedy: 'give CA, certificate and key as PEM, the key without a passphrase',
      cause,
    });
  }
  return {
    authorization:
      auth === undefined
        ? undefined
        : `Basic ${Buffer.from(`${auth.username}:${password}`).toString('base64')}`,
    tls: {
      ...context,
      ...(servername === undefined ? {} : { servername }),
      rejectUnauthorized: insecure !== 'true',
    },
  };
}

function twice(where: string, name: string): Problem {
  return { what: `${name} and ${name}_file are both given`, where, remedy: 'keep one of them' };
}
