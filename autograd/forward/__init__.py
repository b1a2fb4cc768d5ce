"""Forward mode: tangents pushed over a tape, from what is moved to the results."""
