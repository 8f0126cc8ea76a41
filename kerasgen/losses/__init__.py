"""Loss terms: plain functions on tensors, with documented shapes."""
