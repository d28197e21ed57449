# All three binaries in one small image; what runs is said where the container is started: producer, worker, aggregator.
ARG BUILD_IMAGE=rust:1-trixie
ARG RUN_IMAGE=debian:trixie-slim

FROM ${BUILD_IMAGE} AS chef
RUN cargo install --locked --version 0.1.78 cargo-chef
WORKDIR /source

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
# The libraries are a layer of their own, which lasts as long as Cargo.lock.
COPY --from=plan /source/recipe.json recipe.json
RUN cargo chef cook --release --locked --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked

FROM ${RUN_IMAGE}
# A new volume on this folder belongs to the user that writes to it.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin rabbit-reduce \
    && install -d -o rabbit-reduce -g rabbit-reduce -m 0700 /var/lib/rabbit-reduce
COPY --from=build /source/target/release/producer /source/target/release/worker /source/target/release/aggregator \
    /usr/local/bin/
USER rabbit-reduce
WORKDIR /var/lib/rabbit-reduce
# Whoever reaches the broker and gets an answer from an aggregator is well.
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s CMD ["producer", "jobs", "--format", "json"]
CMD ["producer", "--help"]
