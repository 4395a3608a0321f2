import type { Term } from './condition.ts';
import type { Prelude } from './prelude.ts';

/** One file of probes/: the parsed header, and the bpftrace text below it with the number of its first line. */
export interface Fragment {
  name: string;
  file: string;
  hooks: string;
  needs: Term[];
  emits: string[];
  maps: string[];
  text: string;
  firstLine: number;
}

/** Text that replaces `{{use:NAME}}`, and the variables that go in and out, without the `$`. */
export interface Snippet {
  file: string;
  inputs: { names: string[]; where: string };
  outputs: { names: string[]; where: string };
  text: string;
  firstLine: number;
}

/** All files below probes/. */
export interface FragmentSet {
  /** Composed into the long-running program, in alphabetical order of their files. */
  probes: Fragment[];
  /** Separate programs, by name. */
  oneshots: ReadonlyMap<string, Fragment>;
  snippets: ReadonlyMap<string, Snippet>;
  prelude: Prelude;
}
