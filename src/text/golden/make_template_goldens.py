"""Writes templates.json: what Python's Jinja, set up as transformers does, makes of chat templates.

Needs jinja2 3.1.6; transformers 5's _compile_jinja_template is what the environment below follows.
Usage: python make_template_goldens.py NODE_MODULES
"""

import json
import pathlib
import sys
from datetime import datetime

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chats import CHATS, OWN_TEMPLATES, PACKAGES
from snippets import DATA, ERRORS, SNIPPETS, TIMES, WHITESPACE


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
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

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


def main():
    snippets = [
        {"name": f"{name} {at}", "template": line, **outcome(line, DATA)}
        for name, text in SNIPPETS.items()
        for at, line in enumerate(text.strip().split("\n"))
    ]
    snippets += [{"name": f"whitespace {at}", "template": text, **outcome(text, DATA)} for at, text in enumerate(WHITESPACE)]
    snippets += [{"name": f"error {at}", "template": text, **outcome(text, DATA)} for at, text in enumerate(ERRORS)]
    times = [
        {"now": now, **outcome(TIMES, {}, now)}
        for now in ["2026-03-05T09:07:03.000042", "2024-12-31T23:59:59", "2023-01-01T00:00:00", "2024-02-29T12:30:00"]
    ]
    chats = []
    templates = {name: package_template(sys.argv[1], name) for name in PACKAGES} | OWN_TEMPLATES
    for name, template in templates.items():
        for chat in CHATS:
            variables = {"messages": chat["messages"], "tools": chat.get("tools"), "add_generation_prompt": chat["prompt"]}
            variables |= {"bos_token": "<BOS>", "eos_token": "<EOS>"} | chat.get("variables", {})
            chats.append({"template": name, "chat": chat["name"], **outcome(template, variables)})
    golden = {"data": DATA, "snippets": snippets, "timesTemplate": TIMES, "times": times}
    golden |= {"chatInputs": CHATS, "ownTemplates": OWN_TEMPLATES, "chats": chats}
    path = pathlib.Path(__file__).with_name("templates.json")
    path.write_text(json.dumps(golden, ensure_ascii=True, indent=1) + "\n")


main()
