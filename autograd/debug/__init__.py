"""For finding mistakes: the tape to look at, and the first NaN."""
