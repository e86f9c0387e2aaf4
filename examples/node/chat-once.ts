/**
 * Asks a model one question and prints the answer as it comes.
 *
 *   npx tsx examples/node/chat-once.ts "What is WebGPU?" [model folder]
 */
import { loadModel, MowgliError } from '../../src/node.ts'; // in your own project: 'mowgli-llm'

const [question = 'What is WebGPU?', folder = 'models/tiny-coder'] = process.argv.slice(2);
const interrupt = new AbortController();
process.once('SIGINT', () => interrupt.abort());

try {
  const model = await loadModel(folder, { signal: interrupt.signal });
  try {
    const messages = [{ role: 'user', content: question }] as const;
    const options = { maxTokens: 300, signal: interrupt.signal };
    for await (const part of model.generate(messages, options)) {
      if (part.type === 'text') process.stdout.write(part.text);
      else console.error(`\n${part.usage.completionTokensPerSecond.toFixed(1)} tokens/s`);
    }
  } finally {
    await model.dispose();
  }
} catch (error) {
  if (!(error instanceof MowgliError)) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
}
process.exit(); // Dawn keeps threads; ending outright is the clean way.
