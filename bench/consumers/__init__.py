"""The consumers: one process each, all doing the work of `work`.

    python -m bench.consumers.MODULE PORT PROTOCOL     (3.1.1 or 5)

Each prints "ready" when its subscriptions stand, and "last HANDLER COUNT" when a handler has had its last message of a phase.
"""
