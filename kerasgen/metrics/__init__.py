"""Metrics of generated against real events: values, errors, real-against-real floors, verdict."""
