"""The Python examples of docs/server.md, run as they stand against the model they are written for."""
import re

import pytest

from client import ROOT

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs/server.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES, ids=lambda code: re.search(r"(?:import|from) (\w+)", code).group(1))
def test_example(puzzles, code, capsys):
    pytest.importorskip(re.search(r"(?:import|from) (\w+)", code).group(1))
    exec(compile(code.replace("127.0.0.1:8080", f"127.0.0.1:{puzzles.port}"), "docs/server.md", "exec"), {})  # noqa: S102
    assert len(capsys.readouterr().out) > 10
