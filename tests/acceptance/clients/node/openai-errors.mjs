// What a user catches.
import OpenAI from 'openai';
import { tell } from './told.mjs';

const client = new OpenAI({ maxRetries: 0 });
const caught = async (work) => {
  try {
    await work();
  } catch (error) {
    const { status, code, param, message } = error;
    return { kind: error.constructor.name, status, code, param, message, hasRequestId: Boolean(error.requestID) };
  }
};
const readAll = async (stream) => {
  for await (const _ of stream);
};

tell({
  unknownConversation: await caught(() =>
    client.responses.create({ model: 'echo', input: 'Hello', conversation: `conv_${'0'.repeat(48)}` }),
  ),
  unknownModel: await caught(() => client.responses.create({ model: 'none', input: 'Hello', stream: true })),
  rateLimit: await caught(() => client.responses.create({ model: 'status-429', input: 'Hello' })),
  midStream: await caught(async () =>
    readAll(await client.responses.create({ model: 'error-mid', input: 'Hello', stream: true })),
  ),
});
