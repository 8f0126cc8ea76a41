"""Training runs: run folder, checkpoints, schedules, monitoring."""
