import type { Cell } from './cells.ts';
import type { Lab } from './lab.ts';

/** What no row of the truth table can say: load, loss, crashes, real VMMs, and hosts that cannot be traced. */
export interface Trial {
  name: string;
  title: string;
  /**
   * The guest that it runs in: by itself in one that traces (`own`), in one without a collector that it shares with others of its
   * kind (`untraced`), or, where nothing is said, with other trials in one that traces.
   */
  guest?: 'own' | 'untraced';
  /** True for the cells that it is tried on. */
  belongs(cell: Cell): boolean;
  /** True for the cells of those on which `all` tries it; default all of them. */
  everyday?(cell: Cell): boolean;
  run(lab: Lab, say: (line: string) => void): Promise<void>;
}
