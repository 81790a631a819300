"""What the openai package and OpenAI's published shapes expect; structure, not texts."""
import concurrent.futures
import http.client
import json
import shutil
import ssl
import subprocess

import jsonschema
import openai
import prometheus_client.parser
import pytest

from client import Server
from conftest import client_of

PUZZLE = [{"role": "user", "content": "ab bd ce dc ea;du3;24eu0"}]
STORY = [{"role": "user", "content": "Once upon a time"}]

NUMBER, STRING, NULL_STRING = {"type": "number"}, {"type": "string"}, {"type": ["string", "null"]}
USAGE = {"type": "object", "required": ["prompt_tokens", "completion_tokens", "total_tokens"],
         "properties": {"prompt_tokens": {"type": "integer"}, "completion_tokens": {"type": "integer"}, "total_tokens": {"type": "integer"},
                        "completion_tokens_details": {"type": "object", "required": ["reasoning_tokens"]}}}
TOKEN = {"type": "object", "required": ["token", "logprob", "bytes"],
         "properties": {"token": STRING, "logprob": NUMBER, "bytes": {"type": ["array", "null"], "items": {"type": "integer", "minimum": 0, "maximum": 255}}}}
LOGPROBS = {"type": ["object", "null"], "required": ["content"], "properties": {"content": {"type": ["array", "null"], "items": {
    **TOKEN, "required": [*TOKEN["required"], "top_logprobs"]}}}}
CHAT = {"type": "object", "required": ["id", "object", "created", "model", "choices", "usage"],
        "properties": {"id": STRING, "object": {"const": "chat.completion"}, "created": {"type": "integer"}, "model": STRING, "usage": USAGE,
                       "choices": {"type": "array", "minItems": 1, "items": {
                           "type": "object", "required": ["index", "message", "finish_reason", "logprobs"],
                           "properties": {"index": {"type": "integer"}, "finish_reason": {"enum": ["stop", "length", "tool_calls"]}, "logprobs": LOGPROBS,
                                          "message": {"type": "object", "required": ["role", "content", "refusal"],
                                                      "properties": {"role": {"const": "assistant"}, "content": NULL_STRING}}}}}}}
CHUNK = {"type": "object", "required": ["id", "object", "created", "model", "choices"],
         "properties": {"id": STRING, "object": {"const": "chat.completion.chunk"}, "created": {"type": "integer"}, "model": STRING,
                        "choices": {"type": "array", "items": {
                            "type": "object", "required": ["index", "delta", "finish_reason"],
                            "properties": {"delta": {"type": "object", "properties": {"role": STRING, "content": NULL_STRING}}, "logprobs": LOGPROBS,
                                           "finish_reason": {"enum": ["stop", "length", "tool_calls", None]}}}}}}
COMPLETION = {"type": "object", "required": ["id", "object", "created", "model", "choices", "usage"],
              "properties": {"object": {"const": "text_completion"}, "usage": USAGE, "choices": {"type": "array", "items": {
                  "type": "object", "required": ["index", "text", "logprobs", "finish_reason"],
                  "properties": {"text": STRING, "finish_reason": {"enum": ["stop", "length"]}}}}}}
ERROR = {"type": "object", "required": ["error"], "properties": {"error": {
    "type": "object", "required": ["message", "type", "param", "code"],
    "properties": {"message": STRING, "type": STRING, "param": NULL_STRING, "code": NULL_STRING}}}}


def test_models(story, stories):
    assert [m.id for m in story.models.list()] == ["stories260K"]
    assert story.models.retrieve("stories260K").object == "model"
    with pytest.raises(openai.NotFoundError):
        story.models.retrieve("other")


@pytest.mark.parametrize("n", [1, 3])
def test_chat_shapes(story, stories, n):
    body = {"messages": STORY, "max_tokens": 10, "n": n, "logprobs": True, "top_logprobs": 3, "seed": 5}
    whole = stories.json("/v1/chat/completions", body)
    jsonschema.validate(whole, CHAT)
    assert [c["index"] for c in whole["choices"]] == list(range(n))
    chunks = list(stories.stream("/v1/chat/completions", {**body, "stream_options": {"include_usage": True}}))
    for chunk in chunks:
        jsonschema.validate(chunk, CHUNK)
    assert len({(c["id"], c["created"], c["model"]) for c in chunks}) == 1
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    for index in range(n):
        mine = [c["choices"][0] for c in chunks if c["choices"] and c["choices"][0]["index"] == index]
        assert mine[0]["delta"] == {"role": "assistant", "content": None}
        assert mine[-1]["delta"] == {} and mine[-1]["finish_reason"] == "length"
        text = "".join(c["delta"].get("content") or "" for c in mine)
        assert text == whole["choices"][index]["message"]["content"]
        tokens = [t for c in mine if c["logprobs"] for t in c["logprobs"]["content"]]
        assert b"".join(bytes(t["bytes"]) for t in tokens).decode() == text
        assert all(len(t["top_logprobs"]) == 3 and t["logprob"] <= t["top_logprobs"][0]["logprob"] + 1e-6 for t in tokens)


