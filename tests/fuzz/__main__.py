"""Looks for texts that attnc fails on, led by what of it they reach: `make fuzz`.

Arguments are those of libFuzzer, such as `-max_total_time=600` (seconds) or `-runs=100000`. What
it learns is kept in build/fuzz/corpus and used again; a text that fails is left in build/fuzz.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["attnc"]):
    from tests.hostile import judged

from tests import examples
from tests.changes import several

FOLDER: Final = examples.ROOT / "build" / "fuzz"
SEEDS: Final = (
    examples.FOLDER,
    examples.ROOT / "tests" / "errors",
    examples.ROOT / "tests" / "reader",
)
TOKENS: Final = Path(__file__).with_name("tokens.dict")
LONGEST: Final = 2_500
"""Bytes of a text that is tried."""
SECONDS: Final = 10.0
"""For one text; what listens to the program makes it about five times slower."""
USUAL: Final = (
    "-max_total_time=60",
    f"-max_len={LONGEST}",
    f"-dict={TOKENS}",
    "-timeout=60",
    "-rss_limit_mb=2048",
    "-verbosity=1",
)


def attempt(data: bytes) -> None:
    """One text: an error with a place or a module that Python takes, in time; else a finding."""
    text = data.decode("utf-8", "replace")
    began = time.process_time()
    judged(text)
    took = time.process_time() - began
    assert took < SECONDS, f"{took:.1f} s"


def changed(data: bytes, longest: int, seed: int) -> bytes:
    """Another text: at times by bytes, at times by words and lines."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        return bytes(atheris.Mutate(data, longest))
    text = data.decode("utf-8", "replace")
    return several(text, rng).encode("utf-8", "replace")[:longest]


def seeds(folder: Path) -> Path:
    """A folder with every text that the tests know."""
    for source in SEEDS:
        for path in sorted(source.glob("*.attn")):
            (folder / f"{source.name}.{path.name}").write_bytes(path.read_bytes())
    return folder


def main(arguments: Sequence[str], attempt: Callable[[bytes], None] = attempt) -> None:
    """Does not return: libFuzzer ends the process, with status 0 if nothing was found."""
    corpus = FOLDER / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        known = seeds(Path(name))
        line = ["fuzz", *USUAL, f"-artifact_prefix={FOLDER}/", *arguments, str(corpus), str(known)]
        atheris.Setup(line, attempt, custom_mutator=changed)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
