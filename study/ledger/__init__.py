"""The ledger: the append-only log of facts, the history it tells, and the costs derived from it."""
