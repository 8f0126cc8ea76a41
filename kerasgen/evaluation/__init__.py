"""Comparison of generated with real events: metrics, figures, tables and one report."""
