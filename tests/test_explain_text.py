"""What `attnc explain` shows of kernels."""

from __future__ import annotations

from typing import Any

import pytest

import attnc
from attnc.ir.facts import Facts
from attnc.passes.tiling.lower import NotLowered
from attnc.terminal import explanation_text
from tests import examples, golden, shown

TWO_PASSES = (examples.ROOT / "tests/tiles/two_passes.attn").read_text("utf-8")
GOLDENS = ("two_passes",)


def explained(text: str, name: str = "spec.attn", **sizes: int) -> dict[str, Any]:
    checked = attnc.check(text, name)
    found: Any = attnc.explain(checked.select(), sizes, "f32", checked.source)
    return found  # type: ignore[no-any-return]


def test_text(renew: bool) -> None:
    found = explained(TWO_PASSES, "two_passes.attn", M=4096, N=4096, F=64)
    golden.compare("explain", "two_passes", explanation_text(found) + "\n", renew)


def test_no_orphans(renew: bool) -> None:
    if renew:
        golden.prune("explain", GOLDENS)
    assert golden.orphans("explain", GOLDENS) == []


@pytest.mark.parametrize("name", examples.NAMES)
def test_text_is_narrow(name: str) -> None:
    """What is said of kernels fits into 100 columns but for words that are longer."""
    _, _, compiled = explanation_text(shown.explained(name)).partition("\nGraph\n")
    _, _, compiled = compiled.partition("\n\n")
    assert compiled
    for line in compiled.splitlines():
        assert line == line.rstrip()
        assert len(line) <= 100 or len(line.split()) <= 2 or " " not in line[60:].strip(), line


def test_text_names_places() -> None:
    said = explanation_text(explained(TWO_PASSES, "folder/two_passes.attn"))
    lines = said.partition("What takes another pass\n")[2]
    assert lines.startswith("  folder/two_passes.attn:3: max(S[m,n] - U_sum[m] / ")
    assert "\n  folder/two_passes.attn:4: max(S[m,n] - U_sum[m] / " in lines


def test_what_cannot_be_tiled_is_said_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    text = examples.text("causal")
    term = attnc.check(text).select().cascade.einsums[-1].value

    def refuses(facts: Facts, sizes: object) -> None:
        assert sizes == {"M": 3}
        raise NotLowered(term, "it is only a test")

    monkeypatch.setattr("attnc.plan_data.planned", refuses)
    found = explained(text, "causal.attn", M=3)
    assert found["compiled"] is None
    (refusal,) = found["refusals"]
    assert refusal["line"] == len(text.splitlines())
    assert refusal["reason"] == "it is only a test"
    said = explanation_text(found)
    assert f"\nNot tiled yet\n  causal.attn:{refusal['line']}: " in said
