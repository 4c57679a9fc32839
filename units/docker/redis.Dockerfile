# Redis with the configuration and the users of `hookd setup`.
FROM redis:7-alpine
COPY units/docker/again /usr/local/bin/
CMD ["again", "/run/hookd-redis/handed-over", "redis-server", "/etc/hookd/redis.conf"]
