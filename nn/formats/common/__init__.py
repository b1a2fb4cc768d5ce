"""What all formats need: errors and limits, and files that appear whole or not at all."""
