import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { all, start } from '../node.mjs';

const weather = {
  type: 'function', name: 'get_weather', description: 'Tells the weather.', strict: true,
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false },
};

test('responses: a chain with instructions, by previous_response_id', async (t) => {
  const { client } = await start(t);
  const first = await client.responses.create({ model: 'sim', instructions: 'Be brief.', input: 'Say hello', metadata: { a: 'b' }, temperature: 0.5 });
  assert.equal(first.output_text, 'hello');
  assert.deepEqual([first.status, first.object, first.instructions, first.metadata.a, first.temperature], ['completed', 'response', 'Be brief.', 'b', 0.5]);
  assert.ok(first.usage.total_tokens > 0);
  const second = await client.responses.create({ model: 'sim', previous_response_id: first.id, input: [{ role: 'user', content: 'Say bye' }] });
  assert.equal(second.output_text, 'bye');
  assert.equal(second.previous_response_id, first.id);
  assert.equal(second.instructions, null);
  const again = await client.responses.retrieve(second.id);
  assert.deepEqual(again.output, second.output);
  const texts = (await all(client.responses.inputItems.list(second.id, { order: 'asc', limit: 2 }))).map((i) => i.content[0].text);
  assert.deepEqual(texts, ['Say hello', 'hello', 'Say bye']);
  // Another answer to the first one: a branch.
  const branch = await client.responses.create({ model: 'sim', previous_response_id: first.id, input: 'Say left' });
  assert.equal(branch.output_text, 'left');
  assert.equal((await all(client.responses.inputItems.list(branch.id))).length, 3);
});

test('responses: functions are handed back and answered', async (t) => {
  const { client } = await start(t);
  const first = await client.responses.create({ model: 'sim', tools: [weather], input: 'Call get_weather with {"city":"Paris"}\nCall get_weather with {"city":"Rome"}' });
  assert.equal(first.status, 'completed');
  const calls = first.output.filter((i) => i.type === 'function_call');
  assert.deepEqual(calls.map((c) => JSON.parse(c.arguments).city), ['Paris', 'Rome']);
  await assert.rejects(
    client.responses.create({ model: 'sim', previous_response_id: first.id, input: 'and?' }),
    (e) => e instanceof OpenAI.BadRequestError && /No tool output found for function call/.test(e.message) && e.param === 'input',
  );
  const second = await client.responses.create({
    model: 'sim', tools: [weather], previous_response_id: first.id,
    input: calls.map((c) => ({ type: 'function_call_output', call_id: c.call_id, output: `sun in ${JSON.parse(c.arguments).city}` })),
  });
  assert.match(second.output_text, /sun in Paris[^]*sun in Rome/);
});

test('responses: the stream helper, structured output, and a stream that is resumed', async (t) => {
  const { client } = await start(t);
  const types = [];
  const stream = client.responses.stream({ model: 'sim', input: 'Think Well.\nSay one two three', reasoning: { summary: 'auto' } });
  for await (const event of stream) types.push(event.type);
  const final = await stream.finalResponse();
  assert.equal(final.output_text, 'one two three');
  assert.deepEqual(types.filter((x) => !x.endsWith('.delta')), [
    'response.created', 'response.in_progress',
    'response.output_item.added', 'response.reasoning_summary_part.added', 'response.reasoning_summary_text.done', 'response.reasoning_summary_part.done', 'response.output_item.done',
    'response.output_item.added', 'response.content_part.added', 'response.output_text.done', 'response.content_part.done', 'response.output_item.done',
    'response.completed',
  ]);

  // Again from every place, as often as there are events: each event once, the same as before.
  const whole = [];
  for await (const e of await client.responses.retrieve(final.id, { stream: true })) whole.push(e);
  const text = (events) => events.filter((e) => e.type === 'response.output_text.delta').map((e) => e.delta).join('');
  assert.equal(text(whole), 'one two three');
  for (const [n, e] of whole.entries()) {
    const rest = [];
    for await (const r of await client.responses.retrieve(final.id, { stream: true, starting_after: e.sequence_number })) rest.push(r);
    assert.deepEqual(rest, whole.slice(n + 1));
  }
  // From the middle of a text.
  const first = whole.find((e) => e.type === 'response.output_text.delta');
  const rest = [];
  for await (const r of await client.responses.retrieve(final.id, { stream: true, starting_after: first.sequence_number - first.delta.length + 2 })) rest.push(r);
  assert.equal(text(rest), text(whole).slice(2));

  const format = { type: 'json_schema', name: 'answer', strict: true, schema: { type: 'object', properties: { colour: { type: 'string', enum: ['red'] } }, required: ['colour'], additionalProperties: false } };
  const parsed = await client.responses.parse({ model: 'sim', input: 'Which colour?', text: { format } });
  assert.deepEqual(parsed.output_parsed, { colour: 'red' });
});

