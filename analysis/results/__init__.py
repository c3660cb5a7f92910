"""A point beside its baselines: `evaluate` (one record), `cost_tables` (what it costs)."""
