# A small Debian server with systemd as its first process and an ordinary installation of hookd.
FROM debian:bookworm-slim

RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        systemd systemd-sysv dbus sudo procps iproute2 logrotate less ca-certificates curl \
        git nginx-light openssh-server python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    # Each container makes its own keys and id.
    && rm -f /etc/ssh/ssh_host_*_key* /etc/nginx/sites-enabled/default \
    && : >/etc/machine-id \
    # A container has no logins, no hardware, and no package updates.
    && systemctl mask console-getty.service getty.target systemd-logind.service systemd-udevd.service \
        apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    && systemctl disable ssh.service

# hookd's users with fixed numbers, because the other containers use them too (docker-compose.yml). On a host,
# `hookd setup` makes them with free numbers.
RUN groupadd --system --gid 880 hookd-queue \
    && useradd --system --uid 881 --user-group --home-dir /nonexistent --shell /usr/sbin/nologin hookd \
    && useradd --system --uid 882 --user-group --home-dir /var/lib/hookd --shell /usr/sbin/nologin manager \
    && useradd --system --uid 883 --user-group --home-dir /var/lib/hookd-redis --shell /usr/sbin/nologin hookd-redis \
    && useradd --system --uid 884 --user-group --home-dir /srv/git --shell /usr/bin/git-shell --password '*' git

# Only in this container: the set-up, and a small git host.
COPY units/docker/server/init units/docker/server/set-up units/docker/server/hand-over units/docker/server/git-host /usr/local/sbin/
COPY units/docker/server/set-up.service units/docker/server/git-daemon.service /etc/systemd/system/
COPY units/docker/server/hookd.conf /etc/systemd/system/hookd.service.d/compose.conf
COPY units/docker/server/hookd-redis.conf /etc/systemd/system/hookd-redis.service.d/compose.conf
COPY units/docker/server/systemd.conf /etc/systemd/system.conf.d/compose.conf
COPY units/docker/server/nginx.conf /etc/nginx/sites-enabled/000-sample
COPY units/docker/server/sshd.conf /etc/ssh/sshd_config.d/git-host.conf
COPY units/docker/sample /usr/local/share/sample
RUN systemctl enable set-up.service

# hookd itself, with the command for a server.
ARG PIP_INDEX_URL
COPY run /usr/local/src/hookd/
COPY hookd /usr/local/src/hookd/hookd
COPY worker /usr/local/src/hookd/worker
COPY units /usr/local/src/hookd/units
RUN --mount=type=cache,target=/root/.cache/pip /usr/local/src/hookd/run install

# systemd and other programs detect the container.
ENV container=docker
# systemd's signal for an orderly shutdown.
STOPSIGNAL SIGRTMIN+3
CMD ["init"]