test('responses: a refusal is one, streamed, told again and carried on', async (t) => {
  const { client } = await start(t);
  const refusal = [{ type: 'refusal', refusal: 'I will not.' }];
  const stream = client.responses.stream({ model: 'sim', input: 'Refuse I will not.' });
  let said = '';
  for await (const event of stream) if (event.type === 'response.refusal.delta') said += event.delta;
  const first = await stream.finalResponse();
  assert.deepEqual([said, first.output_text, first.output[0].content[0].type, first.output[0].content[0].refusal], ['I will not.', '', 'refusal', 'I will not.']);
  const again = [];
  for await (const event of await client.responses.retrieve(first.id, { stream: true })) again.push(event);
  assert.equal(again.find((e) => e.type === 'response.refusal.done').refusal, 'I will not.');
  const next = await client.responses.create({ model: 'sim', previous_response_id: first.id, input: 'Say hello' });
  assert.equal(next.output_text, 'hello');
  assert.deepEqual((await all(client.responses.inputItems.list(next.id, { order: 'asc' })))[1].content, refusal);
  const chat = await client.chat.completions.create({ model: 'sim', messages: [{ role: 'user', content: 'Refuse I will not.' }] });
  assert.deepEqual([chat.choices[0].message.content, chat.choices[0].message.refusal], [null, 'I will not.']);
});

test('responses: a call of a tool server is approved by the next response', async (t) => {
  const { client } = await start(t);
  const tools = [{ type: 'mcp', server_label: 'shop', require_approval: { always: { tool_names: ['refund_order'] } } }];
  const ask = () => client.responses.create({ model: 'sim', tools, input: 'Call refund_order with {"order":"1042","cents":1999}' });
  const first = await ask();
  assert.deepEqual([first.status, first.output.map((i) => i.type)], ['completed', ['mcp_list_tools', 'mcp_approval_request']]);
  const [list, request] = first.output;
  assert.deepEqual([list.server_label, list.error, list.tools.find((x) => x.name === 'refund_order').input_schema.type], ['shop', null, 'object']);
  assert.deepEqual([request.server_label, request.name, JSON.parse(request.arguments).cents], ['shop', 'refund_order', 1999]);
  const answer = { type: 'mcp_approval_response', approval_request_id: request.id, approve: true };
  const types = [];
  const stream = client.responses.stream({ model: 'sim', tools, previous_response_id: first.id, input: [answer] });
  for await (const event of stream) types.push(event.type);
  const second = await stream.finalResponse();
  const call = second.output.find((i) => i.type === 'mcp_call');
  assert.deepEqual([call.status, call.approval_request_id, second.output.at(-1).type], ['completed', request.id, 'message']);
  assert.ok(types.includes('response.mcp_call.completed'), types.join());
  assert.deepEqual((await client.responses.retrieve(second.id)).output.map((i) => i.id), second.output.map((i) => i.id));
  const kinds = (await all(client.responses.inputItems.list(second.id, { order: 'asc' }))).map((i) => i.type);
  assert.deepEqual(kinds, ['message', 'mcp_list_tools', 'mcp_approval_request', 'mcp_approval_response']);
  assert.ok(!types.includes('response.mcp_list_tools.completed'), 'a list is shown once');
  await assert.rejects(
    client.responses.create({ model: 'sim', tools, previous_response_id: first.id, input: [answer] }),
    (e) => e instanceof OpenAI.BadRequestError && e.param === 'input[0].approval_request_id',
  );
  const other = await ask();
  const denied = await client.responses.create({
    model: 'sim', tools, previous_response_id: other.id, input: [{ ...answer, approval_request_id: other.output[1].id, approve: false, reason: 'too much' }],
  });
  assert.match(denied.output_text, /not approved. Reason: too much/);
  // In a conversation, whose items show both.
  const c = await client.conversations.create();
  const asked = await client.responses.create({ model: 'sim', tools, conversation: c.id, input: 'Call refund_order with {"order":"1043","cents":5}' });
  const made = await client.responses.create({ model: 'sim', tools, conversation: c.id, input: [{ ...answer, approval_request_id: asked.output[1].id }] });
  assert.equal(made.output[0].status, 'completed');
  assert.deepEqual((await all(client.conversations.items.list(c.id, { order: 'asc', limit: 2 }))).map((i) => i.type), ['message', 'mcp_list_tools', 'mcp_approval_request', 'mcp_approval_response', 'mcp_call', 'message']);
});

