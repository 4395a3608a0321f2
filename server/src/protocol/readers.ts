import { CAUSES, PRIVACIES, READERS, REASONS, ROUTES, STAGES, VIOLATIONS } from './codes.ts';
import { repairText, TEXT_LIMIT, wellFormed } from './repair.ts';

/** Reads one field of a record; undefined if the value is not valid for the field. */
export type Reader<T> = (value: unknown) => T | undefined;

const DECIMAL = /^(?:0|[1-9]\d{0,19})$/;
const LARGEST = 2n ** 64n - 1n;
/** 2^64, to which a double rounds the largest 64-bit numbers. A larger double never comes from a 64-bit number. */
const TOO_LARGE = 2 ** 64;
/** A PCI domain has 32 bits. */
export const LARGEST_DEVICE = 2 ** 48 - 1;

/**
 * Reads an unsigned 64-bit number, rounded above 2^53. bpftrace 0.24+ prints a number as a string if a double cannot
 * represent it exactly. Undefined for what bpftrace never prints: leading zeros, a sign, more than 64 bits.
 */
export function readUnsigned(value: unknown): number | undefined {
  if (typeof value === 'number') {
    const printed = Number.isInteger(value) && value >= 0 && value <= TOO_LARGE && !Object.is(value, -0);
    return printed ? value : undefined;
  }
  if (typeof value !== 'string' || !DECIMAL.test(value)) return undefined;
  return value.length < 20 || BigInt(value) <= LARGEST ? Number(value) : undefined;
}

/** Reads a count, a time or an identifier. It must be exact, so it is at most 2^53 - 1. */
export function readInteger(value: unknown): number | undefined {
  const number = readUnsigned(value);
  return number === undefined || number > Number.MAX_SAFE_INTEGER ? undefined : number;
}

/** bpftrace up to 0.23 prints booleans as 0 and 1, later versions as false and true. */
export function readFlag(value: unknown): boolean | undefined {
  if (value === 1 || value === true) return true;
  if (value === 0 || value === false) return false;
  return undefined;
}

export function readText(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  const repaired = wellFormed(repairText(value));
  return repaired.length <= TEXT_LIMIT ? repaired : undefined;
}

/** Reads a packed PCI address. */
export function readDevice(value: unknown): number | undefined {
  const packed = readInteger(value);
  return packed === undefined || packed > LARGEST_DEVICE ? undefined : packed;
}

function readCode<const Names extends readonly string[]>(names: Names): Reader<Names[number]> {
  return (value) => {
    const index = readInteger(value);
    return index === undefined ? undefined : names[index];
  };
}

export const readCause = readCode(CAUSES);
export const readPrivacy = readCode(PRIVACIES);
export const readReader = readCode(READERS);
export const readReason = readCode(REASONS);
export const readRoute = readCode(ROUTES);
export const readStage = readCode(STAGES);
export const readViolation = readCode(VIOLATIONS);
