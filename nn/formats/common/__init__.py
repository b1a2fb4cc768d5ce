"""What all formats need: errors, limits, names, and files that appear complete or not at all."""
