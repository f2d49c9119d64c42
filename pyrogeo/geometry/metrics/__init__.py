"""Metrics: a symmetric positive definite matrix at every latent point, in several makes."""
