#!/usr/bin/python3
"""Writes tests/golden/text/templates.json with Python's jinja2 in Hugging Face's settings, and copies the templates.

    /usr/bin/python3 tools/make_template_goldens.py ../shared/data/tokenizers

Needs jinja2 3.1 (Debian: python3-jinja2). The environment is the one that transformers' chat_template_utils describes:
an immutable sandbox, trim_blocks, lstrip_blocks, loop controls, a {% generation %} tag, its tojson, raise_exception,
strftime_now (here with a fixed clock). Templates go to tests/data/templates.
"""
import datetime
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

from template_units import UNITS, VARIABLES

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOW = datetime.datetime(2025, 3, 9, 14, 5, 7)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_run"), [], [], body).set_lineno(line)

    def _run(self, caller):
        return caller()


class Raised(Exception):
    pass


def environment():
    def raise_exception(message):
        raise Raised(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: NOW.strftime(form)
    return env


def render(source, variables):
    """{"text": ...}, {"raised": text} for raise_exception, or {"error": jinja2's words}."""
    try:
        text = environment().from_string(source).render(**variables)
        text.encode("utf-8")
        return {"text": text}
    except Raised as e:
        return {"raised": str(e)}
    except Exception as e:  # whatever jinja2 or Python thinks of it: our engine must refuse it too
        return {"error": f"{type(e).__name__}: {e}"}


WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather in a city & its <surroundings>",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "Name, e.g. \"Köln\""},
        "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
        "days": {"type": "array", "items": {"type": "integer"}},
        "where": {"oneOf": [{"type": "string"}, {"type": "number", "default": 1.5}]},
        "nested": {"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "number"}}, "required": ["a"]},
        "any": {"type": ["string", "null"]}}, "required": ["city"]}}}
TIME = {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}}


def call(name, arguments):
    return {"type": "function", "id": "call_1", "function": {"name": name, "arguments": arguments}}


def message(role, content, **more):
    return {"role": role, "content": content, **more}


USER, HI = message("user", "What is 2 + 2?"), message("assistant", "Hi!")
CONVERSATIONS = {
    "user": [USER],
    "system": [message("system", "Be brief.\nBe kind."), USER],
    "multi_turn": [message("system", "S"), message("user", "a"), message("assistant", "b"), message("user", "c"),
                   message("assistant", "<think>\nhm\n</think>\n\nd"), message("user", "e")],
    "unicode": [message("user", "Grüße 世界 🙂\u200d\u00a0 \ttab \\n {{ x }} {% y %} <|im_end|>")],
    "empty_content": [message("system", ""), message("user", ""), message("assistant", ""), message("user", " ")],
    "trailing_assistant": [USER, message("assistant", "It is")],
    "reasoning": [USER, message("assistant", "4.", reasoning_content="\n2 + 2 = 4\n"), message("user", "Sure?"),
                  message("assistant", "Yes.", reasoning_content="I am sure", thinking="I am sure")],
    "thinking_field": [USER, message("assistant", "4", thinking="adding")],
    "tool_calls": [message("user", "Weather in Köln?"),
                   message("assistant", "", tool_calls=[call("get_weather", {"city": "Köln", "days": [1, 2], "x": None})]),
                   message("tool", "{\"t\": 21.5}"), message("assistant", "21.5 °C"), message("user", "And the time?"),
                   message("assistant", "Let me see.", tool_calls=[call("now", {}), call("get_weather", {"city": "<b>"})]),
                   message("tool", "12:00"), message("tool", "rain"), message("user", "thanks")],
    "tool_calls_none_content": [message("user", "go"), message("assistant", None, tool_calls=[call("now", "{}")]),
                                message("tool", "12:00")],
    "tool_calls_string_arguments": [message("user", "go"), message("assistant", "", reasoning_content="r", tool_calls=[call("now", "{\"a\": 1}"), call("now", "{}")]),
                                    message("tool", "1"), message("tool", "2")],
    "tool_calls_flat": [message("user", "go"), message("assistant", "x", tool_calls=[{"name": "now", "arguments": {"k": 1.0}}]), message("tool", "r")],
    "tool_calls_no_content": [message("user", "go"), {"role": "assistant", "tool_calls": [call("now", {})]}, message("tool", "r")],
    "multipart": [message("user", [{"type": "text", "text": "look"}, {"type": "image"}])],
    "system_late": [message("user", "a"), message("system", "late"), message("user", "b")],
    "developer": [message("developer", "dev"), message("user", "a")],
    "tool_first": [message("tool", "orphan"), message("user", "a")],
    "tool_response_user": [message("user", "q"), message("assistant", "a"), message("user", "<tool_response>\nr\n</tool_response>")],
    "channel_tag": [message("user", "q"), message("assistant", "<|channel|>final<|message|>x"), message("user", "r")],
    "both_contents": [message("user", "q"), message("assistant", "c", thinking="t", tool_calls=[call("now", {})])],
    "no_content": [message("user", "q"), {"role": "assistant"}, message("user", "r")],
    "no_role": [{"content": "x"}],
    "number_content": [message("user", 5)],
    "none": [],
}
SETTINGS = [
    {"add_generation_prompt": True},
    {"add_generation_prompt": False},
    {"add_generation_prompt": True, "enable_thinking": False},
    {"add_generation_prompt": True, "enable_thinking": True, "tools": [WEATHER, TIME], "reasoning_effort": "high",
     "builtin_tools": ["browser", "python"], "model_identity": "You are a test."},
]
TOKENS = {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}


