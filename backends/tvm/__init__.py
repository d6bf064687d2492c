"""TVM: a plan as kernels in its script dialect, for CPUs."""
