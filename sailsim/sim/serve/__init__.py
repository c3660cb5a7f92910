"""Serving of requests from arrival to last token: event loop, schedulers, KV-cache blocks and step times."""
