import { destination, type Logger, pino } from 'pino';
import type { LogFormat, LogLevel } from './log-options.ts';
import { neutralJson, neutralLines } from './neutral.ts';

export type { Logger } from 'pino';

export interface LoggerOptions {
  level: LogLevel;
  format: LogFormat;
  /** 1 for the daemon; 2 for the commands whose standard output is data. */
  fd: 1 | 2;
  /** Whether that descriptor is a terminal: `auto` is pretty only there. */
  terminal: boolean;
}

/** What a credential may be called in a logged object, at the top and one level down. */
const SECRET_KEYS = ['password', 'token', 'secret', 'authorization', 'cookie'];

/** JSON lines; pretty only on a terminal, or when asked, and only where pino-pretty is installed. */
export async function createLogger(options: LoggerOptions): Promise<Logger> {
  const wantsPretty = options.format === 'pretty' || (options.format === 'auto' && options.terminal);
  const pretty = wantsPretty ? await prettyStream(options) : undefined;
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: SECRET_KEYS.flatMap((key) => [key, `*.${key}`, `*.headers.${key}`]),
        censor: '[redacted]',
      },
    },
    pretty ?? neutralStream(destination({ fd: options.fd, sync: true }), neutralJson),
  );
  if (pretty === undefined && options.format === 'pretty') {
    logger.warn('log.format is pretty but pino-pretty is not installed: logging JSON');
  }
  return logger;
}

async function prettyStream(options: LoggerOptions): Promise<NodeJS.WritableStream | undefined> {
  try {
    // A variable keeps bundlers from resolving a package that is only there in development.
    const name = 'pino-pretty';
    const { default: pretty } = (await import(name)) as {
      default: (options: object) => NodeJS.WritableStream;
    };
    // It decodes what JSON escapes, and adds colours of its own: so its input is made neutral.
    const stream = pretty({ destination: options.fd, sync: true, colorize: options.terminal });
    return neutralStream(stream, neutralValues);
  } catch {
    return undefined;
  }
}

/** Logs quote what other programs and servers say: no line of them has what a terminal obeys. */
function neutralStream<T extends { write(text: string): unknown }>(
  stream: T,
  change: (line: string) => string,
): T {
  const write = stream.write.bind(stream);
  stream.write = (line: string) => write(change(line));
  return stream;
}

function neutralValues(line: string): string {
  const value: unknown = JSON.parse(line, (_key, one: unknown) =>
    typeof one === 'string' ? neutralLines(one) : one,
  );
  return `${JSON.stringify(value)}\n`;
}
