// A chain of responses, and items of it referred to by their ids.
import OpenAI from 'openai';
import { input, tell } from './told.mjs';

const client = new OpenAI({ maxRetries: 0 });
const first = await client.responses.create({ model: 'reasoning', input: 'One' });
const second = await client.responses.create({ model: 'echo', input: 'Two', previous_response_id: first.id });
const message = first.output.find((item) => item.type === 'message');
const third = await client.responses.create({
  model: 'echo',
  input: [{ type: 'item_reference', id: message.id }, { role: 'user', content: `Three tag=${input.tag}` }],
});

tell({ first: first.output_text, second: second.output_text, third: third.output_text });
