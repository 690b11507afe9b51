"""Rewrites of a network that keep its function: folding, rotation, smoothing, scaling, on modules in place."""
