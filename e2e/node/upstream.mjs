// An upstream as a provider would run it: it answers what a test says, and keeps what it was asked.
import { createServer } from 'node:http';

/** Serves answers in turn; each is a function of the request's body, and returns JSON or a list of events. */
export async function upstream(t, ...answers) {
  const asked = [];
  const server = createServer(async (req, res) => {
    let text = '';
    for await (const chunk of req.setEncoding('utf8')) text += chunk;
    const body = JSON.parse(text);
    asked.push({ path: req.url, body, auth: req.headers.authorization });
    const answer = answers[Math.min(asked.length, answers.length) - 1](body);
    if (answer.status) {
      res.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers }).end(JSON.stringify(answer.body));
    } else if (Array.isArray(answer)) {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const e of answer) res.write(typeof e === 'string' ? `data: ${e}\n\n` : `${e.type ? `event: ${e.type}\n` : ''}data: ${JSON.stringify(e)}\n\n`);
      res.end();
    } else {
      res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return { asked, base: `http://127.0.0.1:${server.address().port}/v1` };
}

/** The configuration of a node whose model "m" is at an upstream. */
export function provider(api, base) {
  return `providers: [{name: up, api: ${api}, base_url: "${base}", api_key: key-of-the-upstream}]
models: [{name: m, routes: [{provider: up, model: real}]}]
`;
}
