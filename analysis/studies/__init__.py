"""Studies of many points: running, storing, selecting and comparing them."""
