# syntax=docker/dockerfile:1
#
# hindsight with its rules embedded, as a user without rights. `docker build --tag hindsight .`, or by docker-compose.yml.

# The Rust that Cargo.toml asks for, on the same Debian as below: the program is linked with its libc.
FROM rust:1.95-bookworm AS build
RUN rustup target add wasm32-unknown-unknown
WORKDIR /source
COPY . .
# What cargo has downloaded and built is kept between builds, outside of the image; so the program is copied out in the same step.
# The rules come first: the program embeds those that are in target/plugins.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/source/target,sharing=locked \
    cargo run --locked --package xtask -- plugins scd2-by-owner \
    && cargo build --locked --release --package hindsight --bin hindsight \
    && cp target/release/hindsight /usr/local/bin/hindsight

# For the set-up of docker-compose.yml: the program beside a MySQL client.
FROM debian:bookworm-slim AS set-up
RUN apt-get update \
    && apt-get install --yes --no-install-recommends mariadb-client-core \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home hindsight
COPY --from=build /usr/local/bin/hindsight /usr/local/bin/hindsight
USER 10001:10001
WORKDIR /etc/hindsight

FROM debian:bookworm-slim AS hindsight
# Certificates: of who may have signed a server's, with tls = "verify-identity". The home folder: where compiled rules are kept.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home hindsight
COPY --from=build /usr/local/bin/hindsight /usr/local/bin/hindsight
USER 10001:10001
# Where a hindsight.toml is mounted: commands find it there without being told.
WORKDIR /etc/hindsight
ENTRYPOINT ["hindsight"]
CMD ["run"]
