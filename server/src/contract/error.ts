import { type Static, Type } from 'typebox';

const error = Type.Object({
  code: Type.String({ description: 'bad_request, not_found, too_many_clients or invariant_broken' }),
  message: Type.String({ description: 'what is wrong' }),
  where: Type.Union([Type.String(), Type.Null()]),
  hint: Type.Union([Type.String(), Type.Null()], { description: 'how to correct the request' }),
});

/** Body of every answer that is not a success. */
export const ApiError = Type.Object({ error }, { description: 'the request is wrong' });
export type ApiError = Static<typeof ApiError>;
