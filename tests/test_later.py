"""Kernels for few rows are made when a call needs them, and are those of the whole module."""

from __future__ import annotations

from typing import Any

import pytest

import attnc
import attnc.planning
from attnc.errors import Report, Source, Span, SpecError
from attnc.modules import LATER, function_of
from attnc.python.build import Choices, build, forget
from tests.support import ROOT

torch = pytest.importorskip("torch")
pytest.importorskip("tvm")

TEXT = (ROOT / "examples" / "dense.attn").read_text(encoding="utf-8")
TVM = Choices(backend="tvm")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows with each plan in pieces; nothing is on disk, nothing was built before."""
    found: list[None] = []
    plain = attnc.planning.in_pieces

    def counted(*facts: Any, **options: Any) -> Any:
        found.append(None)
        return plain(*facts, **options)

    monkeypatch.setenv("ATTNC_CACHE", "off")
    monkeypatch.setattr(attnc.planning, "in_pieces", counted)
    forget()
    return found


def test_few_rows_are_planned_when_they_come(made: list[None]) -> None:
    k, v = torch.rand(1, 2, 700, 16), torch.rand(1, 2, 700, 16)
    q = torch.rand(1, 2, 80, 16)
    whole = function_of(attnc.compile(TEXT, backend="tvm"), "whole")
    made.clear()
    own = build(TEXT, TVM, "<spec>")
    assert torch.equal(own.function(q, k, v), whole(q, k, v))
    assert not made
    for _ in range(2):
        assert torch.equal(own.function(q[:, :, :1], k, v), whole(q[:, :, :1], k, v))
        assert len(made) == 1
    assert LATER not in own.source
    assert own.source == attnc.compile(TEXT, backend="tvm")


def test_without_them_others_run(made: list[None], monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be printed is no error where something else can do it."""

    def refused(*_: Any, **__: Any) -> None:
        made.append(None)
        report = Report(Source("<spec>", TEXT))
        report.error("nothing is in pieces", Span(0, 1))
        raise SpecError(report.errors)

    q, k, v = torch.rand(1, 2, 1, 16), torch.rand(1, 2, 700, 16), torch.rand(1, 2, 700, 16)
    monkeypatch.setattr(attnc.planning, "in_pieces", refused)
    found = build(TEXT, TVM, "<spec>").function(q, k, v)
    assert len(made) == 1
    expected = torch.softmax(q @ k.mT / 4, -1) @ v
    torch.testing.assert_close(found, expected)
