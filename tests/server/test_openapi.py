"""The API's own description (/openapi.json): every route is in it, every field of it is known, and what schemathesis makes from it is answered as it says."""
import json
import re

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from client import ROOT, Server
from test_conformity import CHAT, COMPLETION, STORY

DESCRIPTION = json.loads((ROOT / "src/serve/openapi.json").read_text())


@pytest.fixture(scope="module")
def server():
    server = Server("stories260K", "--max-tokens", "4", "--request-timeout", "5", "--log-level", "warn", "--max-queue", "64")
    yield server
    assert server.stop() == 0


def resolved(schema):
    return {**schema, "components": DESCRIPTION["components"]}


def test_every_route_is_described():
    routes = set(re.findall(r'"(/[a-z0-9/._-]+)"', (ROOT / "src/serve/service.cc").read_text()))
    described = {path.split("{")[0] for path in DESCRIPTION["paths"]}
    aliases = {"/chat/completions", "/completions", "/responses", "/models", "/v1/health"}  # of clients that leave /v1 out
    assert routes - aliases - {"/static/"} == described, routes ^ described


@pytest.mark.parametrize("path, name", [("/v1/chat/completions", "ChatRequest"), ("/v1/completions", "CompletionRequest")])
def test_every_field_is_known_and_documented(server, path, name):
    text = (ROOT / "docs/server.md").read_text()
    for field in DESCRIPTION["components"]["schemas"][name]["properties"]:
        _, answer = server.request("POST", path, {field: {"no": "value"}})
        assert f"{field}: is not a known field" not in json.loads(answer)["error"]["message"], field
        assert f"`{field}`" in text or f"`{field}:" in text, f"docs/server.md does not tell of {field}"
    assert "is not a known field" in server.request("POST", path, {"nonsense": 1})[1].decode()


def test_the_published_shapes_hold(server):
    assert server.json("/openapi.json") == DESCRIPTION
    chat = server.json("/v1/chat/completions", {"messages": STORY, "logprobs": True, "top_logprobs": 2, "return_token_ids": True})
    whole = server.json("/v1/completions", {"prompt": "Once", "logprobs": 2})
    for answer, published, own in ((chat, CHAT, "ChatAnswer"), (whole, COMPLETION, "CompletionAnswer")):
        jsonschema.validate(answer, published)
        jsonschema.validate(answer, resolved({"$ref": f"#/components/schemas/{own}"}))
    for chunk in server.stream("/v1/chat/completions", {"messages": STORY, "logprobs": True, "top_logprobs": 2}):
        jsonschema.validate(chunk, resolved({"$ref": "#/components/schemas/ChatChunk"}))


@schemathesis.openapi.from_dict(DESCRIPTION).parametrize()
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_schemathesis_makes_of_it(server, case):
    if isinstance(case.body, dict):  # small answers, that all fit into the queue
        for field, most in (("max_tokens", 8), ("max_completion_tokens", 8), ("max_output_tokens", 8), ("n", 3)):
            if type(case.body.get(field)) is int and case.body[field] > most:
                case.body[field] = most
    response = case.call(base_url=f"http://127.0.0.1:{server.port}")
    # What is too long for the context, say, has the right shape and is refused all the same.
    case.validate_response(response, excluded_checks=[schemathesis.checks.positive_data_acceptance])
