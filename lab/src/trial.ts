import type { Cell } from './cells.ts';
import type { Lab } from './lab.ts';

/** What no row of the truth table can say: load, loss, crashes, real VMMs, and hosts that cannot be traced. */
export interface Trial {
  name: string;
  title: string;
  /** True for the cells that it is tried on. */
  belongs(cell: Cell): boolean;
  run(lab: Lab, say: (line: string) => void): Promise<void>;
}
