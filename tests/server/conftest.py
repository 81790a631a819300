"""Servers for the conformity suite: one a model, started once. `./throughline test --clients --filter conformity` runs the suite."""
import pathlib
import sys

import openai
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from client import Server  # noqa: E402


@pytest.fixture(scope="session")
def stories():
    server = Server("stories260K", "--ping", "0.2")
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="session")
def puzzles():
    server = Server("iterate_map", "--allow-kv", "full,rpc,recency")
    yield server
    assert server.stop() == 0


def client_of(server, key="none"):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{server.port}/v1", api_key=key, max_retries=0, timeout=60)


@pytest.fixture(scope="session")
def story(stories):
    return client_of(stories)


@pytest.fixture(scope="session")
def puzzle(puzzles):
    return client_of(puzzles)
