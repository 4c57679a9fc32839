# The receiver alone: its code, and nothing of the worker's.
FROM python:3.11-slim

# Where packages come from, for a build behind an index of your own; PyPI when empty.
ARG PIP_INDEX_URL
WORKDIR /opt/hookd
COPY units/requirements.txt .
# Every file is checked against its hash; what was fetched once stays in the builder's cache.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv venv && venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt

COPY units/docker/again units/docker/receiver/healthy /usr/local/bin/
COPY hookd code/hookd
# What the server hands over; systemd tells a service on a host in the same way where its secrets lie.
ENV HOOKD_CONFIG=/run/hookd/current/hookd.toml CREDENTIALS_DIRECTORY=/run/hookd/current/credentials
ENV PYTHONPATH=/opt/hookd/code PYTHONDONTWRITEBYTECODE=1
CMD ["again", "/run/hookd/current/handed-over", "/opt/hookd/venv/bin/python", "-P", "-m", "hookd.cli", "serve"]
