// The frameworks that most applications are written with, unmodified, over the stateless doors.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Agent, hostedMcpTool, OpenAIChatCompletionsModel, OpenAIResponsesModel, run, setTracingDisabled, tool } from '@openai/agents';
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, jsonSchema, Output, stepCountIs, streamText, tool as aiTool } from 'ai';
import { z } from 'zod';
import { start } from '../node.mjs';

const call = 'Call get_weather with {"city":"Paris"}\nThen call get_weather with {"city":"Rome"}';

test('@openai/agents runs a loop of tools over both doors', async (t) => {
  setTracingDisabled(true);
  const { client } = await start(t);
  for (const model of [new OpenAIChatCompletionsModel(client, 'sim'), new OpenAIResponsesModel(client, 'sim')]) {
    const cities = [];
    const agent = new Agent({
      name: 'Weather', instructions: 'Be brief.', model, modelSettings: { store: false },
      tools: [tool({ name: 'get_weather', description: 'Tells the weather.', parameters: z.object({ city: z.string() }), execute: ({ city }) => { cities.push(city); return `sun in ${city}`; } })],
    });
    const result = await run(agent, call);
    assert.deepEqual(cities, ['Paris', 'Rome']);
    assert.match(result.finalOutput, /sun in Rome/);
    const streamed = await run(agent, 'Say one two three', { stream: true });
    let text = '';
    for await (const piece of streamed.toTextStream()) text += piece;
    assert.equal(text, 'one two three');
  }
});

test('@openai/agents approves a call of a tool server, with the history sent again or kept here', async (t) => {
  setTracingDisabled(true);
  const { client } = await start(t);
  const agent = new Agent({ name: 'Shop', model: new OpenAIResponsesModel(client, 'sim'), tools: [hostedMcpTool({ serverLabel: 'shop', requireApproval: 'always' })] });
  for (const conversationId of [undefined, (await client.conversations.create()).id]) {
    let result = await run(agent, 'Call refund_order with {"order":"1042","cents":1999}', { conversationId });
    assert.equal(result.interruptions.length, 1);
    result.state.approve(result.interruptions[0]);
    result = await run(agent, result.state, { conversationId });
    assert.equal(result.interruptions.length, 0);
    assert.match(result.finalOutput, /refund/);
    const calls = result.newItems.filter((i) => i.rawItem.providerData?.type === 'mcp_call');
    assert.deepEqual(calls.map((i) => [i.rawItem.status, i.rawItem.providerData.name]), [['completed', 'refund_order']]);
    if (!conversationId) { // the whole history: the call is not made again
      const again = await run(agent, [...result.history, { role: 'user', content: 'Say thanks' }]);
      assert.equal(again.finalOutput, 'thanks');
    }
  }
});

test('the AI SDK: text, streams, tools and structured output over both doors', async (t) => {
  const node = await start(t);
  const openai = createOpenAI({ baseURL: `${node.base}/v1`, apiKey: 'none', fetch: (url, init) => node.checked(url, init) });
  const providerOptions = { openai: { store: false } };
  for (const model of [openai.chat('sim'), openai.responses('sim')]) {
    const options = model.provider.endsWith('chat') ? {} : { providerOptions };
    const { text, usage } = await generateText({ model, prompt: 'Say hello', ...options });
    assert.equal(text, 'hello');
    assert.ok(usage.totalTokens > 0);

    let streamed = '';
    for await (const piece of streamText({ model, prompt: 'Say one two', ...options }).textStream) streamed += piece;
    assert.equal(streamed, 'one two');

    const tools = { get_weather: aiTool({ description: 'Tells the weather.', inputSchema: z.object({ city: z.string() }), execute: async ({ city }) => `sun in ${city}` }) };
    const loop = await generateText({ model, prompt: call, tools, stopWhen: stepCountIs(5), ...options });
    assert.match(loop.text, /sun in Paris[^]*sun in Rome/);

    const schema = jsonSchema({ type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false });
    const { output } = await generateText({ model, prompt: 'Where?', output: Output.object({ schema }), ...options });
    assert.equal(typeof output.city, 'string');
  }
  const { embedMany } = await import('ai');
  const { embeddings } = await embedMany({ model: openai.embedding('sim'), values: ['a', 'b'] });
  assert.equal(embeddings.length, 2);
});
