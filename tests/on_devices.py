"""All examples on a device: python -m tests.on_devices TARGET [NAME...]."""

from __future__ import annotations

import os
import sys

from attnc.errors import SpecError


def main(target: str, *wanted: str) -> int:
    """Prints what becomes of each; the count of those that are wrong."""
    os.environ["ATTNC_WEBGPU"] = "here"
    from tests import examples
    from tests.test_tvm_devices import verdict

    wrong = 0
    for name in wanted or examples.NAMES:
        try:
            found = verdict(name, target, small=target == "opencl")
        except SpecError as error:
            print(f"{name}: refused: {str(error).splitlines()[0]}", flush=True)
            continue
        wrong += not found.ok
        print(f"{name}: {'accepted' if found.ok else found}", flush=True)
    return wrong


if __name__ == "__main__":
    sys.exit(min(main(*sys.argv[1:]), 1))
