# Redis as hookd wants it on a host: with the configuration and the users that `hookd setup` writes.
FROM redis:7-alpine
COPY units/docker/again /usr/local/bin/
CMD ["again", "/run/hookd-redis/handed-over", "redis-server", "/etc/hookd/redis.conf"]
