"""Passes from cascade to cascade: the same values over the reals, in a form that fuses better."""
