import OpenAI from 'openai';

const client = new OpenAI({ baseURL: 'http://127.0.0.1:8787/v1', apiKey: 'none' });

const stream = await client.beta.agents.sessions.create({
  agent: {
    model: 'default',
    tools: [{
      type: 'function', name: 'get_weather', description: 'Weather of a city',
      parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
    }],
  },
  environment: { type: 'none' },
  input: 'Call get_weather with {"city": "Paris"}',
  stream: true,
  toolHandlers: { get_weather: ({ city }) => `21 degrees in ${city}` },
});
for await (const event of stream) {
  if (event.type === 'agent.session.turn.output_text.delta') process.stdout.write(event.delta);
}
