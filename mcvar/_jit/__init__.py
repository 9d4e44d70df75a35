"""Numba kernels. Files here never import one another: a cached kernel would not see the edit."""
