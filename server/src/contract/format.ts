/** How page and terminal write values. Both show the same text for the same value. */

/** Shown for a value that is not known, or that does not exist. */
export const NO_VALUE = '–';

export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A name of the API as words: `revoke waiting` for `revoke_waiting`. */
export function words(name: string): string {
  return name.replaceAll('_', ' ');
}

export function number(value: number): string {
  return value.toLocaleString('en');
}

export function count(value: number, one: string, many = `${one}s`): string {
  return `${number(value)} ${value === 1 ? one : many}`;
}

/** A number as text. If not everything was traced it is a lower bound, and a zero is unknown. */
export function atLeast(value: number, whole: boolean): string {
  if (whole) return number(value);
  return value === 0 ? NO_VALUE : `≥ ${number(value)}`;
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** A size in binary units, with one decimal unless it is 0. */
export function bytes(size: number): string {
  let value = size;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number(value.toFixed(1))} ${UNITS[unit]}`;
}

/** Formats a duration in seconds. */
export function duration(seconds: number): string {
  if (seconds >= 1) return `${seconds.toFixed(seconds >= 10 ? 1 : 2)} s`;
  if (seconds >= 1e-3) return `${(seconds * 1e3).toFixed(seconds >= 0.01 ? 0 : 1)} ms`;
  return `${Math.round(seconds * 1e6)} µs`;
}

/** The time since an event, in its one or two largest units; `?` if the time is not valid. */
export function age(ms: number): string {
  if (!Number.isFinite(ms)) return '?';
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  const days = Math.floor(hours / 24);
  return hours % 24 === 0 ? `${days} d` : `${days} d ${hours % 24} h`;
}

/** A time of day, with the day if it is not the day of `now`; `?` if it is not valid. The default is the local zone. */
export function clock(time: string | number, now: number, timeZone?: 'UTC'): string {
  if (Number.isNaN(new Date(time).getTime())) return '?';
  const zone = timeZone === undefined ? {} : { timeZone };
  const dayOf = (at: string | number): string =>
    new Date(at).toLocaleDateString('en-GB', { ...zone, dateStyle: 'medium' });
  const day = dayOf(time);
  const timeOfDay = new Date(time).toLocaleTimeString('en-GB', zone);
  return day === dayOf(now) ? timeOfDay : `${day.replace(/ \d+$/, '')} ${timeOfDay}`;
}
