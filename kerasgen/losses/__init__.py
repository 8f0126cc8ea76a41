"""Loss terms as plain functions on tensors; every argument states its shape."""
