import { type Static, Type } from 'typebox';
import { ALL_KINDS, RESULTS, resultOf, type TracerEvent } from '../../contract/events.ts';
import { inodeOf } from '../../contract/names.ts';
import { canonicalDevice, DEVICE_ADDRESS, DEVICE_ADDRESS_TEXT } from '../../lib/device-address.ts';
import { REASONS } from '../../protocol/codes.ts';

export const NoQuery = Type.Object({}, { additionalProperties: false });

/** Pattern of the name of an event log, which is the first part of an event id. */
export const LOG_ID = '^[0-9a-z]{1,16}$';

/** The schema of a plain text answer, with the media types that the client can request. */
export function plainText(description: string, types: readonly string[] = ['text/plain']): object {
  const content = Object.fromEntries(types.map((type) => [type, { schema: Type.String() }]));
  return { description, content };
}

export const DeviceQuery = Type.String({ pattern: DEVICE_ADDRESS, description: DEVICE_ADDRESS_TEXT });

export const ImporterQuery = Type.String({
  minLength: 1,
  maxLength: 64,
  description: 'the name of an importer, such as iommufd, kvm or mlx5_core',
});

/** Selects events. An absent field matches all. Used by the event log and the stream. */
export const EventFilter = Type.Object(
  {
    kind: Type.Optional(Type.Enum([...ALL_KINDS])),
    device: Type.Optional(DeviceQuery),
    inode: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: Number.MAX_SAFE_INTEGER,
        description: 'inode of a dma-buf: only the events and incidents of this buffer',
      }),
    ),
    reason: Type.Optional(Type.Enum([...REASONS])),
    result: Type.Optional(
      Type.Enum([...RESULTS], {
        description: 'only events that have an errno: ok if it is 0, else failed',
      }),
    ),
  },
  { additionalProperties: false },
);
export type EventFilter = Static<typeof EventFilter>;

export function eventMatcher(filter: EventFilter): (event: TracerEvent) => boolean {
  const device = filter.device === undefined ? undefined : canonicalDevice(filter.device);
  return (event) => {
    if (filter.kind !== undefined && event.kind !== filter.kind) return false;
    if (device !== undefined && event.device !== device) return false;
    if (filter.inode !== undefined && inodeOf(event) !== filter.inode) return false;
    if (filter.reason !== undefined && !('reason' in event && event.reason === filter.reason)) return false;
    return filter.result === undefined || resultOf(event) === filter.result;
  };
}
