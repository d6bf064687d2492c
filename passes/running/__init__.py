"""Running reductions: how a reduction that needs earlier ones is computed in the same pass."""
