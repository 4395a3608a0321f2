import type { Cell } from './cells.ts';
import type { Lab } from './lab.ts';

/**
 * A test that is not a scenario of the truth table: load, loss, crashes, real VMMs, and hosts that cannot be traced.
 */
export interface Trial {
  name: string;
  title: string;
  /**
   * Its guest: `own` is a tracing guest for this trial alone, `untraced` a guest without a collector that such trials
   * share, `systemd` one whose init is systemd. By default it shares a tracing guest with other trials.
   */
  guest?: 'own' | 'untraced' | 'systemd';
  /** Whether it runs on the cell. */
  belongs(cell: Cell): boolean;
  /** Whether `all` runs it on the cell; default true. Asked only for cells for which `belongs` is true. */
  everyday?(cell: Cell): boolean;
  run(lab: Lab, log: (line: string) => void): Promise<void>;
}
