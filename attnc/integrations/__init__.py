"""Kernels inside other people's model code."""
