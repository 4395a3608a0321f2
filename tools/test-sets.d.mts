export const TEST_FOLDERS: readonly string[];
export const SETS: Readonly<Record<string, string>>;
export function setOf(file: string): string;
export function testsBelow(folder: string): string[];
export function allTests(): string[];
export function createReach(): (start: string) => Set<string>;
