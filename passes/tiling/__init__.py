"""From Einsums to tile programs."""
