"""Causal networks over time."""
