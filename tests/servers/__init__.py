"""Real servers for tests: each in a directory of its own, on free loopback ports, gone when the test process is."""
