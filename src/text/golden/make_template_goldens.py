"""Writes templates.json: what Python's Jinja, set up as transformers does, makes of chat templates.

What goes in stands in snippets.json (one template a line) and chats.json. Needs jinja2 3.1.6;
transformers 5's _compile_jinja_template is what the environment below follows.
Usage: python make_template_goldens.py NODE_MODULES
"""

import json
import pathlib
import sys
from datetime import datetime

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOWS = [
    "2026-03-05T09:07:03.000042",
    "2024-12-31T23:59:59",
    "2023-01-01T00:00:00",
    "2024-02-29T12:30:00",
]


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


class CheckedNamespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        names = dict(*args, **kwargs)
        if any(str(name).startswith("_") for name in names):
            raise jinja2.exceptions.SecurityError("underscore")
        jinja2.utils.Namespace.__init__(self, names)


def environment(now):
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: datetime.fromisoformat(now).strftime(form)
    env.globals["namespace"] = CheckedNamespace
    return env


def outcome(template, variables, now="2026-03-05T09:07:03.000042"):
    try:
        return {"text": environment(now).from_string(template).render(**variables)}
    except Exception as error:  # what fails in Python must fail here, whatever the words
        refused = type(error) is jinja2.exceptions.TemplateError
        return {"refused": str(error)} if refused else {"error": type(error).__name__}


def package_template(node_modules, name):
    path = pathlib.Path(node_modules, name, "models", "tokenizer_config.json")
    return json.loads(path.read_text())["chat_template"]


def read(name):
    return json.loads(pathlib.Path(__file__).with_name(name).read_text())


def named_snippets(snippets):
    for name, lines in snippets["lines"].items():
        yield from ((f"{name} {at}", line) for at, line in enumerate(lines))
    for name in ("whitespace", "errors"):
        yield from ((f"{name} {at}", text) for at, text in enumerate(snippets[name]))


def main():
    snippets, inputs = read("snippets.json"), read("chats.json")
    data = snippets["data"]
    results = [
        {"name": name, "template": text, **outcome(text, data)}
        for name, text in named_snippets(snippets)
    ]
    times = [{"now": now, **outcome(snippets["times"], {}, now)} for now in NOWS]
    packaged = {name: package_template(sys.argv[1], name) for name in inputs["packages"]}
    chats = []
    for name, template in (packaged | inputs["templates"]).items():
        for chat in inputs["chats"]:
            variables = {
                "messages": chat["messages"],
                "tools": chat.get("tools"),
                "documents": None,
                "add_generation_prompt": chat["prompt"],
                "bos_token": "<BOS>",
                "eos_token": "<EOS>",
            } | chat.get("variables", {})
            result = outcome(template, variables)
            chats.append({"template": name, "chat": chat["name"], **result})
    golden = {"snippets": results, "times": times, "chats": chats}
    path = pathlib.Path(__file__).with_name("templates.json")
    path.write_text(json.dumps(golden, ensure_ascii=True, indent=1) + "\n")


main()
