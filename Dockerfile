# An image with one binary and the files that it needs to run. It has no shell and no package manager, and does not run as root.

FROM rust:1.95-bookworm AS build
WORKDIR /build
# The dependencies change seldom, so they have a layer of their own, built with an empty program that is then removed.
COPY Cargo.toml Cargo.lock ./
# Of the workspace too, though nothing here builds it.
COPY tests/private-broker/Cargo.toml tests/private-broker/
RUN mkdir src tests/private-broker/src \
    && touch src/lib.rs tests/private-broker/src/lib.rs \
    && echo 'fn main() {}' >src/main.rs \
    && cargo build --release --locked \
    && cargo clean --release --locked -p rabbitmq-gateway
COPY docs/architecture.md docs/
COPY src src
RUN cargo build --release --locked --bin rabbitmq-gateway

FROM debian:bookworm-slim AS root
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /root-of-image
COPY --from=build /build/target/release/rabbitmq-gateway ./
COPY --from=build /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/
RUN ldd rabbitmq-gateway | grep -o '/[^ ]*' | xargs cp --dereference --parents --target-directory=. \
    && echo 'gateway:x:65532:65532:gateway:/:/nonexistent' >etc/passwd \
    && echo 'gateway:x:65532:' >etc/group \
    && echo 'hosts: files dns' >etc/nsswitch.conf

FROM scratch
COPY --from=root /root-of-image /
USER 65532:65532
# The gateway does not start until GATEWAY_PRINCIPALS names a file, or GATEWAY_AUTH=none says that everybody may do everything.
ENV GATEWAY_LISTEN=0.0.0.0:8080
EXPOSE 8080
# The health check has its own deadline of 3 s, so it can print the reason before Docker's timeout.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/rabbitmq-gateway", "healthcheck"]
ENTRYPOINT ["/rabbitmq-gateway"]
