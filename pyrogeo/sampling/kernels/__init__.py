"""Kernels of our own for Pyro's MCMC, and what a batched one must have."""