test('responses: the tools of a tool server are listed, streamed, and taken back', async (t) => {
  const { client } = await start(t);
  const tools = [{ type: 'mcp', server_label: 'shop', require_approval: 'never' }, { type: 'mcp', server_label: 'gone', server_url: 'http://127.0.0.1:9/mcp', require_approval: 'never' }];
  const events = [];
  const stream = client.responses.stream({ model: 'sim', tools, input: 'Say hello' });
  for await (const event of stream) events.push(event);
  const done = await stream.finalResponse();
  assert.deepEqual(done.output.map((i) => i.type), ['mcp_list_tools', 'mcp_list_tools', 'message']);
  const [shop, gone] = done.output;
  assert.deepEqual([shop.server_label, shop.tools.length > 0, shop.error], ['shop', true, null]);
  assert.deepEqual([gone.server_label, gone.tools], ['gone', []]);
  assert.match(gone.error, /gone/);
  const told = events.filter((e) => e.output_index < 2).map((e) => [e.type.replace('response.', ''), e.output_index]);
  const course = (index, end) => [['output_item.added', index], ['mcp_list_tools.in_progress', index], [`mcp_list_tools.${end}`, index], ['output_item.done', index]];
  assert.deepEqual(told, [...course(0, 'completed'), ...course(1, 'failed')]);
  assert.deepEqual(events.find((e) => e.type === 'response.output_item.added' && e.output_index === 0).item.tools, []);
  assert.deepEqual((await client.responses.retrieve(done.id)).output.slice(0, 2), [shop, gone]);
  // A client that keeps the conversation itself sends the list along, and is not told it again. What failed is tried again.
  const next = await client.responses.create({ model: 'sim', tools, input: [...done.output, { role: 'user', content: 'Say bye' }] });
  assert.deepEqual([next.output.map((i) => i.server_label ?? i.type), next.output_text], [['gone', 'message'], 'bye']);
});

