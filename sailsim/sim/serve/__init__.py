"""Servers of requests, from arrival to last token: `loop` has the clock, `server` the schedulers, `blocks`
the memory of keys and values, `tables` step times that others measured."""
