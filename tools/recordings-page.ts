import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { RECORDINGS } from '../lab/src/groups.ts';
import { SCENARIOS } from '../lab/src/truth-table.ts';
import { markdownTable } from './markdown-table.ts';

export const RECORDINGS_PAGE = join(RECORDINGS, 'README.md');

/** Recordings that are not of a scenario. */
const OTHERS: Readonly<Record<string, string>> = {
  'busy-hour': 'an hour of a host with many VMs: `npm run lab -- busy-hour` records it',
};

/** The text of recordings/README.md. @throws Error for a recording of which no title is known. */
export function recordingsPage(): string {
  const files = new Map(
    readdirSync(RECORDINGS)
      .filter((file) => /\.ndjson(\.gz)?$/.test(file))
      .map((file) => [file.replace(/\.ndjson.*/, ''), file]),
  );
  // In the order of the scenarios, because a title may refer to the one before it.
  const titles = [...SCENARIOS.map(({ name, title }) => [name, title] as const), ...Object.entries(OTHERS)];
  const rows = titles.flatMap(([name, title]) => {
    const file = files.get(name);
    files.delete(name);
    return file === undefined ? [] : [[`[${file}](${file})`, title.replaceAll('|', '\\|')]];
  });
  const [unknown] = files.values();
  if (unknown !== undefined) throw new Error(`no scenario of the lab has the name of recordings/${unknown}`);
  return `# Recordings

\`npm run docs\` writes this page from the scenarios of the lab; a test checks that it is up to date.

Each file is what the tracer recorded on a real kernel while the lab ran the scenario of that name.
\`NAME.metrics\` next to it has the metrics that result from it. Serve one with
\`node dist/vfio-dmabuf-tracer.mjs replay recordings/FILE\`. [stream.md](../docs/stream.md) describes
the format.

${markdownTable([['recording', 'what happens in it'], ...rows])}`;
}
