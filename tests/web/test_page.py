"""The page at / in headless Chromium, against recorded answers of real models. Screens go to build/web-screens/.

    python -m pytest -q tests/web        (needs Debian's chromium, PyPI's playwright and pytest)
"""
import ast
import json
import pathlib
import re
import shlex
import subprocess

import pytest

from conftest import PUZZLE, ROOT, spec

DATA = pathlib.Path(__file__).parent / "data"


def recorded(name):
    return json.loads((DATA / f"{name}.json").read_text())


CHUNKS = spec("delethink", chunk=24, carry=12, max_chunks=20, head=0)
BOTH_LANES = [{"kv": spec("full"), "think": spec("longcot", max_thinking=150)},
              {"kv": spec("rpc", interval=4, ratio=2, window=2), "think": CHUNKS}]


def thought(trace):
    return "".join(text for text, kind in zip(trace["texts"], trace["kinds"]) if kind == "t")


def said(trace):
    return "".join(text for text, kind in zip(trace["texts"], trace["kinds"]) if kind == "a")


def test_pure_parts(visit):
    v = visit()
    v.page.goto(v.address + "test/unit.html")
    results = v.until("() => window.results", 60)
    assert len(results) > 20
    assert [r for r in results if r["error"]] == []
    for snippet in v.page.evaluate("() => window.snippets"):
        words = shlex.split(snippet["curl"].replace("\\\n", " "))
        assert json.loads(words[words.index("-d") + 1]) == snippet["body"]
        call = next(node for node in ast.walk(ast.parse(snippet["python"])) if isinstance(node, ast.Call)
                    and getattr(node.func, "attr", "") == "create")
        arguments = {a.arg: ast.literal_eval(a.value) for a in call.keywords}
        extra = arguments.pop("extra_body")
        assert {**arguments, **extra} == snippet["body"]


def test_the_page_is_small_and_keeps_to_its_policy():
    files = list((ROOT / "web").iterdir())
    assert sum(f.stat().st_size for f in files) < 128_000
    for f in files:
        text = f.read_text()
        assert "innerHTML" not in text and "insertAdjacentHTML" not in text, f
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), f
    page = (ROOT / "web" / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)


def test_chat_thinking_folded_then_answer(visit):
    v = visit(speed=40).open()
    v.preset("Delethink")
    v.ask(wait=False)
    live = v.until("() => document.querySelector('.live-text')?.textContent.length > 8 && document.querySelector('.live-text').textContent")
    assert thought(recorded("puzzle_delethink")).startswith(live[:8])
    assert not v.page.locator(".thinking").evaluate("(e) => e.open")
    assert v.page.locator(".answer").get_attribute("aria-busy") == "true"
    assert "tok/s" in v.until("() => document.querySelector('.figures').textContent.includes('tok/s') && document.querySelector('.figures').textContent")
    v.until("() => document.querySelector('.answer').dataset.state === 'done'")
    v.settle()
    trace = recorded("puzzle_delethink")
    assert v.page.locator(".said").inner_text().strip() == said(trace).strip()
    assert v.page.locator(".live-text").inner_text() == ""
    assert f"{trace['final']['tokens']['reasoning']} tokens" in v.page.locator(".thinking summary").inner_text()
    body = v.server.state.bodies[-1]
    assert body["messages"] == [{"role": "user", "content": PUZZLE}]
    assert body["think"].startswith("delethink:") and body["kv"] == "full"
    assert body["throughline"]["progress"] and body["throughline"]["chunks"]
    assert v.errors == []


