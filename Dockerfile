# syntax=docker/dockerfile:1
#
#   docker build -t meerkat .
#   docker run --security-opt seccomp=config/examples/seccomp.json --ulimit memlock=-1 \
#       -p 5222:5222 -p 5223:5223 -v meerkat:/data meerkat
#
# Docker's own seccomp profile blocks io_uring; meerkat names the remedy where it is refused.
# RUST_IMAGE: any Debian 12 image with cargo, a C compiler and git (the build of glommio calls git).
ARG RUST_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --profile release-lto --locked

FROM ${RUNTIME_IMAGE}
RUN useradd --system --uid 10001 --home-dir /data --create-home --shell /usr/sbin/nologin meerkat
COPY --from=build /src/target/release-lto/meerkat /usr/local/bin/meerkat
COPY --from=build /src/config/meerkat.toml /etc/meerkat/meerkat.toml
# The authorities that a listener without `cacertfile` trusts.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# ./data, seen from here, is the volume: accounts, certificates and secrets.
WORKDIR /
USER meerkat
VOLUME /data
EXPOSE 5222 5223 5269
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["meerkat", "status", "-c", "/etc/meerkat/meerkat.toml"]
ENTRYPOINT ["meerkat"]
CMD ["serve", "-c", "/etc/meerkat/meerkat.toml"]
