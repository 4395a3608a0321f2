// Preloaded into the program that `npm run dev` starts. It reports the port on which the program listens. It stops the
// program when the IPC channel closes, which happens whenever the parent ends, even by SIGKILL.
import { Server } from 'node:net';

const { listen } = Server.prototype;
Server.prototype.listen = function (...args) {
  this.once('listening', () => process.send?.({ port: this.address().port }));
  return listen.apply(this, args);
};
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
