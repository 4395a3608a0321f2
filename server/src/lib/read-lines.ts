/** Calls `onLine` with each line of the text, without its line feed. The last line may lack one. */
export async function readLines(
  chunks: AsyncIterable<string>,
  onLine: (line: string) => void,
): Promise<void> {
  let rest = '';
  for await (const chunk of chunks) {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  }
  if (rest !== '') onLine(rest);
}
