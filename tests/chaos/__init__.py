"""`kill -9` at named points of a poll, again and again; then: nothing lost, nothing twice, every object there."""
