import { destination, type Logger, pino } from 'pino';
import type { LogFormat, LogLevel } from './log-options.ts';
import { neutralJson, neutralLines } from './neutral.ts';

export type { Logger } from 'pino';

export interface LoggerOptions {
  level: LogLevel;
  format: LogFormat;
  /** 1 for the daemon; 2 for the commands whose standard output is data. */
  fd: 1 | 2;
  /** Whether `fd` is a terminal. `auto` is pretty only on a terminal. */
  terminal: boolean;
}

/** Keys whose values are redacted in logged objects, at the top level and one level below. */
const SECRET_KEYS = ['password', 'token', 'secret', 'authorization', 'cookie'];

/** Creates a logger of JSON lines. Pretty output is for a terminal or on request, and needs pino-pretty. */
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
    // A variable, so that bundlers do not resolve the package: it is installed only for development.
    const name = 'pino-pretty';
    const { default: pretty } = (await import(name)) as {
      default: (options: object) => NodeJS.WritableStream;
    };
    // Its input is neutralized, because it decodes the escapes of JSON. Its output contains escape codes for colors.
    const stream = pretty({ destination: options.fd, sync: true, colorize: options.terminal });
    return neutralStream(stream, neutralValues);
  } catch {
    return undefined;
  }
}

/** Neutralizes each line: logs quote text of other programs, which may contain control characters for a terminal. */
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
