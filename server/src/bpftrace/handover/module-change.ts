import type { ProbeState } from '../../protocol/wire.ts';

/** How a change of the loaded modules affects the probes of the running program. */
export interface ModuleChange {
  probes: ProbeState[];
  /**
   * Probes that are blind until a new program takes over. A probe in an unloaded module is not: its functions cannot be
   * called.
   */
  blind: string[];
}

/**
 * @param next probes of the program that fits the host after the change
 * @returns null if the change affects no probe of the running program
 */
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
