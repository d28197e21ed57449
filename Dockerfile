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
# The libraries are a layer of their own, which lasts as long as Cargo.lock. What is no member of the workspace is in no recipe.
COPY fuzz fuzz
COPY --from=plan /source/recipe.json recipe.json
RUN cargo chef cook --release --locked --recipe-path recipe.json
COPY . .
# Without lines of source in what failures print: they are most of the size.
RUN CARGO_PROFILE_RELEASE_STRIP=debuginfo cargo build --release --locked

FROM ${RUN_IMAGE}
# A new volume on this folder belongs to the user that writes to it.
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin rabbit-reduce \
    && install -d -o rabbit-reduce -g rabbit-reduce -m 0700 /var/lib/rabbit-reduce
# Whom to trust on the way to brokers and buckets.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /source/target/release/producer /source/target/release/worker /source/target/release/aggregator \
    /usr/local/bin/
USER rabbit-reduce
WORKDIR /var/lib/rabbit-reduce
# Whoever reaches the broker is well, and of aggregators whoever gets an answer. Only the container itself gets in by this.
ENV RABBIT_REDUCE_HTTP=127.0.0.1:8080
HEALTHCHECK --interval=15s --timeout=15s --start-period=60s CMD ["bash", "-c", \
    "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3 && read -r _ code _ <&3 && [[ $code == 200 ]]"]
CMD ["producer", "--help"]
