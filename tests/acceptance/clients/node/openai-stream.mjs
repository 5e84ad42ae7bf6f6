// A streamed answer: event by event, and through the stream helper.
import OpenAI from 'openai';
import { input, tell } from './told.mjs';

const client = new OpenAI({ maxRetries: 0 });

const types = [];
for await (const event of await client.responses.create({ model: input.model, input: input.text, stream: true })) {
  types.push(event.type);
}

const snapshots = [];
const stream = client.responses
  .stream({ model: input.model, input: input.text })
  .on('response.output_text.delta', (event) => snapshots.push(event.snapshot));
const final = await stream.finalResponse();
const stored = await client.responses.retrieve(final.id);

tell({ types, snapshots, text: final.output_text, status: final.status, stored: stored.output_text });
