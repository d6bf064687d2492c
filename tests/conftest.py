"""Options of the test run."""

from __future__ import annotations

import gc

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew", action="store_true", help="write goldens anew")
    parser.addoption("--cascades", type=int, default=280, help="random cascades to try")
    parser.addoption("--kernels", type=int, default=30, help="random cascades to interpret")
    parser.addoption("--cases", default="2", help="cases of each example to interpret, or all")
    parser.addoption("--tilings", type=int, default=1, help="tilings of each case to try")
    parser.addoption("--mutants", type=int, default=15, help="mutants of each example to try")
    parser.addoption("--devices", default="some", help="kernels to compile for devices, or all")
    parser.addoption("--predicates", type=int, default=200, help="random conditions to try")
    parser.addoption("--kills", type=int, default=60, help="processes to kill while they write")


def pytest_configure() -> None:
    """Many objects, few cycles: as the command line does."""
    gc.set_threshold(100_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests come first: one that begins last leaves the other processes idle."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def renew(request: pytest.FixtureRequest) -> bool:
    """Whether goldens are to be written anew."""
    return bool(request.config.getoption("--renew"))
