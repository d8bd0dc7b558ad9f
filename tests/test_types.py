"""What mypy knows of the public API, from a user's script under --strict."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CONFIG = """
[mypy]
strict = true
follow_imports = silent
mypy_path = {source}
[mypy-sklearn.*,skorch.*,scipy.*,pandas.*,joblib.*,tqdm.*]
ignore_missing_imports = true
# Reading these takes longer than all else; a type of theirs that a user gets would show as Any.
[mypy-torch.*,matplotlib.*]
follow_imports = skip
"""


def test_nothing_that_a_user_gets_is_any(tmp_path):
    pytest.importorskip("mypy")
    config, script = tmp_path / "mypy.ini", HERE / "typed_script.py"
    config.write_text(CONFIG.format(source=HERE.parent))
    command = [sys.executable, "-m", "mypy", "--config-file", config]
    command += ["--cache-dir", tmp_path / "cache", script]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    revealed = re.findall(r'typed_script.py:(\d+): note: Revealed type is "(.*)"', run.stdout)
    assert len(revealed) == script.read_text().count("reveal_type(")
    for line, found in revealed:
        # NumPy's shapes and precisions are parameters that this package does not fill in.
        known = re.sub(r"tuple\[Any, \.\.\.\]|numpy\.generic\[Any\]", "", found)
        assert not re.search(r"\bAny\b", known), f"line {line}: {found}"
