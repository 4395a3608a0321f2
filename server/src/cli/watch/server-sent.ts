export interface Message {
  event: string;
  id: string;
  data: string;
}

/** The messages with an id of a text of server-sent events, whose chunks may be cut anywhere; one without data only tells the id. */
export async function* messagesOf(chunks: AsyncIterable<string>): AsyncGenerator<Message> {
  let rest = '';
  for await (const chunk of chunks) {
    const blocks = (rest + chunk).split('\n\n');
    rest = blocks.pop() ?? '';
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
