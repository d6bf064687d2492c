"""Helpers are found in their files by lines; Python's parser finds the same."""

from __future__ import annotations

import ast
from pathlib import Path

from attnc.backends.library import parts

ROOT = Path(__file__).resolve().parents[1]


def parsed(source: str) -> dict[str, str]:
    """The functions and assignments of a file, as Python's parser has them."""
    lines, found = source.splitlines(), dict[str, str]()
    for node in ast.parse(source).body:
        first = node.lineno
        match node:
            case ast.FunctionDef(name=name, decorator_list=decorators):
                first = min([first, *(d.lineno for d in decorators)])
            case ast.Assign(targets=[ast.Name(id=name)]):
                pass
            case _:
                continue
        found[name] = "\n".join(lines[first - 1 : node.end_lineno])
    return found


def test_parts() -> None:
    """Of all files that are copied from; a text whose line begins as a part does would be seen."""
    files = [*ROOT.glob("backends/*/*script.py"), *ROOT.glob("backends/*/*runtime.py")]
    files += [ROOT / "backends" / "triton" / "device.py", ROOT / "backends" / "tvm" / "reading.py"]
    files += [ROOT / "backends" / "tvm" / f"{name}.py" for name in ("c_build", "build", "keeping")]
    files += [
        ROOT / "backends" / "tvm" / f"{x}.py" for x in ("processor", "repeated", "threads", "tiles")
    ]
    for file in files:
        source = file.read_text(encoding="utf-8")
        assert list(parts(source).items()) == list(parsed(source).items()), file
    faulty = '_TEXT = """\nimport this\n"""\n'
    assert parts(faulty) != parsed(faulty)
