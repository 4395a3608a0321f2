// Loaded before the program that `npm run dev` starts. It reports the port where the program listens, and stops the program
// when its parent ends in any way, also by SIGKILL: then the channel between them closes.
import { Server } from 'node:net';

const { listen } = Server.prototype;
Server.prototype.listen = function (...args) {
  this.once('listening', () => process.send?.({ port: this.address().port }));
  return listen.apply(this, args);
};
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'));