def test_the_same_seed_says_the_same(story):
    def ask(seed):
        return story.chat.completions.create(model="x", messages=STORY, max_tokens=30, seed=seed).choices[0].message.content
    assert ask(1) == ask(1) != ask(2)


def test_parts_and_both_limits(story):
    parts = [{"role": "user", "content": [{"type": "text", "text": "Once upon "}, {"type": "text", "text": "a time"}]}]
    a = story.chat.completions.create(model="x", messages=parts, max_completion_tokens=9, temperature=0)
    b = story.chat.completions.create(model="x", messages=STORY, max_tokens=9, temperature=0)
    assert a.choices[0].message.content == b.choices[0].message.content and a.usage.completion_tokens == 9


def test_stop(story):
    plain = story.completions.create(model="x", prompt="Once upon a time", max_tokens=40, temperature=0).choices[0].text
    stop = plain[11:15]
    cut = story.completions.create(model="x", prompt="Once upon a time", max_tokens=40, temperature=0, stop=["zzz", stop])
    assert cut.choices[0].text == plain[:plain.index(stop)] and cut.choices[0].finish_reason == "stop"
    assert cut.choices[0].stop_reason == stop
    streamed = "".join(c.choices[0].text for c in story.completions.create(
        model="x", prompt="Once upon a time", max_tokens=40, temperature=0, stop=stop, stream=True))
    assert streamed == cut.choices[0].text
    shown = story.completions.create(model="x", prompt="Once upon a time", max_tokens=40, temperature=0, stop=stop,
                                     extra_body={"include_stop_str_in_output": True})
    assert shown.choices[0].text == plain[:plain.index(stop)] + stop


def test_stop_token_ids_and_min_tokens(stories):
    body = {"prompt": "Once upon a time", "temperature": 0, "max_tokens": 30, "return_token_ids": True}
    ids = stories.json("/v1/completions", body)["choices"][0]["token_ids"]
    first = stories.json("/v1/completions", {**body, "stop_token_ids": [ids[5]]})["choices"][0]
    assert first["token_ids"][-1] == ids[5] == first["stop_reason"] and first["finish_reason"] == "stop"
    late = stories.json("/v1/completions", {**body, "stop_token_ids": [ids[5]], "min_tokens": 10})["choices"][0]
    assert len(late["token_ids"]) >= 10


def test_logit_bias(stories):
    ids = stories.json("/v1/completions", {"prompt": "Once", "max_tokens": 5, "return_token_ids": True,
                                           "logit_bias": {"263": 1000}})["choices"][0]["token_ids"]
    assert ids == [263] * 5


def test_completion_shapes(stories):
    whole = stories.json("/v1/completions", {"prompt": ["Lily", "Tom"], "max_tokens": 6, "logprobs": 2, "n": 2, "echo": True})
    jsonschema.validate(whole, COMPLETION)
    for choice in whole["choices"]:
        lists = choice["logprobs"]
        assert len({len(lists[k]) for k in ("tokens", "token_logprobs", "top_logprobs", "text_offset")}) == 1
        for token, offset in zip(lists["tokens"], lists["text_offset"]):
            if token and not token.startswith("bytes:"):
                assert choice["text"][offset:offset + len(token)] == token


def test_ids_in_are_ids_out(stories):
    ids = stories.json("/tokenize", {"prompt": "Once upon a time, there was"})["tokens"]
    assert stories.json("/detokenize", {"tokens": ids, "skip_special_tokens": True})["prompt"] == "Once upon a time, there was"
    a = stories.json("/v1/completions", {"prompt": ids, "max_tokens": 10, "temperature": 0, "return_token_ids": True})["choices"][0]
    b = stories.json("/v1/completions", {"prompt": "Once upon a time, there was", "max_tokens": 10, "temperature": 0, "return_token_ids": True})["choices"][0]
    assert a["prompt_token_ids"] == ids == b["prompt_token_ids"] and a["token_ids"] == b["token_ids"]
    named = stories.json("/v1/completions", {"prompt": ids, "max_tokens": 4, "temperature": 0, "logprobs": 0, "return_tokens_as_token_ids": True})
    assert named["choices"][0]["logprobs"]["tokens"] == [f"token_id:{i}" for i in a["token_ids"][:4]]


