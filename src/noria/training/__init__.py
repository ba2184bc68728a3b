"""Training: the loop, checkpoints, progress, metrics and baselines."""
