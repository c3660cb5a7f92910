"""Runs of one point by every runner: records, ratios, verdicts."""
