/** Writes and waits until it is handed over: a pipe takes its time, and process.exit would cut the rest off. */
export function writeAll(stream: NodeJS.WritableStream, text: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => (error ? reject(error) : resolve()));
  });
}
