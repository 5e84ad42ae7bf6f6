"""Durability, shown: clients that talk while the processes behind them are killed, and a checker of what is left.

``clients`` take turns and change conversations, each with a log (``operations``) of what it sent and what it was told.
``disturbances`` kill what is behind them (``deployment``). Then ``observed`` reads everything back over HTTP and
``checks`` compares it with the logs. ``rounds`` puts that together; ``python -m tests.durability`` runs many.
"""
