"""Compiled code: the sources of the kernels for CPU and GPU, and the library made of them at first use."""
