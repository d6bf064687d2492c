"""Where a space stands between two words of one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from attnc.grammar.lines import RELATIONS
from attnc.grammar.trivia import OPERAND_ENDS, Word

SUM_SIGNS: Final = frozenset({"PLUS", "MINUS"})
SIGNS: Final = frozenset({"MINUS", "TILDE"})
SINGLE: Final = frozenset({"NAME", "INT", "FLOAT"})


@dataclass(slots=True)
class _Bracket:
    """An open bracket, or the whole line, and what is known of its content so far."""

    opening: int
    index: bool
    """Whether it holds indices or ranks: operators stand close together."""
    group: list[int] = field(default_factory=list[int])
    """The arithmetic operators since the last word that binds more weakly."""
    begins: int = 0
    """The first word of that group."""
    compared: bool = False
    """Whether the group is the right operand of a comparison."""
    commas: list[int] = field(default_factory=list[int])


def brackets(words: Sequence[Word]) -> dict[int, int]:
    """The closing bracket of each opening one."""
    found: dict[int, int] = {}
    opened: list[int] = []
    for i, word in enumerate(words):
        if word.opens:
            opened.append(i)
        elif word.closes:
            found[opened.pop()] = i
    return found


def spaces(words: Sequence[Word]) -> list[str]:
    """What stands before each word that does not begin a line: a space or nothing."""
    return _Spacing(words).run()


class _Spacing:
    """Decides bracket by bracket, from the inside out."""

    def __init__(self, words: Sequence[Word]) -> None:
        self.words = words
        self.closing = brackets(words)
        self.before = [""] + [_plain(words, i) for i in range(1, len(words))]

    def run(self) -> list[str]:
        stack = [_Bracket(-1, index=False)]
        for i, word in enumerate(self.words):
            if word.opens:
                stack.append(_Bracket(i, self._holds_indices(i, stack[-1]), begins=i + 1))
            elif word.closes:
                self._end_group(stack[-1], i)
                self._commas(stack.pop(), i)
            elif word.binary:
                stack[-1].group.append(i)
            elif word.kind not in OPERAND_ENDS and word.kind not in SIGNS:
                self._end_group(stack[-1], i)
                stack[-1].compared = word.kind in RELATIONS
                if word.kind == "COMMA":
                    stack[-1].commas.append(i)
        self._end_group(stack[-1], len(self.words))
        return self.before

    def _holds_indices(self, opening: int, outer: _Bracket) -> bool:
        """Whether a bracket is that of a tensor, or groups within one."""
        if self.words[opening].text == "[":
            behind = self.closing[opening] + 1
            return behind == len(self.words) or self.words[behind].text != "("
        return outer.index and not _applies(self.words, opening)

    # Arithmetic

    def _end_group(self, bracket: _Bracket, end: int) -> None:
        """Decides about the operators of a bracket up to a word that binds more weakly."""
        if bracket.group:
            compared = bracket.compared or self._kind(end) in RELATIONS
            if bracket.index:
                self._index(bracket, end)
            else:
                self._expression(bracket, end, compared)
        bracket.group, bracket.begins, bracket.compared = [], end + 1, False

    def _kind(self, i: int) -> str:
        return self.words[i].kind if i < len(self.words) else ""

    def _index(self, bracket: _Bracket, end: int) -> None:
        """In an index `c*R + r`, `t//R - 1`, `t-1`."""
        single = end - bracket.begins == 3 and self._single(bracket.begins, end)
        for i in bracket.group:
            if single or self.words[i].kind not in SUM_SIGNS:
                self._close_up(i)

    def _single(self, begins: int, end: int) -> bool:
        """Whether both operands of a group are one word, and it is all of an index."""
        ends = self._kind(end) == "COMMA" or self.words[end].closes
        opens = self.words[begins - 1].opens or self.words[begins - 1].kind == "COMMA"
        words = self.words[begins], self.words[end - 1]
        return ends and opens and all(w.kind in SINGLE for w in words)

    def _expression(self, bracket: _Bracket, end: int, compared: bool) -> None:
        """Elsewhere operators have spaces; `c*R + r < n`, `x**2` may stay as they are written."""
        within = compared or any(self.words[i].kind in SUM_SIGNS for i in bracket.group)
        begins = bracket.begins
        product: list[int] = []
        for i in bracket.group:
            if self.words[i].kind in SUM_SIGNS:
                self._product(product, begins, i, within)
                begins, product = i + 1, []
            else:
                product.append(i)
        self._product(product, begins, end, within)

    def _product(self, operators: Sequence[int], begins: int, end: int, within: bool) -> None:
        """Decides about a product; `within` if it is an operand of a sum or a comparison."""
        powers = [i for i in operators if self.words[i].kind == "POWER"]
        others = [i for i in operators if self.words[i].kind != "POWER"]
        for i in powers:
            if self._written_close(i):
                self._close_up(i)
        starts = [begins, *(i + 1 for i in others)]
        ends = [*others, end]
        small = all(self._small(a, b) for a, b in zip(starts, ends, strict=True))
        if within and small and all(self._written_close(i) for i in others):
            for i in others:
                self._close_up(i)

    def _small(self, begins: int, end: int) -> bool:
        """Whether an operand is one word or stands in parentheses."""
        if end - begins == 1:
            return True
        return self.words[begins].text == "(" and self.closing[begins] == end - 1

    def _written_close(self, operator: int) -> bool:
        behind = self.words[operator + 1]
        here = self.words[operator]
        return not (here.breaks or here.space or behind.breaks or behind.space)

    def _close_up(self, operator: int) -> None:
        self.before[operator] = self.before[operator + 1] = ""

    # Lists

    def _commas(self, bracket: _Bracket, closing: int) -> None:
        """Lists in square brackets: `[b,h,m,e]`, `[n, reverse]`."""
        if self.words[bracket.opening].text == "(":
            return
        bounds = [bracket.opening, *bracket.commas, closing]
        items = list(zip(bounds, bounds[1:], strict=False))
        short = all(self._short(a + 1, b) for a, b in items)
        if bracket.index:
            behind = [self.words[i + 1] for i in bracket.commas]
            wide = not short and all(w.space for w in behind if not (w.breaks or w.closes))
        else:
            wide = not all(b - a <= 2 for a, b in items)
        for i in bracket.commas:
            word = self.words[i + 1]
            if not wide and (bracket.index or word.text != "reverse"):
                self.before[i + 1] = ""

    def _short(self, begins: int, end: int) -> bool:
        """Whether an index has neither spaces nor brackets."""
        for i in range(begins, end):
            if self.words[i].opens or (i > begins and self.before[i]):
                return False
        return True


def _applies(words: Sequence[Word], opening: int) -> bool:
    """Whether a round bracket follows a name: `f(`, `sum[n](`, `cascade f(`."""
    before = words[opening - 1] if opening else None
    return before is not None and (before.kind == "NAME" or before.text == "]")


def _plain(words: Sequence[Word], i: int) -> str:
    """What stands before a word, whatever it is a part of."""
    before, word = words[i - 1], words[i]
    if before.opens or word.closes or word.text in (",", ":", "["):
        return ""
    if before.kind in SIGNS and not before.binary:
        return ""
    if word.text == "(" and _applies(words, i):
        return ""
    return " "