def write_seeds(templates, units):
    """The fuzzer's seeds: the templates, and the small sources that render, forty to a file."""
    seeds = ROOT / "fuzz/corpus/jinja"
    seeds.mkdir(parents=True, exist_ok=True)
    for name, source in {source: (name, source) for name, source in templates.items()}.values():
        (seeds / f"{name}.jinja").write_text(source)
    good = [u["source"] for u in units if "text" in u]
    for i in range(0, len(good), 40):
        (seeds / f"unit_{i // 40:02}.jinja").write_text("\n".join(good[i:i + 40]))


def main():
    data = pathlib.Path(sys.argv[1])
    templates = {p.stem: p.read_text() for p in sorted((data / "templates").glob("*.jinja"))}
    for p in sorted(data.glob("*/tokenizer_config*.json")):
        name = p.parent.name + "." + p.stem.removeprefix("tokenizer_config").removeprefix(".")
        templates[name.rstrip(".")] = json.loads(p.read_text())["chat_template"]
    out = ROOT / "tests/data/templates"
    for name, source in templates.items():
        with open(out / f"{name}.jinja", "w", newline="") as f:
            f.write(source)
    cases = []
    for name, source in templates.items():
        for conversation, messages in CONVERSATIONS.items():
            for i, setting in enumerate(SETTINGS):
                variables = {"tools": None, "documents": None, **TOKENS, **setting}
                cases.append({"template": name, "conversation": conversation, "setting": i,
                              **render(source, {"messages": messages, **variables})})
    base = {"messages": [], "tools": None, "documents": None, "add_generation_prompt": True, **TOKENS}
    units = [{"source": u, **render(u, {**base, **VARIABLES})} for u in UNITS]
    units = [u for u in units if " at 0x" not in u.get("text", "")]  # an address: never the same twice
    golden = {"jinja2": jinja2.__version__, "conversations": CONVERSATIONS, "settings": SETTINGS, "tokens": TOKENS,
              "variables": VARIABLES, "cases": cases, "units": units}
    with open(ROOT / "tests/golden/text/templates.json", "w") as f:
        f.write("{\n")
        for i, (key, value) in enumerate(golden.items()):
            f.write(("" if i == 0 else ",\n") + json.dumps(key) + ": ")
            if key in ("cases", "units"):
                f.write("[\n" + ",\n".join(json.dumps(v, ensure_ascii=False) for v in value) + "\n]")
            else:
                f.write(json.dumps(value, ensure_ascii=False))
        f.write("\n}\n")
    write_seeds(templates, units)
    kinds = [[sum(k in c for c in part) for k in ("text", "raised", "error")] for part in (cases, units)]
    print(f"{len(templates)} templates, {len(cases)} renders (text, raised, error: {kinds[0]}), {len(units)} units {kinds[1]}")


main()
