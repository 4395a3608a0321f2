import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { ensurePackages } from '../../../lab/src/host-packages.ts';
import { eventually } from '../fixtures/eventually.ts';

/** A shell in a real terminal of tmux, on a separate tmux server that ends with the test. */
export class Terminal {
  readonly #socket = `test-${randomBytes(6).toString('hex')}`;

  static async open(t: TestContext, columns: number, rows: number): Promise<Terminal> {
    await ensurePackages(['tmux'], (line) => t.diagnostic(line));
    const terminal = new Terminal();
    const size = ['-x', String(columns), '-y', String(rows)];
    terminal.#tmux('new-session', '-d', ...size, 'env', 'PS1=$ ', 'ENV=', 'sh');
    t.after(() => terminal.#tmux('kill-server'));
    return terminal;
  }

  /** Presses keys, by their names in tmux. */
  press(...keys: string[]): void {
    this.#tmux('send-keys', ...keys);
  }

  /** Types a text literally. */
  type(text: string): void {
    this.#tmux('send-keys', '-l', text);
  }

  run(command: string): void {
    this.type(command);
    this.press('Enter');
  }

  resize(columns: number, rows: number): void {
    this.#tmux('resize-window', '-x', String(columns), '-y', String(rows));
  }

  /** The current lines of the screen. */
  get lines(): string[] {
    return this.#tmux('capture-pane', '-p').replace(/\n$/, '').split('\n');
  }

  /** Whether the alternate screen and the cursor are shown. */
  get mode(): { alternate: boolean; cursor: boolean } {
    const [alternate, cursor] = this.#tmux('display-message', '-p', '#{alternate_on} #{cursor_flag}')
      .trim()
      .split(' ');
    return { alternate: alternate === '1', cursor: cursor === '1' };
  }

  /** The number of the process that the shell waits for. */
  get foreground(): number {
    const shell = this.#tmux('display-message', '-p', '#{pane_pid}').trim();
    const children = readFileSync(`/proc/${shell}/task/${shell}/children`, 'utf8').trim().split(' ');
    assert.equal(children.length, 1);
    return Number(children[0]);
  }

  /** Copies everything that is sent to the terminal from now on to this file. */
  record(path: string): void {
    this.#tmux('pipe-pane', `cat > '${path}'`);
  }

  async until(condition: (text: string) => boolean, what: string): Promise<void> {
    await eventually(() => {
      const text = this.lines.join('\n');
      assert.ok(condition(text), `timed out while waiting for ${what}:\n${text}`);
    }, 50);
  }

  #tmux(...args: string[]): string {
    const env = { ...process.env, LANG: 'C.UTF-8', TMUX: '' };
    return execFileSync('tmux', ['-u', '-L', this.#socket, '-f', '/dev/null', ...args], {
      encoding: 'utf8',
      env,
    });
  }
}
