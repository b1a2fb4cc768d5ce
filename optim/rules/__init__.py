"""Every optimizer: its rule and the class that runs it."""
