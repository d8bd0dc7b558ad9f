"""Run the README's Python block as it stands, so that a newcomer's first paste works."""

import re
import textwrap
from pathlib import Path


def main() -> None:
    text = (Path(__file__).parent.parent / "README.rst").read_text(encoding="utf-8")
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", text)
    if not blocks:
        raise SystemExit("README.rst has no Python block")
    for block in blocks:
        exec(compile(textwrap.dedent(block), "README.rst", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    main()