def test_chunks_and_carried_tails(visit):
    v = visit(settings={"lanes": [{"kv": None, "think": CHUNKS}, {"kv": None, "think": None}]}).open()
    v.ask()
    v.page.click(".thinking summary")
    v.settle()
    trace = recorded("puzzle_delethink")
    with_thought = [n for n, c in enumerate(trace["chunks"]) if "t" in trace["kinds"][c["at_token"]: c["at_token"] + c["tokens"]]]
    assert v.page.locator(".thoughts .knot").count() == len(with_thought)
    shown = v.page.evaluate("() => [...document.querySelectorAll('.thoughts .passage-text')].map((p) => p.textContent).join('')")
    assert shown == thought(trace)
    # Every tail is twelve tokens of one letter here; the first chunk's last twelve are marked, its first twelve are not.
    first = v.page.locator(".thoughts .passage-text").first
    assert first.locator("mark.carried").evaluate("(e) => e.textContent") == thought(trace)[12:24]
    assert "last 12 tokens" in v.page.locator(".thoughts .knot").nth(1).inner_text()
    v.shot("delethink-desktop-light", whole=True)
    assert v.errors == []


def test_a_long_trace_stays_readable(visit):
    """Two thousand tokens in 20 chunks, from a recording said over and over, in large pieces."""
    v = visit(model="stories260K", speed=1e6)
    trace = recorded("story_delethink_rpc")
    times, length = 5, len(trace["texts"])
    again = {"tokens": length, **{k: trace["chunks"][1][k] for k in ("query_tokens", "head_tokens", "carried_tokens", "prompt_tokens")}}
    chunks, events = [], []
    for i in range(times):
        chunks += [{**c, **(again if i and not c["carried_tokens"] else {}), "tokens": c["tokens"], "at_token": c["at_token"] + i * length} for c in trace["chunks"]]
        events += [{**e, "at_token": e["at_token"] + i * length, "chunk": e["chunk"] + i * len(trace["chunks"])} for e in trace["events"]]
    long = {**trace, "texts": trace["texts"] * times, "kinds": "t" * (length * times - 40) + "a" * 40, "chunks": chunks, "events": events}
    v.server.state.pick = lambda *_: long
    v.open().ask()
    v.page.click(".thinking summary")
    v.page.click(".strip-button")
    v.settle()
    assert v.page.evaluate("() => [...document.querySelectorAll('.thoughts .passage-text')].map((p) => p.textContent).join('')") == thought(long)
    assert v.page.locator(".thoughts .knot").count() == len(chunks) == 20
    assert v.page.get_by_label("Chunk", exact=True).locator("option").first.inner_text() == "newest 12"
    v.shot("long-delethink-desktop-light")
    assert v.errors == []


