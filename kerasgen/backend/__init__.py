"""What depends on the backend: random numbers, replicas, precision."""
