"""BigDL's validation methods."""
