# syntax=docker/dockerfile:1
#
#   docker build -t meerkat .
#   docker run --security-opt seccomp=config/examples/seccomp.json --ulimit memlock=-1 \
#       -p 5222:5222 -p 5223:5223 -p 5285:5285 -v meerkat:/data meerkat
#
# Docker's own seccomp profile blocks io_uring; meerkat names the remedy where it is refused.
# RUST_IMAGE: any Debian 12 image with cargo, a C compiler, git (the build of glommio calls it) and
# ca-certificates. The default is Debian 12 with the toolchain of that name.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-bookworm

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked
# What the image holds: the binary without its symbols, the libraries that it links and their loader,
# the authorities that it trusts, the licences of all of it, who it runs as.
RUN set -eu; \
    image=/image; \
    install -D target/release/meerkat "$image/usr/bin/meerkat"; \
    strip "$image/usr/bin/meerkat"; \
    ldd "$image/usr/bin/meerkat" | grep -o '/lib[^ ]*' | while read -r library; do \
        install -D "$library" "$image$library"; \
    done; \
    install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$image/etc/ssl/certs/ca-certificates.crt"; \
    install -D -m 644 config/meerkat.toml "$image/etc/meerkat/meerkat.toml"; \
    install -D -m 644 LICENSE "$image/usr/share/doc/meerkat/LICENSE"; \
    scripts/third-party >"$image/usr/share/doc/meerkat/third-party"; \
    gzip -9n "$image/usr/share/doc/meerkat/third-party"; \
    echo 'meerkat:x:10001:10001:meerkat:/data:/nonexistent' >"$image/etc/passwd"; \
    echo 'meerkat:x:10001:' >"$image/etc/group"; \
    install -d -m 1777 "$image/tmp"; \
    install -d -m 750 -o 10001 -g 10001 "$image/data"

FROM scratch
COPY --from=build /image /
# ./data, seen from here, is the volume: accounts, certificates and secrets.
WORKDIR /
USER 10001:10001
VOLUME /data
EXPOSE 5222 5223 5269 5285
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/bin/meerkat", "status", "-c", "/etc/meerkat/meerkat.toml"]
ENTRYPOINT ["/usr/bin/meerkat"]
CMD ["serve", "-c", "/etc/meerkat/meerkat.toml"]