test('responses: in the background, polled, cancelled and deleted', async (t) => {
  const { client } = await start(t);
  let job = await client.responses.create({ model: 'sim', input: 'Wait 300ms\nSay done', background: true });
  assert.ok(['queued', 'in_progress'].includes(job.status), job.status);
  while (['queued', 'in_progress'].includes(job.status)) {
    await new Promise((r) => setTimeout(r, 50));
    job = await client.responses.retrieve(job.id);
  }
  assert.equal(job.output_text, 'done');
  const long = await client.responses.create({ model: 'sim', input: 'Write 10000 words every 20ms', background: true });
  const cancelled = await client.responses.cancel(long.id);
  assert.equal(cancelled.status, 'cancelled');
  assert.equal((await client.responses.cancel(long.id)).status, 'cancelled');
  await client.responses.delete(job.id);
  await assert.rejects(client.responses.retrieve(job.id), (e) => e instanceof OpenAI.NotFoundError);
  const plain = await client.responses.create({ model: 'sim', input: 'Say hi' });
  await assert.rejects(client.responses.cancel(plain.id), (e) => e instanceof OpenAI.BadRequestError);
  const short = await client.responses.create({ model: 'sim', input: 'Write 100 words', max_output_tokens: 20 });
  assert.deepEqual([short.status, short.incomplete_details.reason], ['incomplete', 'max_output_tokens']);
  await assert.rejects(client.responses.create({ model: 'sim', input: 'Fail with invalid_request' }), (e) => e instanceof OpenAI.BadRequestError && e.code === 'invalid_prompt');
  let failed = await client.responses.create({ model: 'sim', input: 'Fail with invalid_request', background: true });
  while (['queued', 'in_progress'].includes(failed.status)) {
    await new Promise((r) => setTimeout(r, 50));
    failed = await client.responses.retrieve(failed.id);
  }
  assert.deepEqual([failed.status, failed.error.code], ['failed', 'invalid_prompt']);
});

test('conversations: items, responses in them, metadata', async (t) => {
  const { client } = await start(t);
  const c = await client.conversations.create({ metadata: { topic: 'x' }, items: [{ type: 'message', role: 'user', content: 'noted' }] });
  assert.match(c.id, /^conv_/);
  const res = await client.responses.create({ model: 'sim', conversation: c.id, input: 'Say hello' });
  assert.equal(res.conversation.id, c.id);
  await client.conversations.items.create(c.id, { items: [{ type: 'message', role: 'developer', content: 'be kind' }] });
  const items = await all(client.conversations.items.list(c.id, { order: 'asc', limit: 2 }));
  assert.deepEqual(items.map((i) => [i.role, i.content[0].text]), [['user', 'noted'], ['user', 'Say hello'], ['assistant', 'hello'], ['developer', 'be kind']]);
  assert.deepEqual(await client.conversations.items.retrieve(items[2].id, { conversation_id: c.id }), items[2]);
  assert.equal((await client.conversations.update(c.id, { metadata: { topic: 'y' } })).metadata.topic, 'y');
  assert.equal((await client.conversations.delete(c.id)).deleted, true);
  await assert.rejects(client.conversations.retrieve(c.id), (e) => e instanceof OpenAI.NotFoundError);
});

test('responses: items are deleted one by one, and referred to by id', async (t) => {
  const { client } = await start(t);
  const say = (text) => ({ type: 'message', role: 'user', content: text });
  const conversation = await client.conversations.create({ items: [say('a secret'), say('Say hello')] });
  const first = await client.responses.create({ model: 'sim', conversation: conversation.id, input: 'Say bye' });
  const [secret] = await all(client.conversations.items.list(conversation.id, { order: 'asc' }));
  const left = await client.conversations.items.delete(secret.id, { conversation_id: conversation.id });
  assert.equal(left.id, conversation.id);
  const texts = (await all(client.conversations.items.list(conversation.id, { order: 'asc', limit: 2 }))).map((i) => i.content[0].text);
  assert.deepEqual(texts, ['Say hello', 'Say bye', 'bye']);
  await assert.rejects(client.conversations.items.retrieve(secret.id, { conversation_id: conversation.id }), OpenAI.NotFoundError);
  await assert.rejects(client.conversations.items.delete(secret.id, { conversation_id: conversation.id }), OpenAI.NotFoundError);

  const apart = await client.responses.create({ model: 'sim', input: [{ type: 'item_reference', id: first.output[0].id }, say('Say again')] });
  assert.deepEqual((await all(client.responses.inputItems.list(apart.id, { order: 'asc' }))).map((i) => [i.role, i.content[0].text]), [['assistant', 'bye'], ['user', 'Say again']]);
  await assert.rejects(
    client.responses.create({ model: 'sim', input: [{ type: 'item_reference', id: secret.id }] }),
    (e) => e instanceof OpenAI.BadRequestError && e.param === 'input[0].id',
  );
});
