"""Kernels in Python: what a function says, how it is compiled, called, and shown to PyTorch."""
