// A chat whose state the server keeps: by the last response's id, and in a conversation.
import { openai } from '@ai-sdk/openai';
import { generateText } from 'ai';
import OpenAI from 'openai';
import { tell } from './told.mjs';

const ask = (prompt, options) =>
  generateText({ model: openai('echo'), prompt, providerOptions: { openai: options }, maxRetries: 0 });

const first = await ask('One', {});
const second = await ask('Two', { previousResponseId: first.providerMetadata.openai.responseId });

const { id: conversation } = await new OpenAI().conversations.create();
const third = await ask('Three', { conversation });
const fourth = await ask('Four', { conversation });

tell({ chained: [first.text, second.text], kept: [third.text, fourth.text] });
