# syntax=docker/dockerfile:1

# --- The web page
FROM node:24-bookworm-slim AS web
WORKDIR /build/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY web ./
RUN npm run build

# --- The daemon, with the page and the shipped skills inside
FROM rust:1-bookworm AS daemon
WORKDIR /build
COPY Cargo.toml Cargo.lock build.rs config.example.yml ./
COPY .cargo ./.cargo
COPY migrations ./migrations
COPY skills ./skills
COPY src ./src
COPY tests ./tests
COPY web/placeholder ./web/placeholder
COPY --from=web /build/web/dist ./web/dist
RUN cargo build --release --locked --bin nexflow

# --- What runs
FROM debian:bookworm-slim
# bash, python3 and nodejs run skills; git is for git-basic; tini passes signals on and reaps.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends bash ca-certificates git nodejs python3 tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 nexflow \
    && useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin nexflow \
    && install -d -o nexflow -g nexflow -m 0700 /data
COPY --from=daemon /build/target/release/nexflow /usr/local/bin/nexflow

# The configuration (config.yml), skills, database and workspaces are all in /data.
ENV NEXFLOW__SERVER__HOST=0.0.0.0 \
    NEXFLOW__DATA_DIR=/data
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8080

# Asks the daemon over its own socket in /data.
HEALTHCHECK --interval=30s --timeout=10s --start-period=20s --retries=3 CMD ["nexflow", "status"]

ENTRYPOINT ["tini", "--", "nexflow"]
CMD ["run"]

# The sandbox in a container
#
# Nexflow confines every run of a skill by itself. How much of that the kernel lets it do depends on how
# the container is started; `nexflow doctor` tries it and says which mode it is.
#
# With Docker's default profile: degraded. Namespaces cannot be made, so Landlock and seccomp alone hold:
#   still enforced  a skill reads and writes only the files it was granted (Landlock), makes none of the
#                   dangerous system calls (seccomp), and stays within time, memory, output and disk.
#   not enforced    a skill can see that other files and processes exist, though not read them;
#                   network only as far as Landlock's rules for TCP ports go (Linux 6.7 or later): what
#                   the mode cannot hold is refused, and `nexflow doctor` says so.
# In this mode no skill runs where the kernel has no Landlock.
#
# With these options: full. Each run has a file system, processes and a network of its own, and what it
# sends goes through Nexflow's gate:
#   docker run --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
#              --security-opt systempaths=unconfined ...
# They lift Docker's filters from the daemon, not Nexflow's from the skills. A narrower choice than
# seccomp=unconfined is a copy of Docker's default profile that also allows clone and unshare with
# namespace flags, mount, umount2, pivot_root, open_tree, move_mount, mount_setattr, sethostname.
# On Ubuntu 24.04 and later the host must allow user namespaces as well:
#   sysctl kernel.apparmor_restrict_unprivileged_userns=0
# Never use --privileged for this. For skills that you expect to be hostile, use a virtual machine.
