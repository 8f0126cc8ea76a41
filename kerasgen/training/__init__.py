"""Training runs of any algorithm: loop, evaluation, checkpoints, several devices."""
