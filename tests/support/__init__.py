"""Real parts for tests: a Redis server, git repositories, and a whole hookd on one machine."""
