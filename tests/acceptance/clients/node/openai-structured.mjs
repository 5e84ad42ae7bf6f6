// Structured output, whole and from a stream.
import OpenAI from 'openai';
import { zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';
import { tell } from './told.mjs';

const client = new OpenAI({ maxRetries: 0 });
const question = {
  model: 'json',
  input: 'Where?',
  text: { format: zodTextFormat(z.object({ city: z.string(), n: z.number() }), 'place') },
};
const parsed = await client.responses.parse(question);
const streamed = await client.responses.stream(question).finalResponse();

tell({ parsed: parsed.output_parsed, streamed: streamed.output_parsed });
