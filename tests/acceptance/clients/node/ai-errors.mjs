// What a user catches.
import { openai } from '@ai-sdk/openai';
import { generateText, streamText } from 'ai';
import { tell } from './told.mjs';

const caught = async (model) => {
  try {
    await generateText({ model: openai(model), prompt: 'Hello', maxRetries: 0 });
  } catch (error) {
    return { name: error.name, status: error.statusCode, message: error.message, retryable: error.isRetryable };
  }
};

const errors = [];
const stream = streamText({
  model: openai('error-mid'),
  prompt: 'Hello',
  maxRetries: 0,
  onError: ({ error }) => errors.push(error.message ?? String(error)),
});
await stream.consumeStream();

tell({ refused: await caught('status-400'), unknown: await caught('none'), limited: await caught('status-429'), errors });
