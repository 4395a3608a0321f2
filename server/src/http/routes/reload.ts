import { TracerError } from '../../lib/errors.ts';
import { errorResponses, sendError } from '../error.ts';
import type { AppPlugin } from '../plugin.ts';
import { NoQuery, plainText } from './query.ts';

/** Reloads the settings, like SIGHUP. Off by default, because every client that can connect could use it. */
export const reloadRoute: AppPlugin = (app, options, done) => {
  app.post(
    '/-/reload',
    {
      schema: {
        tags: ['tracer'],
        summary: 'reads the settings and the web configuration file again; needs --web.enable-lifecycle',
        querystring: NoQuery,
        response: { 200: plainText('the settings that changed'), ...errorResponses },
      },
    },
    async (request, reply) => {
      const { reload } = options;
      if (reload === undefined) {
        const remedy = 'start the daemon with --web.enable-lifecycle, or send SIGHUP to its process';
        return sendError(reply, 403, new TracerError('bad_request', 'reload by HTTP is off', { remedy }));
      }
      // A browser sends this header with each POST. No page needs this route, so a page of another site must not use it.
      if (request.headers.origin !== undefined) {
        const remedy = 'use curl -X POST, or send SIGHUP to the process of the daemon';
        return sendError(reply, 403, new TracerError('bad_request', 'a web page cannot reload', { remedy }));
      }
      try {
        const { changed, needRestart } = await reload();
        const list = (keys: readonly string[]): string => (keys.length === 0 ? 'none' : keys.join(', '));
        reply.type('text/plain; charset=utf-8');
        return reply.send(`reloaded\nchanged: ${list(changed)}\nneed a restart: ${list(needRestart)}\n`);
      } catch (error) {
        // Not a 400: the request is right, the file is wrong.
        if (error instanceof TracerError) return sendError(reply, 500, error);
        throw error;
      }
    },
  );
  done();
};
