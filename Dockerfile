# All three binaries in one small image; what runs is said where the container is started: producer, worker, aggregator.
ARG BUILD_IMAGE=rust:1.95-trixie
ARG RUN_IMAGE=debian:trixie-slim

FROM ${BUILD_IMAGE} AS chef
RUN cargo install --locked --version 0.1.78 cargo-chef
WORKDIR /source

FROM chef AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM chef AS build
# Without lines of source in what failures print: they are most of the size.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
# The libraries are a layer of their own, which lasts as long as Cargo.lock and what is in fuzz: that is no member of the
# workspace, and so in no recipe.
COPY fuzz fuzz
COPY --from=plan /source/recipe.json recipe.json
RUN cargo chef cook --release --locked --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked

FROM ${RUN_IMAGE}
# A new volume on this folder belongs to the user that writes to it.
RUN groupadd --system --gid 10001 rabbit-reduce \
    && useradd --system --uid 10001 --gid rabbit-reduce --no-create-home --shell /usr/sbin/nologin rabbit-reduce \
    && install -d -o rabbit-reduce -g rabbit-reduce -m 0700 /var/lib/rabbit-reduce
# Whom to trust on the way to brokers and buckets.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /source/target/release/producer /source/target/release/worker /source/target/release/aggregator \
    /usr/local/bin/
USER 10001:10001
WORKDIR /var/lib/rabbit-reduce
# Whoever is ready is well: reaches the broker, and as an aggregator gets answers. Where nobody can be asked for that inside the
# container (RABBIT_REDUCE_HTTP=127.0.0.1:8080), whoever gets an answer from an aggregator is.
HEALTHCHECK --interval=15s --timeout=15s --start-period=60s CMD ["bash", "-c", \
    "case $RABBIT_REDUCE_HTTP in 127.*) exec 3<>/dev/tcp/${RABBIT_REDUCE_HTTP/://} && printf 'GET /readyz HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n' >&3 && read -r _ code _ <&3 && [[ $code == 200 ]] ;; *) producer jobs --format json ;; esac"]
CMD ["producer", "--help"]
