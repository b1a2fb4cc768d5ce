"""Tools to find mistakes: the tape as an object, and anomaly mode, which finds the first NaN."""
