"""Values that nobody published, and the intervals of rates that follow from them."""
