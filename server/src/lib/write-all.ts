/** Writes and waits for the completion. A write to a pipe may be pending, and process.exit() would truncate it. */
export function writeAll(stream: NodeJS.WritableStream, text: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(text, (error) => (error ? reject(error) : resolve()));
  });
}
