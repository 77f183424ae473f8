"""Deterministic simulation: the real poll, visit, pipeline and POP3 session in a world that one integer makes.

Rules of this room:
- No socket, no file, no real sleep. Server, store, state and clock live in memory; whatever happens follows from the
  seed, so that a failing seed fails again: `make simulate SEEDS=1 FROM=the seed`.
- Several workers take turns in threads, but only the holder of the baton runs (`baton`). Each touch of the outside
  world is a step, and at each step something may go wrong (`faults`).
- What must hold is said in `invariants`, of the world as it is and not as the product sees it.
"""
