"""Benchvise: squeezes model checkpoints."""
