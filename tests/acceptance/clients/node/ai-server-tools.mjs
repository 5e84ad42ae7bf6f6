// A tool that the server runs: the provider executes it, and the next question is asked upon what it said.
import { openai } from '@ai-sdk/openai';
import { generateText, streamText } from 'ai';
import { input, tell } from './told.mjs';

const tools = {
  mcp: openai.tools.mcp({ serverLabel: 'house', serverUrl: input.url, requireApproval: 'never' }),
};
const messages = [{ role: 'user', content: input.text }];
const question = { model: openai('scripted'), messages, tools, maxRetries: 0 };

const run = async () => {
  if (!input.streamed) return generateText(question);
  const stream = streamText(question);
  await stream.consumeStream();
  return {
    text: await stream.text,
    toolCalls: await stream.toolCalls,
    toolResults: await stream.toolResults,
    responseMessages: await stream.responseMessages,
  };
};
const first = await run();

const thanks = await generateText({
  model: openai('echo'),
  messages: [...messages, ...first.responseMessages, { role: 'user', content: `Thanks tag=${input.tag}-2` }],
  tools,
  maxRetries: 0,
});

tell({
  text: first.text,
  executed: first.toolCalls.map((call) => call.providerExecuted),
  outputs: first.toolResults.map((result) => result.output.output),
  thanks: thanks.text,
});
