// A conversation of many items: filled, read page by page without noticing, answered, corrected and removed.
import OpenAI from 'openai';
import { input, tell } from './told.mjs';

const client = new OpenAI({ maxRetries: 0 });
const all = async (pages) => {
  const items = [];
  for await (const item of pages) items.push(item);
  return items;
};
const texts = (items) => items.map((item) => item.content[0].text);

const conversation = await client.conversations.create({ metadata: { topic: 'numbers' } });
for (let start = 0; start < input.count; start += 20) {
  const numbers = Array.from({ length: Math.min(20, input.count - start) }, (_, offset) => start + offset);
  await client.conversations.items.create(conversation.id, {
    items: numbers.map((number) => ({ role: 'user', content: String(number) })),
  });
}

const answer = await client.responses.create({ model: 'echo', input: 'How many?', conversation: conversation.id });
const oldestFirst = await all(client.conversations.items.list(conversation.id, { order: 'asc', limit: 7 }));
const newestFirst = await all(client.conversations.items.list(conversation.id));
const context = await all(client.responses.inputItems.list(answer.id, { order: 'asc', limit: 9 }));

const last = oldestFirst.at(-1);
await client.conversations.items.delete(last.id, { conversation_id: conversation.id });
const updated = await client.conversations.update(conversation.id, { metadata: { topic: 'counting' } });
const left = await all(client.conversations.items.list(conversation.id, { limit: 100 }));
const deleted = await client.conversations.delete(conversation.id);
const gone = await client.conversations.retrieve(conversation.id).catch((error) => error);

tell({
  answer: answer.output_text,
  oldestFirst: texts(oldestFirst),
  newestFirst: texts(newestFirst),
  context: texts(context),
  lastIsTheAnswers: last.id === answer.output[0].id,
  left: left.length,
  metadata: updated.metadata,
  deleted: deleted.deleted,
  gone: gone instanceof OpenAI.NotFoundError,
});