def test_scoring_as_lm_eval_does(stories):
    ids = stories.json("/tokenize", {"prompt": "Once upon a time there was a little girl"})["tokens"]
    scored = stories.json("/v1/completions", {"prompt": [ids, ids[:6]], "max_tokens": 1, "logprobs": 1, "echo": True, "temperature": 0, "seed": 1})
    long, short = (c["logprobs"] for c in scored["choices"])
    assert long["token_logprobs"][0] is None and len(long["token_logprobs"]) == len(ids) + 1
    assert long["token_logprobs"][1:6] == pytest.approx(short["token_logprobs"][1:6], abs=1e-5)
    for value, top in zip(long["token_logprobs"][1:-1], long["top_logprobs"][1:-1]):
        assert max(top.values()) >= value - 1e-6
    twice = stories.json("/v1/completions", {"prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 1})  # prompt in the prefix cache now
    assert twice["choices"][0]["logprobs"]["token_logprobs"][1:] == pytest.approx(long["token_logprobs"][1:-1], abs=1e-5)
    vllm = stories.json("/v1/completions", {"prompt": ids, "max_tokens": 1, "prompt_logprobs": 2})["choices"][0]["prompt_logprobs"]
    assert vllm[0] is None and vllm[3][str(ids[3])]["logprob"] == pytest.approx(long["token_logprobs"][3], abs=1e-5)


@pytest.mark.parametrize("spelling", ["thinking_token_budget", "thinking_budget_tokens", "thinking"])
@pytest.mark.parametrize("budget", [1, 5, 33])
def test_budget_in_ids(puzzles, spelling, budget):
    value = {"type": "enabled", "budget_tokens": budget} if spelling == "thinking" else budget
    out = puzzles.json("/v1/chat/completions", {"messages": PUZZLE, "max_tokens": 300, spelling: value, "temperature": 0, "return_token_ids": True})
    close = puzzles.json("/tokenize", {"content": "</think>"})["tokens"][0]
    ids = out["choices"][0]["token_ids"]
    assert ids.index(close) == budget == out["usage"]["completion_tokens_details"]["reasoning_tokens"]
    assert out["choices"][0]["message"]["content"]


@pytest.mark.parametrize("think", ["longcot", "delethink:chunk=64,carry=32,head=8,max_chunks=8"])
@pytest.mark.parametrize("max_tokens", [2, 3, 10, 50, 120])
def test_never_an_empty_answer(puzzle, think, max_tokens):
    for seed in range(5):
        out = puzzle.chat.completions.create(model="x", messages=PUZZLE, max_tokens=max_tokens, seed=seed, extra_body={"think": think, "ignore_eos": True})
        message = out.choices[0].message
        assert message.content, out
        assert message.reasoning_content == message.reasoning
        assert "think>" not in message.content + (message.reasoning or "")
        assert out.usage.completion_tokens <= max_tokens


def test_reasoning_streams(puzzle):
    whole = puzzle.chat.completions.create(model="x", messages=PUZZLE, max_tokens=200, temperature=0)
    thinking = answer = ""
    for chunk in puzzle.chat.completions.create(model="x", messages=PUZZLE, max_tokens=200, temperature=0, stream=True):
        delta = chunk.choices[0].delta
        assert getattr(delta, "reasoning", None) == getattr(delta, "reasoning_content", None)
        if getattr(delta, "reasoning", None):
            assert not answer
            thinking += delta.reasoning
        answer += delta.content or ""
    assert (thinking, answer) == (whole.choices[0].message.reasoning, whole.choices[0].message.content)
    hidden = puzzle.chat.completions.create(model="x", messages=PUZZLE, max_tokens=200, temperature=0, extra_body={"include_reasoning": False})
    assert hidden.choices[0].message.content == answer and hidden.choices[0].message.reasoning is None
    raw = puzzle.chat.completions.create(model="x", messages=PUZZLE, max_tokens=200, temperature=0, extra_body={"reasoning_format": "none"})
    assert raw.choices[0].message.content.startswith(thinking) and raw.choices[0].message.content.endswith(answer)


def test_every_typed_error(story, stories):
    create = story.chat.completions.create
    for fields in ({"temperature": -1}, {"n": 0}, {"max_tokens": 0}, {"stop": [""]}, {"top_p": 2}, {"extra_body": {"kv": "lru"}},
                   {"extra_body": {"nonsense": 1}}, {"tool_choice": "required", "tools": []}, {"response_format": {"type": "xml"}}):
        with pytest.raises(openai.BadRequestError) as error:
            create(model="x", messages=STORY, **fields)
        jsonschema.validate(error.value.response.json(), ERROR)
        assert error.value.param, fields
    with pytest.raises(openai.BadRequestError) as error:
        create(model="x", messages=[{"role": "user", "content": "word " * 2000}])
    assert error.value.code == "context_length_exceeded"
    for path, method, status in (("/nothing", "GET", 404), ("/v1/chat/completions", "GET", 405), ("/v1/models", "POST", 405)):
        response, text = stories.request(method, path, b"" if method == "POST" else None)
        assert response.status == status
        jsonschema.validate(json.loads(text), ERROR)


PERSON = {"type": "object", "required": ["name", "age"], "additionalProperties": False, "$defs": {"tag": {"enum": ["red", "green"]}},
          "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
                         "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}, "maxItems": 3}, "born": {"type": "string", "format": "date"}}}


@pytest.mark.parametrize("seed", range(4))
def test_structured_answers(story, seed):
    schema = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
    answer = story.chat.completions.create(model="x", messages=STORY, max_tokens=300, temperature=1.5, seed=seed, n=2, response_format=schema)
    for choice in answer.choices:
        assert choice.finish_reason == "stop"
        jsonschema.validate(json.loads(choice.message.content), PERSON, format_checker=jsonschema.FormatChecker())
    text = ""
    for chunk in story.chat.completions.create(model="x", messages=STORY, max_tokens=300, temperature=1.5, seed=seed, stream=True, response_format=schema):
        text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    assert text == answer.choices[0].message.content
    flat = {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}
    response = story.responses.create(model="x", input="Once", max_output_tokens=300, text={"format": flat})
    jsonschema.validate(json.loads(response.output_text), PERSON)


def test_json_object(story):
    answer = story.chat.completions.create(model="x", messages=STORY, max_tokens=400, seed=2, response_format={"type": "json_object"}).choices[0]
    if answer.finish_reason == "stop":
        assert isinstance(json.loads(answer.message.content), dict)
    else:
        assert answer.finish_reason == "length" and answer.message.content.lstrip().startswith("{")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "person"}}])
