// node replays.mjs PROGRAM WHAT RECORDING...: runs `PROGRAM replay RECORDING --print WHAT` for each recording in this one process,
// because the start of a process takes longer than most replays. Before each output it writes a line of JSON: the name, the exit
// code and the length of the output in bytes.
import { pathToFileURL } from 'node:url';

const [program, what, ...recordings] = process.argv.slice(2);
const { exit, stdout, stderr } = process;
// Each run of the program adds listeners for a reader that closes the pipe.
for (const stream of [stdout, stderr]) stream.setMaxListeners(0);
const write = stdout.write.bind(stdout);
let printed = [];
stdout.write = (chunk, ...rest) => {
  printed.push(Buffer.from(chunk));
  rest.at(-1)?.();
  return true;
};
for (const [index, recording] of recordings.entries()) {
  process.argv = [process.execPath, program, 'replay', recording, '--print', what];
  let code;
  process.exit = (given) => {
    code = given;
  };
  await import(`${pathToFileURL(program).href}?run=${index}`);
  const output = Buffer.concat(printed);
  printed = [];
  write(`${JSON.stringify({ recording, code, bytes: output.length })}\n`);
  write(output);
}
process.exit = exit;
