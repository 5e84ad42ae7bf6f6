// generateText and streamText, with reasoning where the model thinks.
import { openai } from '@ai-sdk/openai';
import { generateText, streamText } from 'ai';
import { input, tell } from './told.mjs';

const providerOptions = { openai: { reasoningSummary: 'auto', forceReasoning: true } };
const question = { model: openai(input.model), instructions: input.instructions, prompt: input.text, providerOptions };

const whole = await generateText({ ...question, maxRetries: 0 });
const stream = streamText({ ...question, maxRetries: 0 });
const pieces = [];
for await (const piece of stream.textStream) pieces.push(piece);

tell({
  text: whole.text,
  reasoning: whole.reasoningText ?? null,
  finishReason: whole.finishReason,
  tokens: whole.usage.totalTokens,
  warnings: whole.warnings,
  pieces,
  streamedReasoning: (await stream.reasoningText) ?? null,
  streamedFinishReason: await stream.finishReason,
});