def test_forced_calls(story, choice):
    tools = [{"type": "function", "function": {"name": "person", "parameters": PERSON, "strict": True}}]
    answer = story.chat.completions.create(model="x", messages=STORY, max_tokens=300, seed=3, tools=tools, tool_choice=choice).choices[0]
    assert answer.finish_reason == "tool_calls" and len(answer.message.tool_calls) == 1
    call = answer.message.tool_calls[0].function
    assert call.name == "person"
    jsonschema.validate(json.loads(call.arguments), PERSON)


def test_thinking_stays_free_under_a_schema(puzzle):
    answer = puzzle.chat.completions.create(model="x", messages=PUZZLE, max_tokens=200, seed=1, response_format={
        "type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "integer", "minimum": 10, "maximum": 99}}}).choices[0]
    assert len(answer.message.reasoning) > 20 and 10 <= json.loads(answer.message.content) <= 99


def test_schemas_that_are_not_supported(story):
    for schema, param in (({"not": {}}, "response_format.json_schema.schema"), ({"properties": {"a": {"uniqueItems": True}}}, "response_format.json_schema.schema.properties.a")):
        with pytest.raises(openai.BadRequestError) as error:
            story.chat.completions.create(model="x", messages=STORY, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
        assert error.value.param == param and "is not supported" in str(error.value)


def test_allowed_policies(puzzle):
    ok = puzzle.chat.completions.create(model="x", messages=PUZZLE, max_tokens=60, extra_body={"kv": {"method": "rpc", "interval": 16}, "ignore_eos": True})
    assert ok.throughline["choices"][0]["kv"]["compressions"] > 0
    with pytest.raises(openai.BadRequestError) as error:
        puzzle.chat.completions.create(model="x", messages=PUZZLE, extra_body={"kv": "snapkv"})
    assert error.value.param == "kv"


def test_keys_and_names():
    server = Server("stories260K", "--api-key", "one", "--api-key", "two", "--served-model-name", "tale", "--cors-origin", "https://a.example")
    try:
        with pytest.raises(openai.AuthenticationError):
            client_of(server, "three").models.list()
        client = client_of(server, "two")
        assert client.chat.completions.create(model="tale", messages=STORY, max_tokens=2).model == "tale"
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="x", messages=STORY, max_tokens=2)
        for path in ("/v1/models", "/metrics", "/props", "/requests", "/slots", "/version", "/v1/responses", "/tokenize"):
            assert server.request("GET", path)[0].status == 401, path
        assert server.request("GET", "/health")[0].status == 200
        allowed = server.request("OPTIONS", "/v1/chat/completions", headers={"Origin": "https://a.example"})[0]
        assert allowed.getheader("Access-Control-Allow-Origin") == "https://a.example"
        assert server.request("OPTIONS", "/v1/chat/completions", headers={"Origin": "https://b.example"})[0].getheader("Access-Control-Allow-Origin") is None
    finally:
        assert server.stop() == 0


@pytest.mark.skipif(not shutil.which("openssl"), reason="no openssl to make a certificate")
def test_tls(tmp_path):
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    server = Server("stories260K", "--tls-cert", str(cert), "--tls-key", str(key))
    try:
        context = ssl.create_default_context(cafile=cert)
        texts = []
        for stream in (False, True):
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=60)
            for _ in range(2):  # the connection is kept
                connection.request("POST", "/v1/chat/completions", json.dumps({"messages": STORY, "max_tokens": 20, "temperature": 0, "stream": stream}))
                text = connection.getresponse().read().decode()
                if stream:
                    chunks = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
                    texts.append("".join(c["choices"][0]["delta"].get("content") or "" for c in chunks))
                else:
                    texts.append(json.loads(text)["choices"][0]["message"]["content"])
            connection.close()
        assert len(set(texts)) == 1, texts
        assert b"HTTP/1.1 200" not in server.raw(b"GET /health HTTP/1.1\r\n\r\n").recv(100)  # plain text to a TLS port: closed, not hung
    finally:
        assert server.stop() == 0


def test_responses(puzzle):
    chat = puzzle.chat.completions.create(model="x", messages=PUZZLE, max_tokens=120, temperature=0).choices[0].message
    whole = puzzle.responses.create(model="x", input=PUZZLE[0]["content"], max_output_tokens=120, temperature=0)
    assert whole.output_text == chat.content and whole.output[0].type == "reasoning"
    said, kinds = "", []
    with puzzle.responses.stream(model="x", input=PUZZLE, max_output_tokens=120, temperature=0) as stream:
        for event in stream:
            kinds.append(event.type)
            if event.type == "response.output_text.delta":
                said += event.delta
    assert said == chat.content and kinds[0] == "response.created" and kinds[-1] in ("response.completed", "response.incomplete")


def test_a_full_queue():
    server = Server("stories260K", "--batch-max", "1", "--max-queue", "1")
    try:
        body = {"messages": STORY, "max_tokens": 450, "ignore_eos": True}
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            statuses = [f.result()[0] for f in [pool.submit(server.request, "POST", "/v1/chat/completions", body) for _ in range(6)]]
        codes = sorted(r.status for r in statuses)
        assert codes.count(200) >= 2 and set(codes) <= {200, 429}
        assert all(int(r.getheader("Retry-After")) >= 1 for r in statuses if r.status == 429)
    finally:
        assert server.stop() == 0


def test_metrics_parse(stories):
    families = {f.name: f for f in prometheus_client.parser.text_string_to_metric_families(stories.request("GET", "/metrics")[1].decode())}
    for name in ("throughline_requests_running", "throughline_requests_waiting", "throughline_kv_cache_usage_ratio", "throughline_generation_tokens",
                 "throughline_time_to_first_token_seconds", "throughline_requests", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc"):
        assert name in families, sorted(families)


def test_trace_ids_pass_through(stories):
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    response, _ = stories.request("GET", "/version", headers={"traceparent": parent})
    assert response.getheader("traceparent") == parent and response.getheader("X-Request-Id")


def test_pings_while_nothing_is_said(stories):
    connection = stories.raw()
    body = json.dumps({"messages": STORY, "stream": True, "max_tokens": 5, "stop": ["zzzz"]}).encode()
    connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    got = b""
    while part := connection.recv(65536):
        got += part
    assert got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") and b"Transfer-Encoding: chunked" in got
