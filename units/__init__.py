"""The host: what is installed beside the code. For now the gunicorn configuration that an app's service runs with."""
