"""Changes of the host as values, the code that applies them, and the manifest of what was created."""
