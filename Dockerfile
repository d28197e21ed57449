# All three binaries in one small image; what runs is said where the container is started: producer, worker, aggregator.
ARG BUILD_IMAGE=rust:1-bookworm
ARG RUN_IMAGE=debian:bookworm-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked -p rabbit-reduce-producer -p rabbit-reduce-worker -p rabbit-reduce-aggregator

FROM ${RUN_IMAGE}
# The store's folder is here so that a new volume on it belongs to the user that writes it.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin rabbit-reduce \
    && install -d -o rabbit-reduce -g rabbit-reduce -m 0700 /var/lib/rabbit-reduce
COPY --from=build /source/target/release/producer /source/target/release/worker /source/target/release/aggregator \
    /usr/local/bin/
USER rabbit-reduce
WORKDIR /var/lib/rabbit-reduce
CMD ["producer", "--help"]
