import type { ProbeState } from '../../stream/wire.ts';

/** What a change of the loaded modules has done to the probes of the program that runs. */
export interface ModuleChange {
  probes: ProbeState[];
  /** Those whose functions may be called unseen until another program takes over: of a module that is away none can be. */
  blind: string[];
}

/** `next` are the probes of the program for the host as it is now; null where the running one has lost and lacks nothing. */
export function moduleChange(
  running: readonly ProbeState[],
  next: readonly ProbeState[],
  changed: ReadonlySet<string>,
): ModuleChange | null {
  const touched = ({ attached, module }: ProbeState): boolean =>
    attached && module !== null && changed.has(module);
  const blind = [...new Set(next.filter(touched).map(({ probe }) => probe))];
  if (!running.some(touched) && blind.length === 0) return null;
  const probes = running.map((state) => {
    const isBlind = blind.includes(state.probe);
    if (!touched(state) && !(isBlind && !state.attached)) return state;
    const what = isBlind ? 'loaded' : 'unloaded';
    return {
      ...state,
      attached: false,
      reason: `its module was ${what}; a new program is about to take over`,
    };
  });
  return { probes, blind };
}
