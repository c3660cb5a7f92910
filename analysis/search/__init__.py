"""The search for good machines within limits."""
