// A tool loop, whole or streamed, and a further turn upon it; what was said goes back as references to stored items.
import { openai } from '@ai-sdk/openai';
import { generateText, isStepCount, streamText, tool } from 'ai';
import { z } from 'zod';
import { input, tell } from './told.mjs';

const get_weather = tool({
  description: 'The weather now',
  inputSchema: z.object({ city: z.string() }),
  execute: async ({ city }) => `sunny in ${city}`,
});
const providerOptions = { openai: { store: input.store } };
const messages = [{ role: 'user', content: 'Weather?' }];
const question = { model: openai(input.model), messages, tools: { get_weather }, stopWhen: isStepCount(3), providerOptions };

const run = async () => {
  if (!input.streamed) return generateText({ ...question, maxRetries: 0 });
  const stream = streamText({ ...question, maxRetries: 0 });
  await stream.consumeStream();
  return { text: await stream.text, steps: await stream.steps, responseMessages: await stream.responseMessages };
};
const { text, steps, responseMessages } = await run();

const thanks = await generateText({
  model: openai('echo'),
  messages: [...messages, ...responseMessages, { role: 'user', content: `Thanks tag=${input.tag}` }],
  providerOptions,
  include: { requestBody: true },
  maxRetries: 0,
});
const sent = typeof thanks.request.body === 'string' ? JSON.parse(thanks.request.body) : thanks.request.body;

tell({
  text,
  cities: steps.flatMap((step) => step.toolCalls.map((call) => call.input.city)),
  thanks: thanks.text,
  references: sent.input.filter((item) => item.type === 'item_reference').length,
});