def test_follow_up_sends_the_conversation(visit):
    v = visit().open()
    v.ask()
    v.ask("and again?")
    messages = v.server.state.bodies[-1]["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert messages[1]["content"] == said(recorded("puzzle_longcot")).strip()
    v.page.get_by_role("button", name="New conversation").click()
    assert v.page.locator(".turn").count() == 0
    v.ask("anew")
    assert len(v.server.state.bodies[-1]["messages"]) == 1


def test_strip_and_inspector_tell_what_was_kept(visit):
    lanes = [{"kv": spec("rpc", interval=32, window=8, aggregation="group"), "think": None}, {"kv": None, "think": None}]
    v = visit(settings={"lanes": lanes}, model="stories260K").open()
    v.ask("Once upon a time")
    trace = recorded("story_rpc")
    label = v.page.locator(".strip-canvas").get_attribute("aria-label")
    assert f"{trace['final']['kv']['final_tokens']} of " in label and "8 compressions" in label
    v.page.click(".strip-button")
    v.settle()
    assert v.page.locator(".strip-button").get_attribute("aria-expanded") == "true"
    # The keys walk the map: up to the first compression, then to a position, whose share we know from the recording.
    v.page.focus(".map")
    event = trace["events"][0]
    for _ in range(len(trace["events"])):
        v.page.keyboard.press("ArrowUp")
    position = 20
    for _ in range(2):
        v.page.keyboard.press("Shift+ArrowRight")
    holders = sum(any(a <= position < b for a, b in kept["ranges"]) for kept in event["kept"])
    text = v.page.locator(".readout").inner_text()
    assert f"position {position}" in text
    expected = "Cached ·" if holders == len(event["kept"]) else "Evicted" if not holders else f"Cached in {holders} of {len(event['kept'])}"
    assert text.startswith(expected), (text, expected)
    v.shot("cache-desktop-light", whole=True)
    # One layer, one head.
    v.page.get_by_label("Layer", exact=True).select_option("2")
    v.page.get_by_label("KV head").select_option("1")
    one = next(k for k in event["kept"] if k["layer"] == 2 and k["head"] == 1)
    kept = any(a <= position < b for a, b in one["ranges"])
    assert v.page.locator(".readout").inner_text().startswith("Cached" if kept else "Evicted")
    v.page.get_by_role("button", name="By layer").click()
    assert "compression 8 of 8" in v.page.locator(".slider-row").inner_text()
    v.page.get_by_label("Compression", exact=True).fill("0")
    assert "compression 1 of 8" in v.page.locator(".slider-row").inner_text()
    v.shot("layers-desktop-light", whole=True)
    # Text that left the cache fades.
    v.page.get_by_label("Fade text").check()
    v.settle()
    assert v.page.locator(".said .held-0").count() > 0
    assert v.page.evaluate("() => document.querySelector('.said').textContent") == said(trace)
    assert v.errors == []


def test_the_strip_is_painted_as_recorded(visit):
    """Counts coloured columns: under recency the cached ones are the prompt and the newest."""
    lanes = [{"kv": spec("recency", budget=64), "think": None}, {"kv": None, "think": None}]
    v = visit(settings={"lanes": lanes}, model="stories260K").open()
    v.ask("Once upon a time")
    trace = recorded("story_recency")
    shares = v.page.evaluate("""() => { const canvas = document.querySelector('.strip-canvas'); const row = canvas.getContext('2d').getImageData(0, 8, canvas.width, 1).data;
        const kept = [0x1d, 0x74, 0x80]; return Array.from({length: canvas.width}, (_, x) => kept.every((c, i) => Math.abs(row[4 * x + i] - c) < 12)); }""")
    total = trace["chunks"][0]["prompt_tokens"] + len(trace["texts"])
    assert abs(sum(shares) / len(shares) - 64 / total) < 0.02
    assert shares[2] and shares[-3] and not shares[len(shares) // 2]


def test_side_by_side(visit):
    v = visit(settings={"compare": True, "lanes": BOTH_LANES, "panel": False}).open()
    v.ask()
    assert v.page.locator(".answer").count() == 2
    a, b = v.server.state.bodies[-2:]
    if a["think"].startswith("delethink"):
        a, b = b, a
    assert (a["kv"], b["kv"]) == ("full", "rpc:interval=4,ratio=2,window=2")
    assert a["seed"] == b["seed"] and a["messages"] == b["messages"]
    rows = v.page.locator(".comparison tbody tr").all_inner_texts()
    peaks = next(row for row in rows if row.startswith("Peak"))
    for name in ("puzzle_longcot", "puzzle_delethink_rpc"):
        assert str(recorded(name)["final"]["kv"]["peak_tokens"]) in peaks
    for summary in v.page.locator(".thinking summary").all():
        summary.click()
    v.settle()
    v.shot("side-by-side-desktop-light", whole=True)
    v.page.get_by_role("button", name="Side by side").click()
    v.ask("one lane again")
    assert v.page.locator(".turn").last.locator(".answer").count() == 1
    assert v.errors == []


@pytest.mark.parametrize("by_key", [False, True])
def test_stop(visit, by_key):
    v = visit(speed=15).open()
    v.ask(wait=False)
    v.until("() => document.querySelector('.live-text')?.textContent.length > 2")
    if by_key:
        v.page.keyboard.press("Escape")
    else:
        v.page.get_by_role("button", name="Stop").click()
    v.until("() => document.querySelector('.answer').dataset.state === 'done'", 10)
    v.settle()
    assert v.server.state.cancelled
    assert v.page.locator(".notice").last.inner_text() == "Stopped."
    assert v.page.get_by_role("button", name="Send").count() == 1


def test_errors_are_told_kindly(visit):
    v = visit(speed=200).open()
    v.ask("!busy")
    notice = v.page.locator(".turn").last.locator(".notice")
    assert "busy" in notice.inner_text() and "7 s" in notice.inner_text()
    v.page.get_by_role("button", name="Try again").click()
    v.until("() => document.querySelector('.answer').dataset.state === 'failed'")
    v.ask("!bad")
    assert "unknown option" in v.page.locator(".turn").last.locator(".notice").inner_text()
    v.ask("!drop")
    last = v.page.locator(".turn").last
    assert "What had arrived is kept" in last.locator(".notice").inner_text()
    assert last.locator(".thinking").is_visible()
    v.ask("!error")
    assert "--kv-memory" in v.page.locator(".turn").last.locator(".notice").inner_text()
    v.shot("errors-desktop-light")
    v.page.context.set_offline(True)
    v.ask("hello?")
    assert "does not answer" in v.page.locator(".turn").last.locator(".notice").inner_text()


def test_api_key(visit):
    v = visit(key="sesame")
    v.page.goto(v.address)
    v.page.get_by_role("button", name="Enter it").wait_for()
    assert v.page.evaluate("() => document.activeElement.name") == "api-key"
    v.page.keyboard.type("sesame")
    v.page.keyboard.press("Enter")
    v.page.wait_for_selector(".welcome .preset")
    v.ask()
    assert v.page.locator(".answer").get_attribute("data-state") == "done"
    assert v.page.evaluate("() => JSON.stringify(localStorage)").count("sesame") == 0
    v.page.reload()
    v.page.wait_for_selector(".welcome .preset")
    v.page.get_by_label("Remember it").check()
    assert v.page.evaluate("() => localStorage['throughline.key']") == "sesame"
    v.page.get_by_label("Remember it").uncheck()
    assert v.page.evaluate("() => localStorage['throughline.key'] ?? null") is None


def test_model_output_is_text(visit):
    v = visit(speed=2000).open()
    dialogs = []
    v.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    v.ask("!html <img src=x onerror=alert(9)>")
    box = v.page.locator(".turn")
    assert box.locator("img, script, a").count() == 0
    assert "<script>alert(2)</script>" in box.inner_text()
    assert box.locator("pre").inner_text() == "print('<b>not markup</b>')"
    assert box.locator("strong").count() == 1 and box.locator("li").count() == 4
    assert dialogs == [] and v.errors == []


def test_settings_come_from_props_and_are_kept(visit):
    v = visit(height=1600).open()
    cache = v.page.get_by_role("region", name="Cache")
    props = v.server.state.props
    select = cache.get_by_label("Cache", exact=True)
    assert [o.inner_text() for o in select.locator("option").all()] == [m["method"] for m in props["kv"]["methods"]]
    for method in props["kv"]["methods"]:
        select.select_option(method["method"])
        for option in method["options"]:
            control = cache.locator(f"[data-option={option['name']}]")
            assert control.count() == 1, (method["method"], option["name"])
            assert option["help"] in control.locator("xpath=..").inner_text() or control.is_hidden()
        assert cache.locator(".fault").inner_text() == "", method["method"]  # what is required has been filled in
    select.select_option("rpc")
    cache.get_by_label("interval").fill("64")
    cache.get_by_label("budget").fill("2K")
    text = cache.get_by_label("Cache as a spec")
    assert text.input_value() == "rpc:interval=64,budget=2K"
    cache.get_by_label("interval").fill("sixty")
    assert cache.locator("[data-option=interval]").get_attribute("aria-invalid") == "true"
    assert "interval is a number" in cache.locator(".fault").inner_text()
    text.fill("snapkv:budget=96,interval=32")
    text.press("Enter")
    assert cache.get_by_label("Cache", exact=True).input_value() == "snapkv"
    assert cache.get_by_label("interval").input_value() == "32"
    v.page.get_by_label("Thinking budget", exact=True).fill("3")
    v.page.get_by_label("temperature").fill("0.3")
    v.page.reload()
    v.page.wait_for_selector(".welcome .preset")
    assert v.page.get_by_label("Cache as a spec").input_value() == "snapkv:budget=96,interval=32"
    v.ask()
    body = v.server.state.bodies[-1]
    assert body["kv"] == "snapkv:budget=96,interval=32" and body["temperature"] == 0.3
    assert body["thinking_token_budget"] == 64
    v.page.get_by_role("button", name="Back to the defaults").click()
    assert v.page.get_by_label("Cache as a spec").input_value() == "full"
    assert v.errors == []


def test_foreign_settings_do_no_harm(visit):
    v = visit(settings={"lanes": "nonsense", "compare": "yes", "budget": 7, "events": None, "more": [1]}).open()
    v.ask()
    assert v.page.locator(".answer").count() == 1 and v.errors == []


def test_copy_as_curl_and_python(visit):
    v = visit().open()
    v.preset("RPC")
    v.ask("it's here")
    v.page.get_by_role("button", name="curl").click()
    v.page.get_by_text("Copied").wait_for()
    command = v.page.evaluate("() => navigator.clipboard.readText()")
    out = subprocess.run(["bash", "-c", command.replace("curl -N", "curl -sN --max-time 20")], capture_output=True, text=True, check=True).stdout
    assert out.rstrip().endswith("data: [DONE]")
    assert v.server.state.bodies[-1]["messages"] == [{"role": "user", "content": "it's here"}]
    v.page.get_by_role("button", name="Python").click()
    v.until("async () => (await navigator.clipboard.readText()).includes('openai')")
    ast.parse(v.page.evaluate("() => navigator.clipboard.readText()"))


def test_nothing_leaves_the_server_and_nothing_breaks_the_policy(visit):
    v = visit().open()
    v.preset("Both")
    v.ask()
    v.page.click(".strip-button")
    v.page.get_by_role("button", name="Theme").click()
    v.settle()
    assert v.hosts == {v.address.split("/")[2]}
    assert v.errors == []


def test_keyboard(visit):
    v = visit().open()
    assert v.page.evaluate("() => document.activeElement.id") == "prompt"
    v.page.keyboard.type("one")
    v.page.keyboard.press("Shift+Enter")
    v.page.keyboard.type("two")
    assert v.page.input_value("#prompt") == "one\ntwo"
    v.page.fill("#prompt", "")
    # Every control can be reached by Tab, has a name, and shows where the focus is.
    v.page.focus(".skip")
    names, seen = [], set()
    for _ in range(120):
        v.page.keyboard.press("Tab" if names else "Shift")
        here = v.page.evaluate("""() => { const e = document.activeElement; if (!e || e === document.body) return null; e.dataset.seen ??= String(Math.random());
            const label = e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent || e.title; const style = getComputedStyle(e);
            return [e.dataset.seen, label.trim(), e.id === 'prompt' || style.outlineStyle !== 'none']; }""")
        if here is None or here[0] in seen:
            break
        seen.add(here[0])
        names.append(here[1])
        assert here[1], "a control without a name"
        assert here[2], f"no focus ring on {here[1]}"
    assert len(names) > 20 and any("Skip" in n for n in names)
    v.page.evaluate("() => document.activeElement.blur()")
    v.page.keyboard.press("/")
    assert v.page.evaluate("() => document.activeElement.id") == "prompt"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrast(visit, theme):
    v = visit(theme=theme).open()
    colors = v.page.evaluate("""() => { const s = getComputedStyle(document.documentElement);
        return Object.fromEntries(['paper','surface','sunken','ink','soft','muted','thread','on-thread','bad','bad-tint','carried-tint','head-tint','kept','gone'].map((n) => [n, s.getPropertyValue('--' + n).trim()])); }""")

    def luminance(text):
        parts = [int(text[i: i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(a, b):
        high, low = sorted((luminance(colors[a]), luminance(colors[b])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for text, ground, least in [("ink", "paper", 7), ("soft", "paper", 7), ("soft", "sunken", 7), ("muted", "paper", 4.5), ("muted", "surface", 4.5),
                                ("muted", "sunken", 4.5), ("soft", "carried-tint", 4.5), ("soft", "head-tint", 4.5), ("bad", "bad-tint", 4.5),
                                ("on-thread", "thread", 4.5), ("thread", "paper", 3), ("kept", "gone", 3)]:
        assert contrast(text, ground) >= least, (text, ground, contrast(text, ground))
    v.shot(f"welcome-desktop-{theme}")


def test_theme_button(visit):
    v = visit(theme="dark").open()
    theme = "() => document.documentElement.dataset.theme"
    assert v.page.evaluate(theme) == "dark"
    v.page.get_by_role("button", name="Theme: as the system").click()
    assert v.page.evaluate(theme) == "light"
    v.page.reload()
    v.page.wait_for_selector(".welcome .preset")
    assert v.page.evaluate(theme) == "light"
    v.page.get_by_role("button", name="Theme: light").click()
    assert v.page.evaluate(theme) == "dark"


@pytest.mark.parametrize("width", [320, 390])
def test_phone(visit, width):
    lanes = [{"kv": spec("rpc", interval=4, ratio=2, window=2), "think": CHUNKS}, {"kv": None, "think": None}]
    v = visit(phone=True, settings={"lanes": lanes})
    v.page.set_viewport_size({"width": width, "height": 844})
    v.open()
    fits = "() => document.documentElement.scrollWidth <= innerWidth && document.getElementById('talk').scrollWidth <= innerWidth"
    assert v.page.evaluate(fits)
    if width == 390:
        v.shot("welcome-phone-light")
    v.page.get_by_role("button", name="Settings", exact=True).click()
    assert v.page.locator("#panel").is_visible() and v.page.evaluate("() => document.getElementById('talk').inert")
    assert v.page.evaluate("() => document.getElementById('panel').scrollWidth <= innerWidth")
    if width == 390:
        v.shot("settings-phone-light")
    v.page.keyboard.press("Escape")
    assert v.page.locator("#panel").is_hidden()
    v.ask()
    v.page.click(".thinking summary")
    v.page.click(".strip-button")
    v.settle()
    assert v.page.evaluate(fits)
    box = v.page.locator(".composer-box").bounding_box()
    assert box["y"] + box["height"] <= 844 and box["width"] <= width
    small = v.page.evaluate("() => [...document.querySelectorAll('.bar button, .send')].filter((b) => b.offsetWidth < 36 || b.offsetHeight < 36).length")
    assert small == 0
    if width == 390:
        v.shot("delethink-phone-light", whole=True)
    assert v.errors == []


def test_screens_of_the_other_kinds(visit):
    """No asserts beyond a clean console: the pictures that people look at."""
    lanes = [{"kv": spec("rpc", interval=16, window=8), "think": spec("delethink", chunk=160, carry=64, head=16)}, {"kv": None, "think": None}]
    dark = visit(settings={"lanes": BOTH_LANES, "compare": True, "panel": False}, theme="dark").open()
    dark.ask()
    dark.shot("side-by-side-desktop-dark", whole=True)
    phone = visit(settings={"lanes": BOTH_LANES, "compare": True}, theme="dark", phone=True).open()
    phone.ask()
    phone.shot("side-by-side-phone-dark", whole=True)
    story = visit(settings={"lanes": lanes}, model="stories260K", theme="dark").open()
    story.ask("Once upon a time")
    story.page.click(".strip-button")
    story.settle()
    story.shot("story-desktop-dark", whole=True)
    live = visit(settings={"lanes": [BOTH_LANES[1], BOTH_LANES[0]]}, phone=True, theme="dark", speed=25).open()
    live.ask(wait=False)
    live.until("() => document.querySelectorAll('.answer').length && Number(document.querySelector('.figures b')?.textContent) > 45")
    live.shot("live-phone-dark")
    for v in (dark, phone, story, live):
        assert v.errors == []
