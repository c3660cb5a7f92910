"""Errors, atomic file writes, and numbers that carry their unit and source."""
