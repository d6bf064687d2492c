"""Random cascades that look like attention: most are derived, and all running forms occur.

Scores by several contractions, random masks, one to three normalisers in one to three passes,
outputs that read them, maps and reductions at random places, grouped heads, one or two streamed
ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Weights:
    """Weights of the keys: a text over them, what the sum with them is then divided by, and their
    logarithm, where that is written."""

    text: str
    below: str = ""
    log: str = ""


class _Maker:
    """Makes one cascade."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.lines: list[str] = []
        self.inputs: dict[str, str] = {}
        self.parameters: dict[str, str] = {}
        self.counts: dict[str, int] = {}
        self.results: dict[str, tuple[str, ...]] = {}
        self.left = self.pick([("m",), ("m",), ("h", "m"), ("h", "m"), ("h",), ("b", "h", "m")])
        self.over = self.pick([("n",), ("n",), ("n",), ("n", "l")])
        self.grouped = "h" in self.left and self.chance(0.4)
        self.heads = [v for v in self.left if v != "m"]

    def pick(self, items: Sequence[T]) -> T:
        return items[int(self.rng.integers(len(items)))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def name(self, letter: str) -> str:
        self.counts[letter] = self.counts.get(letter, 0) + 1
        return f"{letter}{self.counts[letter]}"

    def line(self, letter: str, variables: Sequence[str], value: str, where: str = "") -> str:
        """Defines a tensor; how it is read."""
        name = self.name(letter)
        read = f"{name}[{','.join(variables)}]"
        condition = f" where {where}" if where else ""
        self.lines.append(f"{read} = {value}{condition}")
        self.results[name] = tuple(variables)
        return read

    # Tensors that are given

    def given(self, name: str, variables: Sequence[str], element: str = "") -> str:
        """Declares an input; how it is read."""
        sizes = [v.upper() for v in variables]
        index = list(variables)
        if self.grouped and name[0] in "KVY" and "h" in index:
            at = index.index("h")
            sizes[at], index[at] = "J", "h//G"
        self.inputs[name] = f"{name}[{','.join(sizes)}]" + (f": {element}" if element else "")
        return f"{name}[{','.join(index)}]"

    def query(self, *rest: str) -> str:
        name = self.pick(["Q", "Q", "Q2"])
        return self.given(name, [*self.left, *rest])

    def key(self, *rest: str) -> str:
        name = self.pick(["K", "K", "K2"])
        read = self.given(name, [*self.heads, *self.over, *rest])
        if rest and not self.grouped and self.chance(0.15):
            return self.line(
                "T", [*self.heads, *self.over, *rest], f"l2norm[{rest[0]}]({read}, 0.1)"
            )
        return read

    def value(self) -> str:
        read = self.given("V", [*self.heads, *self.over, "f"])
        if not self.grouped and self.chance(0.15):
            form = self.pick(["silu({0})", "{0} * tanh({0})", "rmsnorm[f]({0}, 0.1)"])
            return self.line("T", [*self.heads, *self.over, "f"], form.format(read))
        return read

    # Scores

    def score(self) -> str:
        """A tensor of scores over queries and keys."""
        n = self.over[0]
        form = self.pick(
            ["dot", "dot", "dot", "distance", "additive", "bilinear", "tropical", "given"]
        )
        match form:
            case "dot":
                text = f"{self.query('e')} * {self.key('e')}" + self.pick(
                    [" / sqrt(E)", "", " * 0.5"]
                )
            case "distance":
                text = f"-(sum[e](({self.query('e')} - {self.key('e')}) ** 2))"
            case "additive":
                text = (
                    f"sum[e](tanh({self.query('e')} + {self.key('e')}) * {self.given('w', ['e'])})"
                )
            case "bilinear":
                text = f"{self.query('e')} * {self.given('W', ['e', 'd'])} * {self.key('d')} / 4"
            case "tropical":
                op = self.pick(["max", "min"])
                text = f"{op}[e]({self.query('e')} + {self.key('e')})"
            case _:
                text = self.given(self.pick(["X", "Z"]), [*self.left, *self.over])
        if self.chance(0.15):
            text = self.pick(["2 * tanh(({0}) / 2)", "abs({0})", "({0}) ** 2 / 4"]).format(
                f"sum[{'e,d' if form == 'bilinear' else 'e'}]({text})"
                if form in ("dot", "bilinear")
                else text
            )
        elif self.chance(0.2):
            text += " + " + self.given("P", [*self.heads[-1:], *self.over])
        elif self.chance(0.15) and "m" in self.left:
            text += f" - 0.25 * abs(m - {n})"
        where = self.condition() if self.chance(0.55) else ""
        return self.line("S", [*self.left, *self.over], text, where)

    def condition(self) -> str:
        """A random mask."""
        n = self.over[0]
        forms = [
            f"{n} < 3",
            f"{n} % 2 == 0",
            f"{self.given('len', self.heads[-1:], 'i32')} > {n}",
            f"{self.given('keep', [*self.left[-1:], *self.over], 'bool')}",
            f"{self.given('doc', [n], 'i32')} != 1",
        ]
        if "m" in self.left:
            forms += [
                f"{n} <= m",
                f"{n} <= m + (N - M)",
                f"m - {n} < 2",
                f"{n} < 1 or {n} <= m, m - {n} < 3",
                f"{self.given('doc', [n], 'i32')} == {self.given('mine', ['m'], 'i32')}",
                "m > 0",
            ]
        if len(self.over) > 1:
            forms += ["n <= l", "n + l < 4", "n * L + l < 7"]
        return ", ".join(self.pick(forms) for _ in range(self.pick([1, 1, 1, 2])))

    # Weights

    def reduced(self, op: str, value: str, letter: str) -> str:
        """A reduction over the keys, as a tensor of its own."""
        return self.line(letter, self.left, f"{op}[{','.join(self.over)}]({value})")

    def weights(self, x: str) -> Weights:
        """Weights made of scores."""
        forms = [
            "softmax",
            "passes",
            "passes",
            "passes",
            "norm",
            "plain",
            "moment",
            "scaled",
            "odd",
        ]
        over = ",".join(self.over)
        match self.pick(forms):
            case "softmax":
                return Weights(f"softmax[{over}]({x})", log=f"log_softmax[{over}]({x})")
            case "passes":
                return self.exponential(x)
            case "norm":
                p = self.pick(["1", "2", "3", "4", "1.5"])
                total = self.reduced("sum", f"abs({x}) ** {p}", "D")
                root = f"{{0}} ** (1 / {p})"
                form = self.pick(["{0}", root, "({0} + 1)", "sqrt({0} + 1)"])
                return Weights(f"(abs({x}) ** {p} / ({form.format(total)} + 0.1))")
            case "plain":
                shown = self.pick(["sigmoid({})", "relu({})", "({}) ** 2", "exp({} / 4)"]).format(x)
                if self.chance(0.5):
                    return Weights(shown)
                total = self.reduced("sum", shown, "D")
                return Weights(f"({shown} / ({total} + 0.5))")
            case "moment":
                mean = self.reduced(self.pick(["mean", "sum"]), x, "U")
                if self.chance(0.3):
                    return Weights(f"({x} - {mean}) ** {self.pick([1, 2, 3])}")
                spread = self.reduced("sum", f"({x} - {mean}) ** 2", "R")
                return Weights(f"(({x} - {mean}) / sqrt({spread} / 4 + 0.1))")
            case "scaled":
                top = self.reduced("max", f"abs({x})", "G")
                return Weights(f"({x} / ({top} + 1)) ** {self.pick([1, 2])}")
            case _:
                mean = self.reduced("mean", x, "U")
                form = self.pick(
                    [
                        "tanh({0} - {1})",
                        "cos({0} - {1})",
                        "exp({0} / (1 + {1} ** 2))",
                        "max({0}, {1})",
                    ]
                )
                return Weights(form.format(x, mean))

    def exponential(self, x: str) -> Weights:
        """A softmax in its own steps, or something like one."""
        top = self.reduced("max", x, "G")
        power = self.pick(["exp({})", "exp({})", "exp({})", "3 ** ({})", "exp2({})", "1.5 ** ({})"])
        gap = f"{x} - {top}"
        if self.chance(0.1):
            least = self.reduced("min", x, "G")
            gap = f"{least} - {x}"
        weight = power.format(gap)
        kept = weight
        if self.chance(0.1):
            kept = f"only({weight}, ({self.condition().replace(', ', ') and (')}))"
        total = self.reduced("sum", kept, "D")
        whole = self.pick(["{0}", "{0}", "{0}", "({0} + 1)", "sqrt({0})", "max({0}, 0.5)"]).format(
            total
        )
        if self.chance(0.1):
            whole = f"({total} + exp(-{top}))"
        match self.pick(["three", "two", "two"]):
            case "two":
                return Weights(weight, below=whole)
            case _:
                return Weights(f"{weight} / {whole}", log=f"({x} - {top} - log({total}))")

    # Outputs

    def summed(self, w: Weights, rest: str, left: Sequence[str]) -> str:
        """The sum over the keys with some weights."""
        text = f"sum[{','.join(self.over)}]({w.text}{rest})"
        if w.below:
            text += f" / {w.below}"
        return self.line("O", left, text, self.condition_of_rows())

    def condition_of_rows(self) -> str:
        return "m < 2" if "m" in self.left and self.chance(0.07) else ""

    def output(self, w: Weights, x: str) -> None:
        """Something that reads weights or scores."""
        wide = [*self.left, "f"]
        forms = ["expected", "moments", "covariance", "entropy", "own", "finish"]
        form = self.pick(["values"] * 4 + forms)
        match form:
            case "values":
                self.summed(w, f" * {self.value()}", wide)
            case "expected":
                self.summed(
                    w, self.pick([f" * {x}", "", " * " + self.given("Y", self.over)]), self.left
                )
            case "moments":
                value = self.value()
                first = self.summed(w, f" * {value}", wide)
                power = self.pick([2, 2, 3])
                self.summed(w, f" * ({value} - {first}) ** {power}", wide)
            case "covariance":
                value = self.value()
                first = self.summed(w, f" * {value}", wide)
                mean = self.summed(w, f" * {x}", self.left)
                self.summed(w, f" * ({x} - {mean}) * ({value} - {first})", wide)
            case "entropy" if w.log:
                self.summed(w, f" * {w.log}", self.left)
            case "own":
                op = self.pick(["max", "min", "mean", "count", "any", "logsumexp"])
                body = f"{x} > 0" if op in ("count", "any") else x
                value = f"{op}[{','.join(self.over)}]({body})"
                self.line("O", self.left, f"f64({value})" if op in ("count", "any") else value)
            case _:
                first = self.summed(w, f" * {self.value()}", wide)
                forms = ["tanh({})", "rmsnorm[f]({}, 0.1)", "{} * 2 - 1", "default({}, 0.5)"]
                self.line("O", wide, self.pick(forms).format(first))

    def cascade(self) -> str:
        """The whole text."""
        scores = [self.score() for _ in range(self.pick([1, 1, 1, 2]))]
        weights = [self.weights(x) for x in scores]
        if len(weights) > 1:
            a, b = weights
            if self.chance(0.6):
                joined = self.pick(["{0} * {1}", "({0} - 0.5 * {1})"]).format(a.text, b.text)
                below = (
                    " / ".join(w.below for w in (a, b) if w.below) if "(" not in joined[:1] else ""
                )
                weights.append(Weights(joined, below))
        for _ in range(self.pick([1, 1, 2])):
            w = self.pick(weights)
            self.output(w, self.pick(scores))
        if self.chance(0.2):
            self.line("O", [*self.left, "f"], self.gated())
        names = [n for n in self.results if n[0] == "O"]
        extra = [n for n in self.results if n[0] in "DGU" and self.chance(0.2)]
        outputs = []
        for name in dict.fromkeys([*names[-2:], *extra]):
            fill = self.pick(["", "", "", " empty -inf", " empty 7"])
            sizes = ",".join(v.upper() for v in self.results[name])
            outputs.append(f"{name}[{sizes}]{fill}")
        if self.grouped:
            self.lines[:0] = ["require H % J == 0", "G = H // J"]
        body = "".join(f"    {line}\n" for line in self.lines)
        arguments = self.arguments(body)
        return f"cascade attention({', '.join(arguments)}) -> {', '.join(outputs)}:\n{body}"

    def gated(self) -> str:
        """The last output over queries and features with something at each point."""
        wide = [n for n, v in self.results.items() if n[0] == "O" and v[-1] == "f"]
        gate = self.given("A", [*self.left, "f"])
        if not wide:
            return f"sigmoid({gate})"
        last = f"{wide[-1]}[{','.join(self.results[wide[-1]])}]"
        return self.pick([f"{last} * sigmoid({gate})", f"{gate} + {last}", f"plus({gate}, {last})"])

    def arguments(self, body: str) -> list[str]:
        """The inputs that are read, and those that carry the ranks that are named."""
        found = [text for name, text in self.inputs.items() if f"{name}[" in body]
        declared = {
            s for text in found for s in text[text.index("[") + 1 : text.index("]")].split(",")
        }
        ranks = {v.upper() for v in (*self.left, *self.over)}
        ranks |= {"F"} if "f]" in body or "[f" in body else set()
        ranks |= {"N", "M"} & {s for s in "NM" if f" {s}" in body or f"({s}" in body}
        ranks |= {"J", "H"} if self.grouped else set()
        missing = sorted(ranks - declared)
        return [*found, f"ranks[{','.join(missing)}]: bool"] if missing else found


def attention(rng: np.random.Generator) -> str:
    """The text of a random attention."""
    return _Maker(rng).cascade()


def sizes_for(rng: np.random.Generator) -> dict[str, int]:
    """Sizes of its ranks."""
    keys = int(rng.choice([0, 1, 2, 5, 7, 9, 13], p=[0.05, 0.05, 0.1, 0.2, 0.2, 0.2, 0.2]))
    heads = int(rng.integers(1, 3))
    small = {s: int(rng.integers(1, 4)) for s in "BDEFL"}
    return {**small, "M": int(rng.integers(1, 6)), "N": keys, "J": heads, "H": 2 * heads}


def inputs_for(
    items: Sequence[Any], rng: np.random.Generator, sizes: dict[str, int], kind: Any
) -> dict[str, Any]:
    """Arrays for the inputs of an attention."""
    found: dict[str, Any] = {}
    for item in items:
        shape = [sizes[s] for s in item.sizes]
        match item.element:
            case "bool":
                found[item.name] = rng.random(shape) < 0.6
            case "i32":
                found[item.name] = rng.integers(0, 4, size=shape).astype(np.int32)
            case _:
                found[item.name] = rng.normal(size=shape).astype(kind)
    return found
