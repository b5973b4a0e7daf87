# syntax=docker/dockerfile:1
FROM node:24-bookworm-slim AS page
WORKDIR /src/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web/ ./
RUN npm run build

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
COPY --from=page /src/web/dist web/dist
RUN cargo build --release --locked

# Skills run confined inside the container too. Docker's default profile forbids user namespaces, so
# the sandbox is "degraded" there (Landlock, system call filter, limits) and says so in `nexflow
# doctor`. For all of it, let the container make user namespaces: see docker-compose.yml.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends bash ca-certificates git nodejs python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /data nexflow
COPY --from=build /src/target/release/nexflow /usr/local/bin/nexflow
ENV NEXFLOW__SERVER__HOST=0.0.0.0 \
    NEXFLOW__DATA_DIR=/data \
    NEXFLOW__SKILLS__DIRECTORY=/data/skills
USER nexflow
WORKDIR /data
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s --retries=3 CMD ["nexflow", "status", "--json"]
ENTRYPOINT ["tini", "--", "nexflow"]
CMD ["run"]
