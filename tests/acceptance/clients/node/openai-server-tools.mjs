// Tools that the server runs: it asks for leave, the user agrees, and the turn goes on; then count and compact.
import OpenAI from 'openai';
import { input, tell } from './told.mjs';

const client = new OpenAI({ maxRetries: 0 });
const tools = [{ type: 'mcp', server_label: 'house', server_url: input.url, require_approval: 'always' }];

const first = await client.responses.create({ model: 'scripted', input: input.text, tools });
const request = first.output.find((item) => item.type === 'mcp_approval_request');
const stream = client.responses.stream({
  model: 'scripted',
  input: [{ type: 'mcp_approval_response', approval_request_id: request.id, approve: true }],
  previous_response_id: first.id,
  tools,
});
const types = [];
for await (const event of stream) types.push(event.type);
const second = await stream.finalResponse();

const counted = await client.responses.inputTokens.count({ model: 'echo', input: 'Hello there' });
const context = [];
for await (const item of client.responses.inputItems.list(second.id, { limit: 2 })) context.push(item.type);

tell({
  asked: request.name,
  types: types.filter((type) => type.startsWith('response.mcp_')),
  call: second.output.find((item) => item.type === 'mcp_call').output,
  text: second.output_text,
  tokens: counted.input_tokens,
  context,
});
