import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { all, hosted, needsComputer, none, settled, shell, start, weather } from '../node.mjs';

const agent = { model: 'sim', tools: [weather], multi_agent: { enabled: true } };
const ask = JSON.stringify({ message: 'Call get_weather with {"city":"Paris"}\nSay It has {answer}' });

test('subagents: the stream helper follows the root turn, and runs the tools of subagents', async (t) => {
  const { client } = await start(t);
  const { sessions } = client.beta.agents;
  const made = await sessions.create({ environment: none, agent, input: 'Say hello' });
  await settled(client, made.id, 'idle');
  assert.deepEqual(made.agent.multi_agent, { enabled: true, max_concurrent_subagents: 6 });
  const asked = [];
  const events = [];
  const helper = sessions.stream(made.id, {
    input: [
      `Call create_subagent with ${JSON.stringify({ message: 'Call get_weather with {"city":"Paris"}' })}`,
      `Call create_subagent with ${JSON.stringify({ message: 'Say nothing to add' })}`,
      'Then call wait_for_subagents with {"agent_ids":["{agent 1}","{agent 2}"]}',
      'Then call close_subagent with {"agent_id":"{agent 2}"}',
      'Say Done.',
    ].join('\n'),
    toolHandlers: { get_weather: ({ city }) => (asked.push(city), `21 degrees in ${city}`) },
  });
  helper.withResultCollection();
  for await (const event of helper) events.push(event);
  const result = await helper.finalResult();
  assert.equal(result.output_text, 'Done.');
  assert.deepEqual(asked, ['Paris']);
  assert.equal(events.at(-1).type, 'agent.session.idle');
  const types = events.map((e) => e.type);
  assert.equal(types.filter((x) => x === 'agent.session.subagent.created').length, 2);
  assert.equal(types.filter((x) => x === 'agent.session.subagent.closed').length, 1);
  assert.equal(types.filter((x) => x === 'agent.session.idle').length, 1, 'the end of a subagent is not the session');

  const [first, second] = await all(sessions.subagents.list(made.id, { order: 'asc', limit: 1 }));
  assert.deepEqual([first.status, second.status, first.closed_at], ['active', 'closed', null]);
  assert.equal(first.parent_agent_id, made.agent.id);
  assert.match(first.instructions[0].text, /get_weather/);
  assert.deepEqual(await sessions.subagents.retrieve(second.id, { session_id: made.id }), second);
  await assert.rejects(sessions.subagents.retrieve('subagent_none', { session_id: made.id }), OpenAI.NotFoundError);

  const turns = await all(sessions.turns.list(made.id));
  assert.deepEqual(turns.map((x) => x.subagent_id), [null, null]);
  assert.equal(turns[0].id, result.turn_id);
  const [turn] = await all(sessions.subagents.turns.list(first.id, { session_id: made.id }));
  assert.deepEqual([turn.subagent_id, turn.agent_id, turn.status], [first.id, first.id, 'completed']);
  assert.deepEqual(await sessions.subagents.turns.retrieve(turn.id, { session_id: made.id, subagent_id: first.id }), turn);

  const kinds = (items) => items.map((i) => i.type);
  assert.deepEqual(kinds(await all(sessions.subagents.items.list(first.id, { session_id: made.id, order: 'asc' }))), [
    'agent_message', 'function_call', 'function_call_output', 'message',
  ]);
  assert.equal((await all(sessions.subagents.turns.items.list(turn.id, { session_id: made.id, subagent_id: first.id }))).length, 4);
  const own = await all(sessions.turns.items.list(result.turn_id, { session_id: made.id, order: 'asc' }));
  assert.deepEqual(kinds(own).toSorted(), [
    'agent_message', 'agent_message', 'close_subagent_call', 'create_subagent_call', 'create_subagent_call', 'message', 'message', 'wait_for_subagents_call',
  ]);
  const call = own.find((i) => i.type === 'wait_for_subagents_call');
  assert.deepEqual([call.sender_agent_id, call.recipient_agent_ids, call.status], [made.agent.id, [first.id, second.id], 'completed']);
  const answer = own.find((i) => i.type === 'agent_message' && i.sender_agent_id === first.id);
  assert.match(answer.content[0].text, /21 degrees in Paris/);
  assert.equal((await sessions.retrieve(made.id)).status, 'idle');
});

test('subagents: a required action of a subagent shows on the session, and outlives a SIGKILL', async (t) => {
  const node = await start(t);
  const { sessions } = node.client.beta.agents;
  const session = await sessions.create({
    environment: none,
    agent,
    input: `Call create_subagent with ${ask}\nThen call wait_for_subagents with {"agent_ids":["{agent 1}"]}\nSay {answer 1}!`,
  });
  const waiting = await settled(node.client, session.id, 'requires_action');
  const [action] = waiting.required_actions;
  assert.deepEqual([waiting.required_actions.length, action.type, action.name], [1, 'function_call', 'get_weather']);
  await node.kill();
  await node.start();
  const [sub] = await all(node.client.beta.agents.sessions.subagents.list(session.id));
  const [turn] = await all(node.client.beta.agents.sessions.subagents.turns.list(sub.id, { session_id: session.id }));
  assert.deepEqual([turn.id, turn.status], [action.turn_id, 'waiting']);
  await node.client.beta.agents.sessions.events.create(session.id, {
    events: [{ type: 'agent.session.input.tool_result', call_id: action.call_id, turn_id: action.turn_id, success: true, output: 'rain' }],
  });
  await settled(node.client, session.id, 'idle');
  const { data } = await node.client.beta.agents.sessions.items.list(session.id);
  assert.equal(data[0].content[0].text, 'It has {answer}!');
});

test('subagents: one workspace for all of them, and an interrupt ends what runs in it', async (t) => {
  if (needsComputer(t)) return;
  const { client } = await start(t);
  const { sessions } = client.beta.agents;
  const task = (command) => `Call create_subagent with ${JSON.stringify({ message: shell(command) })}`;
  const { id } = await sessions.create({
    environment: hosted,
    agent: { model: 'sim', multi_agent: { enabled: true } },
    input: [
      task('echo one > one; sleep 60; echo late > one'),
      task('until [ -e one ]; do sleep 0.02; done; echo two > two'),
      'Then call wait_for_subagents with {"agent_ids":["{agent 2}"]}',
      'Then call interrupt_subagent with {"agent_id":"{agent 1}"}',
      `Then ${shell('cat one two').replace('Call', 'call')}`,
    ].join('\n'),
  });
  await settled(client, id, 'idle');
  const command = (await all(sessions.items.list(id))).find((i) => i.type === 'command_execution');
  assert.equal(command.output, 'one\ntwo\n');
  const turns = [];
  for (const sub of await all(sessions.subagents.list(id, { order: 'asc' }))) turns.push(...(await all(sessions.subagents.turns.list(sub.id, { session_id: id }))));
  assert.deepEqual(turns.map((x) => x.status), ['cancelled', 'completed']);
  const report = await client.get(`/usage?group_by=subagent,kind`);
  const calls = report.data.filter((x) => x.key.kind === 'tool_call');
  assert.deepEqual(calls.map((x) => x.key.subagent).toSorted(), ['', turns[1].subagent_id].toSorted(), JSON.stringify(calls));
});
