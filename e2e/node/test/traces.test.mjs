import assert from 'node:assert/strict';
import { test } from 'node:test';
import { all, none, settled, start, weather } from '../node.mjs';

test('traces: a page a turn, as OTLP, with the wait for the application in it; the same after a SIGKILL', async (t) => {
  const node = await start(t);
  const session = await node.client.beta.agents.sessions.create({
    environment: none,
    agent: { model: 'sim', name: 'Ada', tools: [weather] },
    input: 'Call get_weather with {"city":"Paris"}\nSay It is {answer}.',
  });
  const waiting = await settled(node.client, session.id, 'requires_action');
  const running = await all(node.client.beta.agents.sessions.traces.list(session.id));
  const spansOf = (trace) => trace.otlp.resourceSpans.flatMap((r) => r.scopeSpans.flatMap((s) => s.spans));
  assert.deepEqual(spansOf(running[0]).map((s) => s.name), ['chat sim'], 'what has ended is there before the turn has');
  await node.kill();
  await node.start();
  const { sessions } = node.client.beta.agents;
  assert.deepEqual(await all(sessions.traces.list(session.id)), running);
  const [action] = waiting.required_actions;
  await sessions.events.create(session.id, {
    events: [{ type: 'agent.session.input.tool_result', call_id: action.call_id, turn_id: action.turn_id, success: true, output: 'hidden rain' }],
  });
  await settled(node.client, session.id, 'idle');
  await sessions.events.create(session.id, { events: [{ type: 'agent.session.input.message', input: 'Say more' }] });
  await settled(node.client, session.id, 'idle');

  const traces = await all(sessions.traces.list(session.id, { limit: 1, order: 'asc' }));
  const turns = await all(sessions.turns.list(session.id, { order: 'asc' }));
  assert.deepEqual(traces.map((x) => [x.id, x.created_at, x.object, x.session_id]), turns.map((x) => [x.id, x.created_at, 'agent.session.trace', session.id]));
  assert.deepEqual((await all(sessions.traces.list(session.id))).map((x) => x.id), turns.map((x) => x.id).toReversed(), 'the newest first, where nothing is said');
  const spans = spansOf(traces[0]);
  assert.deepEqual(spans.slice(0, 1), spansOf(running[0]), 'a trace is only added to');
  const root = spans.at(-1);
  assert.deepEqual([root.name, root.parentSpanId], ['invoke_agent Ada', undefined]);
  const call = spans.find((s) => s.name === 'execute_tool get_weather');
  const wait = spans.find((s) => s.name === 'wait function_call');
  assert.deepEqual([call.parentSpanId, wait.parentSpanId], [root.spanId, call.spanId]);
  assert.ok(BigInt(wait.endTimeUnixNano) > BigInt(wait.startTimeUnixNano));
  assert.ok(!JSON.stringify(traces).includes('hidden rain') && !JSON.stringify(traces).includes('Paris'), 'no texts');
});
