/** One message of a stream of server-sent events. */
export interface Message {
  event: string;
  id: string;
  data: string;
}

/** Splits the chunks of a stream into messages. The server writes one data line for each message. Comments are skipped. */
export class MessageSplitter {
  #rest = '';

  push(text: string): Message[] {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop() ?? '';
    return blocks.flatMap((block) => {
      const message = { event: 'message', id: '', data: '' };
      for (const line of block.split('\n')) {
        const match = /^(event|id|data): ?(.*)$/.exec(line);
        if (match !== null) message[match[1] as keyof Message] = match[2] ?? '';
      }
      return message.data === '' ? [] : [message];
    });
  }
}
