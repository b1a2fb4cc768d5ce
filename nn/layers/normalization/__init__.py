"""Normalization over batches, samples and neighbourhoods."""
