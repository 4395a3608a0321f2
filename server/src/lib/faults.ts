import { didYouMean } from './suggest.ts';

/** Faults that `--simulate` injects, so that an operator can test alerts. Null: the fault is not injected. */
export interface Faults {
  /** Fraction of the events to drop, above 0 and up to 1. */
  loss: number | null;
  /** Number of malformed lines to insert in each period. */
  malformed: { count: number; periodUs: number } | null;
  /** Age at which each bpftrace child is killed, in microseconds. */
  crashUs: number | null;
}

export const NO_FAULTS: Faults = { loss: null, malformed: null, crashUs: null };
export const FAULTS_EXAMPLE = 'loss=10%,malformed=1/60s,crash=5m';
export const FAULTS_HELP = `any of these, separated by commas:
  loss=PERCENT%         drop this share of the events
  malformed=COUNT/TIME  insert COUNT malformed lines in each TIME
  crash=TIME            kill each bpftrace child at this age
  TIME is a number with ms, s, m or h`;

const UNIT_US: Readonly<Record<string, number>> = { ms: 1e3, s: 1e6, m: 60e6, h: 3600e6 };
const NAMES = ['loss', 'malformed', 'crash'] as const;

/**
 * Parses `loss=10%,malformed=1/60s,crash=5m`. Returns a message if the text is not valid. An empty text means no
 * faults.
 */
export function readFaults(text: string): Faults | string {
  const faults: Faults = { ...NO_FAULTS };
  if (text.trim() === '') return faults;
  const given = new Set<string>();
  for (const part of text.split(',')) {
    const [, name = '', value = ''] = /^\s*([^=]*?)\s*=\s*(.*?)\s*$/.exec(part) ?? [];
    const fault = NAMES.find((known) => known === name);
    if (fault === undefined) {
      const unknown = name || part.trim();
      return `there is no fault ${JSON.stringify(unknown)}; ${didYouMean(unknown, NAMES)}`;
    }
    if (given.has(fault)) return `${fault} is given twice`;
    given.add(fault);
    const expected = readFault(fault, value, faults);
    if (expected !== null) return `${fault} cannot be ${JSON.stringify(value)}: ${expected}`;
  }
  return faults;
}

function readFault(fault: (typeof NAMES)[number], value: string, faults: Faults): string | null {
  switch (fault) {
    case 'loss': {
      const percent = Number(/^(\d+(?:\.\d+)?)%$/.exec(value)?.[1]);
      if (!(percent > 0 && percent <= 100)) return 'give a percentage above 0% and up to 100%';
      faults.loss = percent / 100;
      return null;
    }
    case 'malformed': {
      const [, count, time = ''] = /^(\d{1,4})\/(.+)$/.exec(value) ?? [];
      const periodUs = readTime(time);
      if (!(Number(count) > 0) || periodUs === null) return 'give a number of lines per time, such as 1/60s';
      faults.malformed = { count: Number(count), periodUs };
      return null;
    }
    case 'crash': {
      faults.crashUs = readTime(value);
      return faults.crashUs === null ? 'give a time above 0, such as 5m' : null;
    }
    default:
      return fault satisfies never;
  }
}

function readTime(text: string): number | null {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) ?? [];
  const us = Number(number) * (UNIT_US[unit] ?? Number.NaN);
  return us > 0 ? us : null;
}
