"""The page under `examples/webgpu/`, in a headless browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from examples.webgpu.page import write
from tests.browser import WEBGPU, Browser, binary


def test_a_browser_runs_the_kernel(tmp_path: Path) -> None:
    """It says what it ran on, and how far the result is from NumPy's; without, that it has none."""
    browser = binary()
    if browser is None:
        pytest.skip("there is no Chromium here")
    page = write(tmp_path)
    with Browser(browser) as plain:
        assert plain.said(page).startswith("WebGPU is not available: ")
    with Browser(browser, *WEBGPU) as one:
        said = one.said(page)
    if said.startswith("WebGPU is not available"):
        pytest.skip(said)
    found = re.fullmatch(r"Ran on WebGPU \(.*\); greatest difference from NumPy: (\S+)", said)
    assert found, said
    assert float(found[1]) < 1e-5
