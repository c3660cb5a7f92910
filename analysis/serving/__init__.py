"""Requests served by machines: latencies, the highest rate of a service level, dollars and joules."""
