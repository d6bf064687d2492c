"""Kernels as libraries that are called from C."""
