"""The page against `throughline serve` itself, on the shipped models; skipped where no such binary has been built.

THROUGHLINE_BINARY names another binary than build/release/throughline.
"""
import json
import os
import re
import subprocess
import threading
import urllib.request

import pytest

import mock_server
from conftest import PUZZLE, ROOT, spec

BINARY = os.environ.get("THROUGHLINE_BINARY", str(ROOT / "build" / "release" / "throughline"))
THINK = spec("delethink", chunk=24, carry=12, max_chunks=20, head=4, reserve=8)
KV = spec("rpc", interval=8, ratio=2, window=4)


def text_of(value):
    return value["method"] + (":" + ",".join(f"{k}={v}" for k, v in value["options"].items()) if value["options"] else "")


@pytest.fixture(scope="module", params=["iterate_map", "stories260K"])
def real(request):
    """The address of a page: the server's own, or web/ from the working tree before a server without one."""
    if not os.access(BINARY, os.X_OK) or subprocess.run([BINARY, "serve", "--help"], capture_output=True).returncode:
        pytest.skip(f"{BINARY} has no serve command")
    process = subprocess.Popen([BINARY, "serve", "--model", str(ROOT / "models" / request.param), "--port", "0", "--threads", "1"],
                               stderr=subprocess.PIPE, text=True)
    line = ""
    while not (found := re.search(r"http://127\.0\.0\.1:\d+", line)):
        line = process.stderr.readline()
        assert line or process.poll() is None, "the server ended at once"
    threading.Thread(target=process.stderr.read, daemon=True).start()
    address, proxy = found.group(0), None
    try:
        urllib.request.urlopen(address + "/").close()
    except urllib.error.HTTPError:
        proxy = mock_server.serve(upstream=address)
        address = f"http://127.0.0.1:{proxy.server_port}"
    yield request.param, address + "/"
    if proxy:
        proxy.shutdown()
    process.terminate()
    assert process.wait(30) == 0


def ask_api(address, **body):
    data = json.dumps({"model": "any", "messages": [{"role": "user", "content": PUZZLE}], **body}).encode()
    request = urllib.request.Request(address + "v1/chat/completions", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)


def test_the_page_shows_what_the_api_says(visit, real):
    model, address = real
    settings = {"lanes": [{"kv": KV, "think": THINK}, {"kv": None, "think": None}], "seed": "3", "temperature": "0.6", "max_tokens": "300"}
    v = visit(address=address, settings=settings).open()
    v.ask()
    reply = ask_api(address, kv=text_of(KV), think=text_of(THINK), seed=3, temperature=0.6, max_tokens=300,
                    throughline={"kv_events": True, "chunks": True})
    final = reply["throughline"]["choices"][0]
    message = reply["choices"][0]["message"]
    if v.page.locator(".thinking").is_visible():
        v.page.click(".thinking summary")
    v.settle()
    texts = "() => [...document.querySelectorAll('%s .passage-text')].map((p) => p.textContent).join('')"
    thought = message.get("reasoning_content") or ""
    assert v.page.evaluate(texts % ".thoughts") == thought
    if not thought:
        assert v.page.evaluate(texts % ".said") == message["content"]
    else:
        assert v.page.locator(".said").inner_text().strip() == message["content"].strip()
    # The tails that the page marks are those the server says it carried.
    events = [e for e in final.get("events", reply["choices"][0].get("events", [])) if e["type"] == "chunk"]
    assert len(events) == len(final["chunks"]) > 2
    where = ".thoughts" if thought else ".said"
    first = v.page.locator(f"{where} .passage-text").first
    # (a token's leading space is in the mark; the server tells the tail as a text of its own, without)
    assert first.locator("mark.carried").evaluate("(e) => e.textContent").lstrip() == events[1]["carried_text"].lstrip()
    assert first.locator("mark.head").evaluate("(e) => e.textContent") == events[1]["head_text"]
    label = v.page.locator(".strip-canvas").get_attribute("aria-label")
    assert f"{final['kv']['final_tokens']} of" in label and f"{final['kv']['compressions']} compression" in label
    v.page.click(".strip-button")
    v.settle()
    v.shot(f"real-{model}-desktop-light", whole=True)
    assert v.errors == []


def test_what_the_controls_offer_the_server_takes(visit, real):
    """Every method as the controls open it, and every preset, answered by the server without an error."""
    _, address = real
    v = visit(address=address, settings={"max_tokens": "3"}).open()
    specs = set()
    for kind, label in (("kv", "Cache"), ("think", "Thinking")):
        group = v.page.get_by_role("region", name=label, exact=True)
        select = group.get_by_label(label, exact=True)
        for method in select.locator("option").all_inner_texts():
            select.select_option(method)
            specs.add((kind, group.get_by_label(f"{label} as a spec").input_value()))
    for name in ("Plain", "RPC", "Delethink", "Both"):
        v.preset(name)
        for kind, label in (("kv", "Cache"), ("think", "Thinking")):
            specs.add((kind, v.page.get_by_label(f"{label} as a spec").input_value()))
    assert len(specs) >= 14
    for kind, value in specs:
        assert ask_api(address, max_tokens=3, **{kind: value})["choices"][0]["finish_reason"], value


def test_side_by_side_and_errors(visit, real):
    model, address = real
    lanes = [{"kv": None, "think": None}, {"kv": KV, "think": THINK}]
    v = visit(address=address, theme="dark", settings={"lanes": lanes, "compare": True, "panel": False, "max_tokens": "160"}).open()
    v.ask()
    assert v.page.locator(".comparison").count() == 1
    v.shot(f"real-{model}-side-by-side-dark", whole=True)
    assert v.errors == []
    v = visit(address=address, settings={"lanes": [{"kv": spec("rpc", intervall=3), "think": None}, {"kv": None, "think": None}]}).open()
    v.ask()
    assert "intervall" in v.page.locator(".notice").inner_text()


def test_stop(visit, real):
    _, address = real
    v = visit(address=address, settings={"lanes": [{"kv": None, "think": spec("force", min_thinking=900, max_forces=400)}, {"kv": None, "think": None}]}).open()
    v.ask(wait=False)
    v.until("() => document.querySelector('.figures b')")
    v.page.keyboard.press("Escape")
    v.until("() => ['done', 'failed'].includes(document.querySelector('.answer').dataset.state)", 10)
    v.settle()
    assert "Stopped" in v.page.locator(".notice").inner_text() or v.page.locator(".answer").get_attribute("data-state") == "done"
    live = json.load(urllib.request.urlopen(address + "requests"))
    assert live["running"] + live["waiting"] + live["queued"] == 0
