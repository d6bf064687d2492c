"""The versions, where everything else may read them."""

VERSION = "0.1.0"

LANGUAGE = "1"
"""The version of the language: a spec may mean something else under another."""
