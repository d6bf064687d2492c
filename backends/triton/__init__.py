"""The Triton backend: plans as kernels for NVIDIA and AMD devices."""
