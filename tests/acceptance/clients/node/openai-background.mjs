// A stream in the background that is left and taken up again, asked for until it has ended, and one that is cancelled.
import OpenAI from 'openai';
import { input, tell } from './told.mjs';

const client = new OpenAI({ maxRetries: 0 });

const first = [];
const begun = await client.responses.create({ model: 'echo', input: input.text, background: true, stream: true });
for await (const event of begun) {
  first.push(event);
  if (event.type === 'response.in_progress') break;
}
const id = first[0].response.id;
const last = first.at(-1).sequence_number;

const rest = [];
for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: last })) rest.push(event);
const helped = await client.responses.stream({ response_id: id, starting_after: last }).finalResponse();

let polled = await client.responses.create({ model: 'echo', input: input.text, background: true });
while (polled.status === 'queued' || polled.status === 'in_progress') polled = await client.responses.retrieve(polled.id);

const hanging = await client.responses.create({ model: 'hang', input: 'Hello', background: true });
const cancelled = await client.responses.cancel(hanging.id);

tell({
  events: [...first, ...rest],
  helped: helped.output_text,
  polled: polled.output_text,
  cancelled: cancelled.status,
});
