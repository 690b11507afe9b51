"""From files to tensors to layers: opening checkpoints by their headers, and reading their values."""
