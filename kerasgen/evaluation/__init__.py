"""Compare generated events with real ones: figures, tables, one report."""
