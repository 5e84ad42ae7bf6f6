// Structured output, whole and growing.
import { openai } from '@ai-sdk/openai';
import { generateText, Output, streamText } from 'ai';
import { z } from 'zod';
import { input, tell } from './told.mjs';

const output = Output.object({ schema: z.object({ city: z.string(), n: z.number() }) });
const question = { model: openai('json'), prompt: `Where? tag=${input.tag}`, output, maxRetries: 0 };
const whole = await generateText(question);
const stream = streamText(question);
const grown = [];
for await (const partial of stream.partialOutputStream) grown.push(partial);

tell({ whole: whole.output, grown, streamed: await stream.output });
