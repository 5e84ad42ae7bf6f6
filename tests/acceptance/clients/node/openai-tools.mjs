// A tool loop with streamed calls, continued from response to response.
import OpenAI from 'openai';
import { zodResponsesFunction } from 'openai/helpers/zod';
import { z } from 'zod';
import { input, tell } from './told.mjs';

const client = new OpenAI({ maxRetries: 0 });
const tools = [zodResponsesFunction({ name: 'get_weather', parameters: z.object({ city: z.string() }) })];

const ask = async (what, previous) => {
  const stream = client.responses.stream({ model: input.model, input: what, tools, previous_response_id: previous });
  return stream.finalResponse();
};

const first = await ask('Weather?');
const calls = first.output.filter((item) => item.type === 'function_call');
const outputs = calls.map((call) => ({
  type: 'function_call_output',
  call_id: call.call_id,
  output: `sunny in ${call.parsed_arguments.city}`,
}));
const second = await ask(outputs, first.id);

tell({ cities: calls.map((call) => call.parsed_arguments.city), text: second.output_text });
