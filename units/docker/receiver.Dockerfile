# The receiver alone, without the worker's code.
FROM python:3.11-slim

# A package index of your own. Empty: PyPI.
ARG PIP_INDEX_URL
WORKDIR /opt/hookd
COPY units/requirements.txt .
# Files are checked against their hashes, and stay in the builder's cache.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv venv && venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt

COPY units/docker/again units/docker/receiver/healthy /usr/local/bin/
COPY hookd code/hookd
# The files from the server. On a host, systemd sets the same variable for credentials.
ENV HOOKD_CONFIG=/run/hookd/current/hookd.toml CREDENTIALS_DIRECTORY=/run/hookd/current/credentials
ENV PYTHONPATH=/opt/hookd/code PYTHONDONTWRITEBYTECODE=1
CMD ["again", "/run/hookd/current/handed-over", "/opt/hookd/venv/bin/python", "-P", "-m", "hookd.cli", "serve"]
