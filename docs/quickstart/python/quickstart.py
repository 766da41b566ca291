from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8787/v1", api_key="none")

weather = {
    "type": "function", "name": "get_weather", "description": "Weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
session = client.beta.agents.sessions.create(
    agent={"model": "default", "tools": [weather]}, environment={"type": "none"},
    input='Call get_weather with {"city": "Paris"}',
)
for event in client.beta.agents.sessions.events.stream(session.id, extra_query={"after": "0"}):
    if event.type == "agent.session.requires_action":
        for call in event.session.required_actions:
            client.beta.agents.sessions.events.create(session.id, events=[{
                "type": "agent.session.input.tool_result", "turn_id": call.turn_id, "call_id": call.call_id,
                "success": True, "output": f"21 degrees in {call.arguments['city']}",
            }])
    elif event.type == "agent.session.turn.output_text.delta":
        print(event.delta, end="", flush=True)
    elif event.type == "agent.session.turn.completed":
        break
