"""The app's services: control, health checks and drift."""
