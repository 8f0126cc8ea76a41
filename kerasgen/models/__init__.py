"""Algorithms, one package each."""
