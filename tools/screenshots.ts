// Writes screenshots of the page to docs/images, from a running daemon (--url) or from a replayed recording.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { freePort } from '../lab/src/free-port.ts';
import { ensurePackages } from '../lab/src/host-packages.ts';
import { withPalette } from './png-palette.ts';

const REPOSITORY = join(import.meta.dirname, '..');
const LIMIT = 200_000;
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
const QUIET = [
  '--disable-lcd-text',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const SHOTS = (['light', 'dark'] as const).flatMap((colorScheme) => [
  { name: `page-${colorScheme}-1440`, colorScheme, width: 1440, height: 1000, hash: '' },
  { name: `page-${colorScheme}-390`, colorScheme, width: 390, height: 844, hash: '' },
]);

const { values } = parseArgs({
  options: {
    url: { type: 'string' },
    recording: { type: 'string', default: 'recordings/private-offered.ndjson' },
    out: { type: 'string', default: join(REPOSITORY, 'docs/images') },
    buffer: { type: 'string' },
    reason: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  console.log(`npm run screenshots -- [--url URL | --recording FILE] [--out FOLDER] [--buffer INODE] [--reason NAME]
Writes page-{light,dark}-{1440,390}.png, and with --buffer or --reason page-buffer.png and page-reason.png.`);
  process.exit(0);
}
const extra = [
  ...(values.buffer === undefined ? [] : [['page-buffer', `#buffer=${values.buffer}`] as const]),
  ...(values.reason === undefined ? [] : [['page-reason', `#reason=${values.reason}`] as const]),
].map(([name, hash]) => ({ name, colorScheme: 'light' as const, width: 1440, height: 900, hash }));

/** Copies the recording up to its first release. At its end all buffers are released, so the page would be empty. */
function beforeRelease(recording: string): string {
  const lines = readFileSync(recording, 'utf8').split('\n');
  const release = lines.findIndex((line) =>
    line.replaceAll(' ', '').startsWith('{"type":"value","data":[3,'),
  );
  const path = join(mkdtempSync(join(tmpdir(), 'screenshots-')), basename(recording));
  writeFileSync(path, `${lines.slice(0, release === -1 ? undefined : release).join('\n')}\n`);
  return path;
}

/** Replays the recording with the built program on a free port. `end` stops it. */
async function replay(original: string): Promise<{ url: string; end: () => void }> {
  const recording = beforeRelease(original);
  const port = await freePort();
  const program = join(REPOSITORY, 'dist/vfio-dmabuf-tracer.mjs');
  const args = [program, 'replay', recording, `--web.listen-address=127.0.0.1:${port}`];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
  const url = `http://127.0.0.1:${port}`;
  for (let tries = 0; ; tries += 1) {
    const ready = await fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (ready) {
      const end = (): void => {
        child.kill();
        rmSync(dirname(recording), { recursive: true });
      };
      return { url, end };
    }
    if (child.exitCode !== null || tries > 150) throw new Error(`cannot serve ${recording}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

await ensurePackages(['chromium'], console.log);
const served = values.url === undefined ? await replay(values.recording) : { url: values.url, end: () => {} };
mkdirSync(values.out, { recursive: true });
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: [...FLAGS, ...QUIET] });
try {
  for (const { name, colorScheme, width, height, hash } of [...SHOTS, ...extra]) {
    // Reduced motion, so that a smooth scroll ends at once.
    const context = await browser.newContext({
      colorScheme,
      viewport: { width, height },
      reducedMotion: 'reduce',
    });
    const page = await context.newPage();
    await page.goto(new URL(hash, `${served.url}/`).href);
    await page.locator('.headline').waitFor();
    await page.locator('.plot-legend, #rates .empty').first().waitFor();
    await page.waitForTimeout(500);
    const path = join(values.out, `${name}.png`);
    const png = withPalette(await page.screenshot());
    await context.close();
    writeFileSync(path, png);
    const size = png.length;
    console.log(`${path}: ${Math.round(size / 1000)} KB`);
    if (size > LIMIT)
      throw new Error(`${path} has ${size} bytes; the limit for an image in the repository is ${LIMIT}`);
  }
} finally {
  await browser.close();
  served.end();
}
