export interface Message {
  event: string;
  id: string;
  data: string;
}

/** Length limit of one message, in characters. An incident with thousands of importers is shorter. */
const LONGEST_MESSAGE = 16 << 20;

/**
 * Yields the messages of server-sent events that have an id. Chunks may be cut anywhere. A message without data has only the id.
 *
 * @throws RangeError if a message is longer than 16 Mi characters: its end may never arrive
 */
export async function* messagesOf(chunks: AsyncIterable<string>): AsyncGenerator<Message> {
  let rest = '';
  for await (const chunk of chunks) {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
    if (rest.length > LONGEST_MESSAGE) throw new RangeError('a message of the stream has no end');
    for (const block of blocks) {
      const message: Message = { event: 'message', id: '', data: '' };
      for (const line of block.split('\n')) {
        const [, field, value = ''] = /^(event|id|data): ?(.*)$/.exec(line) ?? [];
        if (field !== undefined) message[field as keyof Message] = value;
      }
      if (message.id !== '') yield message;
    }
  }
}
