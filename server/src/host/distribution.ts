import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { orAbsent } from '../lib/errno.ts';
import { compareVersions } from '../lib/versions.ts';

/** The distribution, from /etc/os-release. */
export interface Distribution {
  /** `debian`, `ubuntu`, `fedora`; empty if it is not known. */
  id: string;
  /** Ids of the distributions that it derives from (ID_LIKE). */
  like: readonly string[];
  /** `24.04`; empty for a rolling distribution. */
  version: string;
  /** `Ubuntu 24.04.3 LTS` */
  name: string;
}

/** Packages that this program asks users to install, by their names in Debian. */
export type Package = 'bpftrace' | 'nodejs' | 'util-linux' | 'driverctl' | 'systemd-timesyncd';

/** The oldest supported bpftrace, and the first version that is not supported yet. */
export const OLDEST_BPFTRACE = [0, 23, 0] as const;
export const FIRST_UNKNOWN_BPFTRACE = [1, 0, 0] as const;

interface Family {
  /** `[update,] install` */
  install: string;
  /** First version of the distribution whose own bpftrace is 0.23 or newer; `rolling`; null if none is known. */
  bpftraceSince: string | null;
  /** Version of the distribution -> its bpftrace, for versions whose bpftrace is too old. */
  bpftraceHas?: Readonly<Record<string, string>>;
  /** Packages with other names than in Debian; null if the distribution does not have the package. */
  names?: Partial<Readonly<Record<Package, string | null>>>;
}

const RELEASES =
  'download the static binary from https://github.com/bpftrace/bpftrace/releases (0.23 or newer) and set --bpftrace.path to it';

/** Packages of the distributions. Source of the bpftrace versions: the package pages of the distributions, in 2026. */
const FAMILIES: Readonly<Record<string, Family>> = {
  debian: {
    install: 'apt-get update && apt-get install',
    bpftraceSince: '13',
    bpftraceHas: { '11': '0.11.3', '12': '0.17.0' },
  },
  ubuntu: {
    install: 'apt-get update && apt-get install',
    bpftraceSince: '25.10',
    bpftraceHas: { '22.04': '0.14.0', '24.04': '0.20.2' },
  },
  fedora: {
    install: 'dnf install --refresh',
    bpftraceSince: '43',
    bpftraceHas: { '40': '0.20.1', '41': '0.21.2' },
    names: { 'systemd-timesyncd': 'chrony' },
  },
  rhel: {
    install: 'dnf install --refresh',
    bpftraceSince: null,
    names: { 'systemd-timesyncd': 'chrony' },
  },
  alpine: {
    install: 'apk add --update-cache',
    bpftraceSince: '3.22',
    bpftraceHas: { '3.19': '0.19.1', '3.20': '0.20.4' },
    names: { 'util-linux': 'setpriv', driverctl: null, 'systemd-timesyncd': 'chrony' },
  },
  'opensuse-tumbleweed': {
    install: 'zypper --refresh install',
    bpftraceSince: 'rolling',
    names: { 'systemd-timesyncd': 'chrony' },
  },
  suse: {
    install: 'zypper --refresh install',
    bpftraceSince: null,
    names: { 'systemd-timesyncd': 'chrony' },
  },
  arch: {
    install: 'pacman -Syu',
    bpftraceSince: 'rolling',
    names: { driverctl: null, 'systemd-timesyncd': 'systemd' },
  },
};

/** Reads ETC/os-release, or else ETC/../usr/lib/os-release. Null if there is none or it cannot be read. */
export async function readDistribution(etcRoot = '/etc'): Promise<Distribution | null> {
  for (const path of [join(etcRoot, 'os-release'), join(etcRoot, '../usr/lib/os-release')]) {
    const text = await orAbsent(readFile(path, 'utf8'), null).catch(() => null);
    if (text !== null) return parseOsRelease(text);
  }
  return null;
}

/** Parses the shell assignments of os-release(5). */
function parseOsRelease(text: string): Distribution {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, key, value] = /^\s*([A-Z0-9_]+)=(.*)$/.exec(line) ?? [];
    if (key === undefined || value === undefined) continue;
    const bare = value.trim().replace(/^(["'])(.*)\1$/, '$2');
    fields.set(key, bare.replace(/\\(["'$`\\])/g, '$1'));
  }
  const id = (fields.get('ID') ?? 'linux').toLowerCase();
  const version = fields.get('VERSION_ID') ?? '';
  const name = fields.get('PRETTY_NAME') ?? `${fields.get('NAME') ?? id} ${version}`.trim();
  const like = (fields.get('ID_LIKE') ?? '')
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  return { id, like, version, name };
}

/** The command that installs a package; null if the distribution does not have it, or is not known. */
export function installCommand(distribution: Distribution | null, name: Package): string | null {
  const family = familyOf(distribution)?.family;
  const here = family?.names?.[name];
  if (family === undefined || here === null) return null;
  return `${family.install} ${here ?? name}`;
}

/** The remedy for a missing package: the install command, or advice for an unknown distribution. */
export function installFix(distribution: Distribution | null, name: Package): string {
  const command = installCommand(distribution, name);
  if (command !== null) return `\`${command}\``;
  const where = distribution === null ? 'this distribution' : distribution.name;
  return `install ${name} with the package manager of ${where}, if it is packaged there`;
}

/**
 * The remedy: how to get a supported bpftrace. It never proposes the rejected version.
 *
 * @param rejected the version that was found and is not supported; null if none was found
 */
export function bpftraceFix(
  distribution: Distribution | null,
  rejected: readonly number[] | null = null,
): string {
  if (rejected !== null && compareVersions(rejected, FIRST_UNKNOWN_BPFTRACE) >= 0) {
    return `update vfio-dmabuf-tracer, or ${RELEASES.replace('0.23 or newer', '0.23 to 0.x')}`;
  }
  const found = familyOf(distribution);
  if (distribution === null || found === null) {
    const whose = distribution === null ? '' : ` of ${distribution.name}`;
    return `install bpftrace 0.23 or newer with the package manager${whose}; if it has none, ${RELEASES}`;
  }
  const { family, exact } = found;
  const { bpftraceSince: since, bpftraceHas, install } = family;
  if (since === 'rolling' || (since !== null && exact && isSince(distribution.version, since))) {
    const what =
      rejected === null ? '' : `; the installed bpftrace is not from ${distribution.name}, or is out of date`;
    return `\`${install} bpftrace\`${what}`;
  }
  const has = exact ? bpftraceHas?.[distribution.version] : undefined;
  const older =
    has === undefined
      ? 'is not known to package bpftrace 0.23 or newer'
      : `packages bpftrace ${has}, which is too old`;
  const newer = since === null || !exact ? '' : `, or upgrade the distribution to ${since} or newer`;
  return `${distribution.name} ${older}: ${RELEASES}${newer}`;
}

/**
 * The entry of a distribution, or of one that it derives from. `exact`: the versions in the entry are those of this
 * distribution.
 */
function familyOf(distribution: Distribution | null): { family: Family; exact: boolean } | null {
  if (distribution === null) return null;
  for (const id of [distribution.id, ...distribution.like]) {
    const family = Object.hasOwn(FAMILIES, id) ? FAMILIES[id] : undefined;
    if (family !== undefined) return { family, exact: id === distribution.id };
  }
  return null;
}

/** An empty version counts as newest: a rolling release, such as Debian testing, has no number. */
function isSince(version: string, since: string): boolean {
  const parts = (text: string) => text.split('.').map((part) => Number.parseInt(part, 10));
  return version === '' || compareVersions(parts(version), parts(since)) >= 0;
}
