"""What a module is.  Nothing in this room knows any layer."""
