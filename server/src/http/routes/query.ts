import { type Static, Type } from 'typebox';
import { EVENT_KINDS, type TracerEvent } from '../../model/schema.ts';
import { REASONS } from '../../stream/codes.ts';

export const NoQuery = Type.Object({}, { additionalProperties: false });

/** What an event log may be called: the first part of the id of an event. */
export const LOG_ID = '^[0-9a-z]{1,16}$';

/** An answer that is text; each media type is one that the client may ask for. */
export function plainText(description: string, types: readonly string[] = ['text/plain']): object {
  const content = Object.fromEntries(types.map((type) => [type, { schema: Type.String() }]));
  return { description, content };
}

export const DeviceQuery = Type.String({
  pattern: '^(([0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\\.[0-7]|unknown)$',
  description: 'a PCI address such as 0000:41:00.0 or 41:00.0, or unknown',
});

export const ImporterQuery = Type.String({
  minLength: 1,
  maxLength: 64,
  description: 'the name of an importer, such as iommufd, kvm or mlx5_core',
});

/** Which events are wanted; what is left out is not asked about. Shared by the log and the stream. */
export const EventFilter = Type.Object(
  {
    kind: Type.Optional(Type.Enum([...EVENT_KINDS, 'incident'])),
    device: Type.Optional(DeviceQuery),
    inode: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: Number.MAX_SAFE_INTEGER,
        description: 'inode of a dma-buf: what happened to this buffer alone, its incidents too',
      }),
    ),
    reason: Type.Optional(Type.Enum([...REASONS])),
    result: Type.Optional(
      Type.Enum(['ok', 'failed'], { description: 'of the events that have a result: whether errno is 0' }),
    ),
  },
  { additionalProperties: false },
);
export type EventFilter = Static<typeof EventFilter>;

/** The PCI address as the model writes it: with its domain in four digits or as many as it needs, in lower case. */
export function canonicalDevice(given: string): string {
  const address = given.toLowerCase();
  if (/^[0-9a-f]{2}:/.test(address)) return `0000:${address}`;
  return address.replace(/^0+(?=[0-9a-f]{4,}:)/, '');
}

export function eventMatcher(filter: EventFilter): (event: TracerEvent) => boolean {
  const device = filter.device === undefined ? undefined : canonicalDevice(filter.device);
  return (event) => {
    if (filter.kind !== undefined && event.kind !== filter.kind) return false;
    if (device !== undefined && event.device !== device) return false;
    if (filter.inode !== undefined && inodeOf(event) !== filter.inode) return false;
    if (filter.reason !== undefined && !('reason' in event && event.reason === filter.reason)) return false;
    if (filter.result === undefined) return true;
    return 'errno' in event && (event.errno === 0) === (filter.result === 'ok');
  };
}

function inodeOf(event: TracerEvent): number | null {
  if (event.kind === 'incident') return event.incident.inode;
  return 'inode' in event ? event.inode : null;
}
