"""Machines as data: the files of systems and substrates, their fields, and the memory behind them."""
