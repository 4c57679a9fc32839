"""Commands of `hookd` that change a server: set-up, apps, adoption and doctor."""
