import { Type } from 'typebox';

/** Kinds of names, which are label values of metrics. */
export const TOPICS = ['reason', 'violation', 'cause', 'incident'] as const;
export type Topic = (typeof TOPICS)[number];

export const ReasonView = Type.Object({
  name: Type.String({ description: 'the name as in events and metrics' }),
  topic: Type.Enum([...TOPICS]),
  what: Type.String({ description: 'what happened' }),
  rules: Type.Array(
    Type.Object({
      stage: Type.String({ description: 'export, private_read, revoke, or the stage of an import' }),
      errno: Type.Union([Type.String(), Type.Null()]),
      function: Type.String(),
      file: Type.String(),
      kernels: Type.String({
        description: 'the kernels that have this rule, by their capabilities or private dialects',
      }),
      mainline: Type.Union([Type.String(), Type.Null()], {
        description:
          'the mainline versions that have it; only a hint, because distributions differ; null if none has it',
      }),
      check: Type.String(),
    }),
  ),
  remedy: Type.String({ description: 'what to do' }),
  private_remedy: Type.Union([Type.String(), Type.Null()], {
    description:
      'what to do instead if the buffer is private and the importer is not KVM; null if that cannot be',
  }),
  user_space: Type.Array(Type.String(), {
    description: 'how it appears in user space: log lines, functions that fail, settings that cause it',
  }),
  stages: Type.Array(Type.String(), { description: 'the stages at which it can occur' }),
  printed: Type.Boolean({ description: 'false: no probe of this version reports it' }),
  docs: Type.String({ description: 'its section in the docs of this version' }),
});
