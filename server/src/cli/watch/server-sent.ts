export interface Message {
  event: string;
  id: string;
  data: string;
}

/** Characters of one message: an incident with thousands of importers is below it. */
const LONGEST_MESSAGE = 16 << 20;

/**
 * The messages with an id of a text of server-sent events, whose chunks may be cut anywhere; one without data only has the id.
 *
 * @throws RangeError where one message is longer than 16 Mi characters: its end may never come
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
